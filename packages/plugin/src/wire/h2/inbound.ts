import {
  H2Error,
  defaultFrameBytes,
  clientPreface,
  defaultWindowBytes,
  flag,
  frameType,
  h2Code,
  maxWindowBytes,
} from './codes.ts';
import type { H2Connection } from './connection.ts';
import { FrameReader, readUint32 } from './frames.ts';
import type { FrameSink } from './frames.ts';
import { HeaderReader } from './header-blocks.ts';
import { HeaderAssembly } from './header-assembly.ts';
import type { H2Stream } from './stream.ts';

// Streams that we reset and of which the peer may not know yet: what it still sends on them is no error.
const rememberedResets = 256;

/** Judges what the peer sends and acts on it: the receiving half of a connection (RFC 9113, sections 5 and 6). */
export class Inbound implements FrameSink {
  readonly #connection: H2Connection;
  readonly #reader: FrameReader;
  readonly #headers: HeaderReader;
  readonly #assembly: HeaderAssembly;
  readonly #streamWindowBytes: number;
  readonly #connectionWindowBytes: number;
  #windowBytes: number;
  #owedBytes = 0;
  #preface = 0;
  #receivedBytes = 0;
  #foreign: string | undefined;
  #hasSettings = false;
  #lastPeerStream = 0;
  #finishedUnits = 0;
  readonly #resets = new Set<number>();

