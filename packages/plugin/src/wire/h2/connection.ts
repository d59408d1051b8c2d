import type * as net from 'node:net';
import type { RawHeaders } from '../grpc.ts';
import { H2Error, clientPreface, defaultWindowBytes, h2Code, h2CodeName, maxWindowBytes } from './codes.ts';
import type { ConnectionEnd, H2Events, H2Options } from './connection-options.ts';
import { ControlFrames } from './control-frames.ts';
import { HeaderWriter } from './header-blocks.ts';
import { HpackError } from './hpack.ts';
import { Inbound } from './inbound.ts';
import { FrameBudget, earnedByStream } from './limits.ts';
import type { H2Limits } from './limits.ts';
import { Liveness } from './liveness.ts';
import { Outbox } from './outbox.ts';
import { SendFlow } from './send-flow.ts';
import { PeerSettings, settingId } from './settings.ts';
import { H2Stream } from './stream.ts';
import { StreamTable } from './stream-table.ts';
import type { StreamFailure, StreamSink } from './stream.ts';

const lastStreamId = 0x7fff_ffff;
// Until its SETTINGS come nobody knows what a server takes; RFC 9113, section 6.5.2 asks it to take no less than this.
const streamsBeforeSettings = 100;
// After our last word: how long the peer may still send before the socket is destroyed.
const lingerMs = 1000;

/**
 * One HTTP/2 connection, client or server (RFC 9113), on a socket that is connected and whose TLS handshake is done. It owns
 * the socket and destroys it at the end. Everything that it sends within one turn of the event loop leaves in one write.
 */
export class H2Connection {
  readonly role: 'client' | 'server';
  readonly limits: H2Limits;
  readonly socket: net.Socket;
  readonly events: H2Events;
  readonly peer = new PeerSettings();
  readonly budget: FrameBudget;
  readonly streams: StreamTable;
  readonly outbox: Outbox;
  readonly flow: SendFlow;
  readonly control: ControlFrames;
  readonly #headers = new HeaderWriter();
  readonly #inbound: Inbound;
  readonly #liveness: Liveness;
  readonly #options: H2Options;
  #isDraining = false;
  #isClosing = false;
  #end: ConnectionEnd | undefined;
  /** The last stream of the peer that we take, once we have said so. */
  #lastAccepted = lastStreamId;
  #hasSaidGoAway = false;