  constructor(connection: H2Connection, streamWindowBytes: number, connectionWindowBytes: number) {
    this.#connection = connection;
    this.#reader = new FrameReader(this, defaultFrameBytes);
    const { maxHeaderListBytes } = connection.limits;
    this.#headers = new HeaderReader({
      maxTableBytes: connection.role === 'client' ? 0 : 4096,
      maxListBytes: maxHeaderListBytes,
    });
    this.#assembly = new HeaderAssembly(maxHeaderListBytes);
    this.#streamWindowBytes = streamWindowBytes;
    this.#connectionWindowBytes = Math.max(connectionWindowBytes, defaultWindowBytes);
    this.#windowBytes = this.#connectionWindowBytes;
  }

  get hasSettings(): boolean {
    return this.#hasSettings;
  }

  /** The highest number of a stream that the peer opened and we took; 0 while there is none. */
  get lastPeerStream(): number {
    return this.#lastPeerStream;
  }

  /** True while the peer owes the rest of a preface, a frame or a header block. */
  get isUnfinished(): boolean {
    const prefaceMissing = !this.#hasSettings;
    return prefaceMissing || this.#reader.isInsideFrame || this.#assembly.isOpen;
  }

  /** Grows with each frame, or block of headers, that is complete. */
  get finishedUnits(): number {
    return this.#finishedUnits;
  }

  stop(): void {
    this.#reader.stop();
  }

  rememberReset(id: number): void {
    this.#resets.add(id);
    if (this.#resets.size > rememberedResets) {
      for (const oldest of this.#resets) {
        this.#resets.delete(oldest);
        return;
      }
    }
  }

  /** What is to be said about a peer that closed the connection without ever speaking HTTP/2. */
  describeEarlyEnd(): string | undefined {
    if (this.#hasSettings || this.#connection.role === 'server') return undefined;
    return this.#foreign ?? 'the peer closed the connection without a word of HTTP/2';
  }

  /** Reads the next bytes of the socket. Throws H2Error and HpackError, after which the connection is lost. */
  push(chunk: Buffer): void {
    if (!this.#hasSettings) {
      const rest = this.#beginning(chunk);
      if (rest !== undefined) this.#reader.push(rest);
      return;
    }
    this.#reader.push(chunk);
  }

  /** The client's preface, or on a client the question whether that is an HTTP/2 server at all. */
  #beginning(chunk: Buffer): Buffer | undefined {
    if (this.#connection.role === 'client') {
      if (this.#receivedBytes === 0 && chunk.length > 0) {
        this.#foreign = describeForeign(chunk);
        if (this.#foreign !== undefined) throw new H2Error(h2Code.http11Required, this.#foreign);
      }
      this.#receivedBytes += chunk.length;
      return chunk;
    }
    let at = 0;
    while (this.#preface < clientPreface.length && at < chunk.length) {
      if (chunk[at++] !== clientPreface[this.#preface++]) {
        throw new H2Error(h2Code.protocolError, 'this is not the preface of HTTP/2');
      }
    }
    return this.#preface < clientPreface.length ? undefined : chunk.subarray(at);
  }

  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, from: number, to: number): void {
    if (this.#assembly.isOpen && (type !== frameType.continuation || streamId !== this.#assembly.streamId)) {
      throw new H2Error(h2Code.protocolError, 'a header block was interrupted');
    }
    if (!this.#hasSettings && type !== frameType.settings) {
      throw new H2Error(h2Code.protocolError, 'the first frame is not SETTINGS');
    }
    this.#finishedUnits++;
    switch (type) {
      case frameType.data:
        this.#onData(flags, streamId, bytes, from, to);
        break;
      case frameType.headers:
        this.#onHeaders(flags, streamId, bytes, from, to);
        break;
      case frameType.continuation:
        if (!this.#assembly.isOpen) throw new H2Error(h2Code.protocolError, 'CONTINUATION without HEADERS');
        // The unit is the block, however many frames a slow peer makes of it.
        this.#finishedUnits--;
        this.#assembly.add(bytes, from, to);
        if ((flags & flag.endHeaders) !== 0) {
          const block = this.#assembly.take();
          this.#onBlock(streamId, this.#assembly.isEnded, block, 0, block.length);
        }
        break;
      case frameType.priority:
        if (streamId === 0) throw new H2Error(h2Code.protocolError, 'PRIORITY of stream 0');
        if (to - from !== 5) throw new H2Error(h2Code.frameSizeError, 'PRIORITY is not 5 bytes');
        this.#spend(1, 'PRIORITY');
        break;
      case frameType.rstStream:
        this.#onReset(streamId, bytes, from, to);
        break;
      case frameType.settings:
        this.#onSettings(flags, streamId, bytes, from, to);
        break;
      case frameType.pushPromise:
        throw new H2Error(h2Code.protocolError, 'PUSH_PROMISE, which nobody allowed');
      case frameType.ping:
        this.#onPing(flags, streamId, bytes, from, to);
        break;
      case frameType.goAway:
        if (streamId !== 0) throw new H2Error(h2Code.protocolError, 'GOAWAY on a stream');
        if (to - from < 8) throw new H2Error(h2Code.frameSizeError, 'GOAWAY is shorter than 8 bytes');
        this.#spend(1, 'GOAWAY');
        this.#connection.onGoAway(
          readUint32(bytes, from) & 0x7fff_ffff,
          readUint32(bytes, from + 4),
          printable(bytes.subarray(from + 8, Math.min(to, from + 264))),
        );
        break;
      case frameType.windowUpdate:
        this.#onWindowUpdate(streamId, bytes, from, to);
        break;
      default:
        // Frames of unknown types are skipped (RFC 9113, section 4.1).
        this.#spend(1, 'unknown frames');
    }
  }

  #spend(frames: number, what: string): void {
    if (!this.#connection.budget.spend(frames)) {
      throw new H2Error(
        h2Code.enhanceYourCalm,
        `too many frames that bring nothing, the last of them ${what}`,
      );
    }
  }

  #onData(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    const connection = this.#connection;
    if (id === 0) throw new H2Error(h2Code.protocolError, 'DATA on stream 0');
    const length = to - from;
    this.#windowBytes -= length;
    if (this.#windowBytes < 0) {
      throw new H2Error(h2Code.flowControlError, 'more DATA than the window of the connection allows');
    }
    this.#giveBack(length);
    if ((flags & flag.padded) !== 0) {
      const padding = length === 0 ? 0 : bytes[from]!;
      if (padding >= length) throw new H2Error(h2Code.protocolError, 'more padding than payload');
      from += 1;
      to -= padding;
    }
    const ended = (flags & flag.endStream) !== 0;
    const stream = connection.streams.get(id);
    if (stream === undefined) {
      this.#onLateFrame(id, 'DATA');
      return;
    }
    if (from === to && !ended) this.#spend(1, 'empty DATA');
    stream.bytesReceived += length + 9;
    if (stream.isRemoteEnded)
      return connection.refuseStream(stream, h2Code.streamClosed, 'DATA behind the end of the stream');
    if (!stream.hasHeaders)
      return connection.refuseStream(stream, h2Code.protocolError, 'DATA before HEADERS');
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) {
      return connection.refuseStream(
        stream,
        h2Code.flowControlError,
        'more DATA than the window of the stream allows',
      );
    }
    stream.bodyBytes += to - from;
    if (isWrongLength(stream, ended)) {
      return connection.refuseStream(
        stream,
        h2Code.protocolError,
        'the body is not as long as content-length says',
      );
    }
    if (!ended) {
      stream.owedBytes += length;
      if (stream.owedBytes > this.#streamWindowBytes / 2) {
        connection.sendWindowUpdate(id, stream.owedBytes);
        stream.receiveWindow += stream.owedBytes;
        stream.owedBytes = 0;
      }
    } else {
      stream.isRemoteEnded = true;
    }
    stream.sink.data(bytes, from, to, ended);
    if (ended) connection.remoteEnd(stream);
  }

  #giveBack(length: number): void {
    this.#owedBytes += length;
    if (this.#owedBytes < this.#connectionWindowBytes / 2) return;
    this.#connection.sendWindowUpdate(0, this.#owedBytes);
    this.#windowBytes += this.#owedBytes;
    this.#owedBytes = 0;
  }

  #onHeaders(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (id === 0) throw new H2Error(h2Code.protocolError, 'HEADERS on stream 0');
    if ((flags & flag.padded) !== 0) {
      const padding = from === to ? 0 : bytes[from]!;
      if (padding >= to - from) throw new H2Error(h2Code.protocolError, 'more padding than payload');
      from += 1;
      to -= padding;
    }
    if ((flags & flag.priority) !== 0) {
      if (to - from < 5)
        throw new H2Error(h2Code.frameSizeError, 'HEADERS without the priority that it announces');
      from += 5;
    }
    const ended = (flags & flag.endStream) !== 0;
    if ((flags & flag.endHeaders) !== 0) {
      if (to - from > this.#connection.limits.maxHeaderListBytes) {
        throw new H2Error(h2Code.enhanceYourCalm, 'the header block is larger than allowed');
      }
      this.#onBlock(id, ended, bytes, from, to);
    } else {
      this.#assembly.begin(id, ended, bytes, from, to);
    }
  }

  #onBlock(id: number, ended: boolean, bytes: Buffer, from: number, to: number): void {
    const connection = this.#connection;
    const stream = connection.streams.get(id);
    if (stream === undefined) {
      if (connection.role === 'server' && id > this.#lastPeerStream)
        this.#onRequest(id, ended, bytes, from, to);
      else {
        // Read all the same: the tables of both sides must stay equal.
        this.#headers.read(bytes, from, to, 'trailers');
        this.#onLateFrame(id, 'HEADERS');
      }
      return;
    }
    stream.bytesReceived += to - from + 9;
    const isTrailers = stream.hasHeaders;
    const section = this.#headers.read(bytes, from, to, isTrailers ? 'trailers' : 'response');
    if (stream.isRemoteEnded) {
      return connection.refuseStream(stream, h2Code.streamClosed, 'HEADERS behind the end of the stream');
    }
    if (section.error !== undefined) {
      this.#spend(1, 'malformed headers');
      return connection.refuseStream(stream, h2Code.protocolError, section.error);
    }
    if (isTrailers) {
      if (!ended)
        return connection.refuseStream(stream, h2Code.protocolError, 'trailers that do not end the stream');
    } else if (section.fields[1]!.charCodeAt(0) === one) {
      // 1xx: the real answer is still to come (RFC 9113, section 8.1).
      this.#spend(1, 'informational answers');
      if (ended) connection.refuseStream(stream, h2Code.protocolError, 'a 1xx answer that ends the stream');
      return;
    } else {
      stream.hasHeaders = true;
      stream.expectedBytes = section.contentBytes;
    }
    if (isWrongLength(stream, ended)) {
      return connection.refuseStream(
        stream,
        h2Code.protocolError,
        'the body is not as long as content-length says',
      );
    }
    if (ended) stream.isRemoteEnded = true;
    stream.sink.headers(section.fields, ended);
    if (ended) connection.remoteEnd(stream);
  }

  #onRequest(id: number, ended: boolean, bytes: Buffer, from: number, to: number): void {
    const connection = this.#connection;
    if ((id & 1) === 0)
      throw new H2Error(h2Code.protocolError, 'a client opened a stream with an even number');
    this.#lastPeerStream = id;
    const section = this.#headers.read(bytes, from, to, 'request');
    const refuse = (code: number, cost: number, what: string): void => {
      connection.sendReset(id, code);
      if (!ended) this.rememberReset(id);
      this.#spend(cost, what);
    };
    if (section.isTooLarge)
      return refuse(
        h2Code.enhanceYourCalm,
        connection.limits.maxIdleFrames / 4,
        'header lists that are too large',
      );
    if (section.error !== undefined) return refuse(h2Code.protocolError, 10, 'malformed requests');
    if (connection.isBeyondGoAway(id)) return refuse(h2Code.refusedStream, 1, 'requests behind our GOAWAY');
    if (connection.streams.size >= connection.limits.maxConcurrentStreams) {
      return refuse(h2Code.refusedStream, 1, 'requests beyond MAX_CONCURRENT_STREAMS');
    }
    const accept = connection.events.accept;
    if (accept === undefined) return refuse(h2Code.refusedStream, 1, 'requests');
    const stream = connection.makeStream(id, unclaimed);
    stream.hasHeaders = true;
    stream.expectedBytes = section.contentBytes;
    stream.bytesReceived = to - from + 9;
    if (isWrongLength(stream, ended)) {
      return connection.refuseStream(
        stream,
        h2Code.protocolError,
        'the body is not as long as content-length says',
      );
    }
    stream.isRemoteEnded = ended;
    stream.sink = accept.call(connection.events, stream);
    stream.sink.headers(section.fields, ended);
  }

  /** DATA or HEADERS of a stream that is not open. */
  #onLateFrame(id: number, what: string): void {
    const connection = this.#connection;
    const isOwn = (id & 1) === (connection.role === 'client' ? 1 : 0);
    if (isOwn ? connection.isIdleOwn(id) : id > this.#lastPeerStream || connection.role === 'client') {
      throw new H2Error(h2Code.protocolError, `${what} on a stream that was never opened`);
    }
    // A client cancels freely, and answers cross its cancellation.
    if (connection.role === 'client' || this.#resets.has(id)) return;
    if (what === 'HEADERS') throw new H2Error(h2Code.streamClosed, 'HEADERS on a stream that is closed');
    this.#spend(1, 'DATA on closed streams');
    connection.sendReset(id, h2Code.streamClosed);
  }

  #onReset(id: number, bytes: Buffer, from: number, to: number): void {
    if (to - from !== 4) throw new H2Error(h2Code.frameSizeError, 'RST_STREAM is not 4 bytes');
    const stream = this.#known(id, 'RST_STREAM');
    if (this.#connection.role === 'server' || stream === undefined) this.#spend(1, 'RST_STREAM');
    if (stream === undefined) return;
    stream.bytesReceived += 13;
    const code = readUint32(bytes, from);
    this.#connection.failStream(stream, {
      by: 'peer',
      code,
      message: 'the peer reset the stream',
      isUnprocessed: code === h2Code.refusedStream,
    });
  }

  #onSettings(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    const connection = this.#connection;
    if (id !== 0) throw new H2Error(h2Code.protocolError, 'SETTINGS on a stream');
    if ((flags & flag.ack) !== 0) {
      if (to !== from)
        throw new H2Error(h2Code.frameSizeError, 'an acknowledgement of SETTINGS with a payload');
      if (!this.#hasSettings)
        throw new H2Error(h2Code.protocolError, 'the first frame is an acknowledgement');
      this.#spend(1, 'SETTINGS');
      return;
    }
    this.#spend(1, 'SETTINGS');
    const { peer } = connection;
    const tableBytes = peer.headerTableBytes;
    const delta = peer.apply(bytes, from, to, connection.role === 'client');
    if (peer.headerTableBytes !== tableBytes) connection.setPeerTableBytes(peer.headerTableBytes);
    this.#hasSettings = true;
    connection.sendSettingsAck();
    if (delta !== 0) {
      for (const stream of connection.streams.values()) {
        stream.sendWindow += delta;
        if (stream.sendWindow > maxWindowBytes) {
          throw new H2Error(h2Code.flowControlError, 'SETTINGS_INITIAL_WINDOW_SIZE overflows a window');
        }
      }
    }
    if (delta > 0) connection.flow.resumeAll();
    if (connection.role === 'client') connection.events.ready?.();
  }

  #onPing(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (id !== 0) throw new H2Error(h2Code.protocolError, 'PING on a stream');
    if (to - from !== 8) throw new H2Error(h2Code.frameSizeError, 'PING is not 8 bytes');
    this.#spend(1, 'PING');
    if ((flags & flag.ack) !== 0) this.#connection.onPong();
    else this.#connection.sendPing(bytes.subarray(from, to), true);
  }

  #onWindowUpdate(id: number, bytes: Buffer, from: number, to: number): void {
    const connection = this.#connection;
    if (to - from !== 4) throw new H2Error(h2Code.frameSizeError, 'WINDOW_UPDATE is not 4 bytes');
    const increment = readUint32(bytes, from) & 0x7fff_ffff;
    // Every body that we send is answered by some of these.
    this.#spend(0.1, 'WINDOW_UPDATE');
    if (id === 0) {
      if (increment === 0) throw new H2Error(h2Code.protocolError, 'WINDOW_UPDATE by 0');
      connection.flow.windowBytes += increment;
      if (connection.flow.windowBytes > maxWindowBytes) {
        throw new H2Error(h2Code.flowControlError, 'WINDOW_UPDATE overflows the window of the connection');
      }
      connection.flow.resumeAll();
      return;
    }
    const stream = this.#known(id, 'WINDOW_UPDATE');
    if (stream === undefined) return;
    if (increment === 0) return connection.refuseStream(stream, h2Code.protocolError, 'WINDOW_UPDATE by 0');
    stream.sendWindow += increment;
    if (stream.sendWindow > maxWindowBytes) {
      return connection.refuseStream(
        stream,
        h2Code.flowControlError,
        'WINDOW_UPDATE overflows the window of the stream',
      );
    }
    connection.flow.resume(stream);
  }

  /** The stream of a frame that may also come late. Throws for one that was never opened. */
  #known(id: number, what: string): H2Stream | undefined {
    const connection = this.#connection;
    if (id === 0) throw new H2Error(h2Code.protocolError, `${what} on stream 0`);
    const stream = connection.streams.get(id);
    if (stream !== undefined) return stream;
    const isOwn = (id & 1) === (connection.role === 'client' ? 1 : 0);
    if (isOwn ? connection.isIdleOwn(id) : id > this.#lastPeerStream) {
      throw new H2Error(h2Code.protocolError, `${what} on a stream that was never opened`);
    }
    return undefined;
  }
}

const one = 0x31;

const unclaimed = { headers: () => {}, data: () => {}, failed: () => {} };

function isWrongLength(stream: H2Stream, ended: boolean): boolean {
  if (stream.expectedBytes === -1) return false;
  if (Number.isNaN(stream.expectedBytes)) return true;
  return stream.bodyBytes > stream.expectedBytes || (ended && stream.bodyBytes !== stream.expectedBytes);
}

/** Says what a server's first bytes are when they are not HTTP/2. */
function describeForeign(chunk: Buffer): string | undefined {
  if (chunk.toString('latin1', 0, 5) === 'HTTP/') return 'the peer is an HTTP/1 server';
  // A TLS record: an alert, or a handshake (RFC 8446, section 5.1).
  if ((chunk[0] === 0x15 || chunk[0] === 0x16) && chunk[1] === 3) return 'the peer speaks TLS';
  return undefined;
}

/** GOAWAY's debug data comes from the peer and ends up in logs. */
function printable(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[^\x20-\x7e]/g, '?');
}