  constructor(socket: net.Socket, options: H2Options) {
    this.#options = options;
    this.role = options.role;
    this.limits = options.limits;
    this.events = options.events;
    this.socket = socket;
    this.budget = new FrameBudget(options.limits.maxIdleFrames);
    this.streams = new StreamTable(options.role, options.firstStreamId ?? 1);
    this.outbox = new Outbox(socket);
    this.control = new ControlFrames(this.outbox);
    this.flow = new SendFlow(this.outbox, this.#headers, (stream) => this.#localEnd(stream));
    this.#inbound = new Inbound(this, options.streamWindowBytes, options.connectionWindowBytes);
    this.#liveness = new Liveness(this, this.#inbound, options.keepaliveMs);
    socket.setNoDelay(true);
    // Finds a peer that is gone while nothing is asked; PINGs there would count as a flood with some servers.
    socket.setKeepAlive(true, 30_000);
    this.#greet();
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('drain', () => this.#onDrain());
    socket.on('error', (error: Error) =>
      this.#finish({ by: 'peer', code: h2Code.connectError, message: error.message, cause: error }),
    );
    socket.on('end', () => this.#onGone());
    socket.on('close', () => this.#onGone());
  }

  /** Why it ended, once it has. */
  get end(): ConnectionEnd | undefined {
    return this.#end;
  }

  /** True once the peer's SETTINGS came: it speaks HTTP/2. */
  get hasSettings(): boolean {
    return this.#inbound.hasSettings;
  }

  /** True when a client may open a stream now. */
  get canOpen(): boolean {
    if (this.#isDraining || this.#isClosing) return false;
    const max = this.#inbound.hasSettings ? this.peer.maxConcurrentStreams : streamsBeforeSettings;
    return this.streams.size < max && !this.outbox.isCongested;
  }

  get isDraining(): boolean {
    return this.#isDraining || this.#isClosing;
  }

  /** Hands over bytes that somebody else has read from the socket: before this connection had it, or without `data` events. */
  receive(chunk: Buffer): void {
    this.#onData(chunk);
  }

  /** Opens a stream. Only while {@link canOpen}. */
  open(sink: StreamSink): H2Stream {
    const stream = this.makeStream(this.streams.takeOwnId(), sink);
    if (this.streams.isUsedUp) this.drain();
    this.#liveness.touch();
    return stream;
  }

  /** Sends a header section of a stream. Throws HpackError, before anything is sent, for a character beyond U+00FF. */
  sendHeaders(stream: H2Stream, fields: RawHeaders, ended: boolean): void {
    if (!stream.isClosed && !stream.isLocalEnded) this.flow.sendHeaders(stream, fields, ended);
  }

  /** Sends a stream's whole body; see {@link SendFlow.sendBody}. */
  sendBody(stream: H2Stream, prefix: number, body: Uint8Array, trailers?: RawHeaders): void {
    if (!stream.isClosed && !stream.isLocalEnded) this.flow.sendBody(stream, prefix, body, trailers);
  }

  /** Ends a stream at once in both directions. Its sink hears nothing more. */
  reset(stream: H2Stream, code: number): void {
    if (stream.isClosed) return;
    this.control.reset(stream.id, code);
    this.streams.rememberReset(stream.id);
    this.closeStream(stream);
  }

  /** Sends a PING unless one is on its way: when nothing comes back for a keepalive's time, the connection is given up. */
  probe(): void {
    this.#liveness.probe();
  }

  /** No stream is opened any more, and the connection ends with its last one. */
  drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.events.draining?.();
    this.#closeWhenDone();
  }

  /**
   * Lets the open streams finish, for at most `drainMs`, then closes. The peer is told by GOAWAY. A server first names the
   * highest number, so that requests that are on their way still count, and the true one a round trip later (RFC 9113,
   * section 6.8).
   */
  shutdown(drainMs: number): void {
    if (this.#isClosing || this.#end !== undefined) return;
    if (drainMs <= 0) {
      this.close();
      return;
    }
    this.#liveness.closeAfter(drainMs);
    if (this.role === 'server' && !this.#hasSaidGoAway) {
      this.#goAway(lastStreamId, h2Code.noError, '');
      this.#liveness.pingThen(() => {
        this.#lastAccepted = this.streams.lastOfPeer;
        this.#goAway(this.#lastAccepted, h2Code.noError, '');
        this.drain();
      });
    } else {
      this.drain();
    }
  }

  /** Closes now; streams that are open fail. */
  close(): void {
    this.#finish({ by: 'local', code: h2Code.noError, message: 'the connection was closed' });
  }

  /** Ends the connection because of what the peer did or left undone. */
  fail(code: number, message: string, cause?: unknown): void {
    this.#finish({ by: 'error', code, message, cause });
  }

  // What follows is for the files of this folder.

  /** True for a request that came after the last one that we announced to take. */
  isBeyondGoAway(id: number): boolean {
    return id > this.#lastAccepted;
  }

  makeStream(id: number, sink: StreamSink): H2Stream {
    const stream = new H2Stream(
      id,
      sink,
      this.peer.initialWindowBytes,
      this.#options.streamWindowBytes,
      this.outbox.position,
    );
    this.streams.add(stream);
    return stream;
  }

  closeStream(stream: H2Stream): void {
    if (stream.isClosed) return;
    stream.isClosed = true;
    this.streams.delete(stream);
    this.flow.forget(stream);
    if (this.#isDraining) this.#closeWhenDone();
    else if (this.role === 'client') this.events.ready?.();
  }

  failStream(stream: H2Stream, failure: StreamFailure): void {
    if (stream.isClosed) return;
    this.closeStream(stream);
    stream.sink.failed(failure);
  }

  /** Resets a stream because the peer broke a rule on it, and tells its sink. */
  refuseStream(stream: H2Stream, code: number, message: string): void {
    if (stream.isClosed) return;
    this.control.reset(stream.id, code);
    this.streams.rememberReset(stream.id);
    this.failStream(stream, { by: 'self', code, message, isUnprocessed: false });
  }

  /** Counts frames that bring nothing; throws H2Error ENHANCE_YOUR_CALM when there were too many of them. */
  spend(frames: number, what: string): void {
    if (!this.budget.spend(frames)) {
      throw new H2Error(
        h2Code.enhanceYourCalm,
        `too many frames that bring nothing, the last of them ${what}`,
      );
    }
  }

  /** DATA or HEADERS of a stream that is not open. */
  onLateFrame(id: number, what: 'DATA' | 'HEADERS'): void {
    if (this.streams.isIdle(id) || (this.role === 'client' && (id & 1) === 0)) {
      throw new H2Error(h2Code.protocolError, `${what} on a stream that was never opened`);
    }
    // A client cancels freely, and answers cross its cancellation.
    if (this.role === 'client' || this.streams.wasReset(id)) return;
    if (what === 'HEADERS') throw new H2Error(h2Code.streamClosed, 'HEADERS on a stream that is closed');
    this.spend(1, 'DATA on closed streams');
    this.control.reset(id, h2Code.streamClosed);
  }

  remoteEnd(stream: H2Stream): void {
    stream.isRemoteEnded = true;
    if (stream.isClosed) return;
    if (stream.isLocalEnded) {
      this.budget.earn(earnedByStream);
      this.closeStream(stream);
    } else if (this.role === 'client') {
      // The answer is complete, so the rest of the question is for nobody.
      this.reset(stream, h2Code.cancel);
    }
  }

  setPeerTableBytes(bytes: number): void {
    this.#headers.setMaxTableBytes(bytes);
  }

  /** The peer's GOAWAY. */
  onGoAway(lastId: number, code: number, text: string): void {
    const message = `the peer said GOAWAY (${h2CodeName(code)}${text === '' ? '' : `: ${text}`})`;
    this.#isDraining = true;
    this.events.draining?.();
    if (this.role === 'client') {
      for (const stream of this.streams.list()) {
        if (stream.id > lastId) {
          this.failStream(stream, {
            by: 'connection',
            code: h2Code.refusedStream,
            message,
            isUnprocessed: true,
          });
        }
      }
    }
    this.#closeWhenDone();
  }

  onPong(): void {
    this.#liveness.onPong();
  }

  #goAway(lastId: number, code: number, text: string): void {
    this.#hasSaidGoAway = true;
    this.control.goAway(lastId, code, text);
  }

  #greet(): void {
    const { limits, streamWindowBytes, connectionWindowBytes } = this.#options;
    const settings: (readonly [number, number])[] = [
      [settingId.initialWindowSize, streamWindowBytes],
      [settingId.maxHeaderListSize, limits.maxHeaderListBytes],
    ];
    if (this.role === 'client') {
      // Replies then need no table, so the same reply is the same bytes, and is read once.
      settings.push([settingId.headerTableSize, 0], [settingId.enablePush, 0]);
      this.outbox.put(clientPreface);
    } else {
      settings.push([settingId.maxConcurrentStreams, limits.maxConcurrentStreams]);
    }
    this.control.settings(settings);
    this.control.windowUpdate(0, Math.min(connectionWindowBytes, maxWindowBytes) - defaultWindowBytes);
  }

  #onData(chunk: Buffer): void {
    if (this.#end !== undefined) return;
    this.#liveness.touch();
    try {
      this.#inbound.push(chunk);
    } catch (error) {
      if (error instanceof H2Error) this.fail(error.code, error.message, error);
      else if (error instanceof HpackError) this.fail(h2Code.compressionError, error.message, error);
      else this.fail(h2Code.internalError, 'an error of our own', error);
      return;
    }
    if (this.#end !== undefined) return;
    if (this.outbox.waitingBytes > this.limits.maxWaitingBytes) this.#onCrowded();
  }

  /** The peer sends and does not read: nothing more is read from it until it does. The stall timeout ends it otherwise. */
  #onCrowded(): void {
    this.outbox.flush();
    if (this.socket.writableNeedDrain) this.socket.pause();
  }

  #onDrain(): void {
    if (this.#end !== undefined) return;
    this.flow.resumeAll();
    this.socket.resume();
    if (this.role === 'client') this.events.ready?.();
  }

  #onGone(): void {
    this.#finish({
      by: 'peer',
      code: h2Code.noError,
      message: 'the peer closed the connection',
    });
  }

  #localEnd(stream: H2Stream): void {
    if (stream.isClosed) return;
    if (stream.isRemoteEnded) {
      this.budget.earn(earnedByStream);
      this.closeStream(stream);
    } else if (this.role === 'server') {
      // The whole answer is sent: the rest of the request is not wanted (RFC 9113, section 8.1).
      this.reset(stream, h2Code.noError);
    }
  }

  #closeWhenDone(): void {
    if (this.streams.size === 0 && !this.#isClosing) this.close();
  }

  #finish(end: ConnectionEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#isClosing = true;
    this.#isDraining = true;
    this.#inbound.stop();
    this.#liveness.stop();
    const { socket } = this;
    // Nothing goes to a peer that has gone, so that what was not sent may be sent elsewhere.
    if (end.by !== 'peer' && !socket.destroyed && socket.writable) {
      if (!this.#hasSaidGoAway || end.code !== h2Code.noError) {
        this.#goAway(this.streams.lastOfPeer, end.code, end.by === 'error' ? end.message : '');
      }
      this.outbox.flush();
      socket.end();
      // Closing with unread bytes would make the system send a reset, which may overtake our GOAWAY at the peer.
      socket.resume();
      const timer = setTimeout(() => socket.destroy(), lingerMs);
      timer.unref();
      socket.once('close', () => clearTimeout(timer));
    } else {
      socket.destroy();
    }
    const { writtenBytes } = this.outbox;
    this.outbox.close();
    for (const stream of this.streams.list()) {
      this.failStream(stream, {
        by: 'connection',
        code: end.code,
        message: end.message,
        isUnprocessed: stream.position >= writtenBytes,
        cause: end.cause,
      });
    }
    this.events.closed(end);
  }
}
