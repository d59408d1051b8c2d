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
import { describeForeign } from './foreign.ts';
import { InboundHeaders } from './inbound-headers.ts';
import { earnedByStream } from './limits.ts';
import { isWrongLength } from './stream.ts';
import type { H2Stream } from './stream.ts';

/** Judges what the peer sends and acts on it: the receiving half of a connection (RFC 9113, sections 5 and 6). */
export class Inbound implements FrameSink {
  readonly #connection: H2Connection;
  readonly #reader: FrameReader;
  readonly #headers: InboundHeaders;
  readonly #streamWindowBytes: number;
  readonly #connectionWindowBytes: number;
  #windowBytes: number;
  #owedBytes = 0;
  #preface = 0;
  #receivedBytes = 0;
  #hasSettings = false;
  #finishedUnits = 0;

  constructor(connection: H2Connection, streamWindowBytes: number, connectionWindowBytes: number) {
    this.#connection = connection;
    this.#reader = new FrameReader(this, defaultFrameBytes);
    this.#headers = new InboundHeaders(connection);
    this.#streamWindowBytes = streamWindowBytes;
    this.#connectionWindowBytes = Math.max(connectionWindowBytes, defaultWindowBytes);
    this.#windowBytes = this.#connectionWindowBytes;
  }

  get hasSettings(): boolean {
    return this.#hasSettings;
  }

  /** True while the peer owes the rest of a preface, a frame or a header block. */
  get isUnfinished(): boolean {
    const prefaceMissing = !this.#hasSettings;
    return prefaceMissing || this.#reader.isInsideFrame || this.#headers.openBlock !== 0;
  }

  /** Grows with each frame, or block of headers, that is complete. */
  get finishedUnits(): number {
    return this.#finishedUnits;
  }

  stop(): void {
    this.#reader.stop();
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
      // Fewer bytes than a frame's header, or more, do not matter: a server writes its first line at once.
      if (this.#receivedBytes === 0) {
        const foreign = describeForeign(chunk);
        if (foreign === 'http1') throw new H2Error(h2Code.http11Required, 'the peer is an HTTP/1 server');
        if (foreign === 'tls') throw new H2Error(h2Code.http11Required, 'the peer speaks TLS');
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
    const { openBlock } = this.#headers;
    if (openBlock !== 0 && (type !== frameType.continuation || streamId !== openBlock)) {
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
        this.#headers.onHeaders(flags, streamId, bytes, from, to);
        break;
      case frameType.continuation:
        // The unit is the block, however many frames a slow peer makes of it.
        if ((flags & flag.endHeaders) === 0) this.#finishedUnits--;
        this.#headers.onContinuation(flags, streamId, bytes, from, to);
        break;
      case frameType.priority:
        if (streamId === 0) throw new H2Error(h2Code.protocolError, 'PRIORITY of stream 0');
        if (to - from !== 5) throw new H2Error(h2Code.frameSizeError, 'PRIORITY is not 5 bytes');
        this.#connection.spend(1, 'PRIORITY');
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
        this.#connection.spend(1, 'GOAWAY');
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
        this.#connection.spend(1, 'unknown frames');
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
      connection.onLateFrame(id, 'DATA');
      return;
    }
    if (from === to && !ended) this.#connection.spend(1, 'empty DATA');
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
        connection.control.windowUpdate(id, stream.owedBytes);
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
    this.#connection.control.windowUpdate(0, this.#owedBytes);
    this.#windowBytes += this.#owedBytes;
    this.#owedBytes = 0;
  }

  #onReset(id: number, bytes: Buffer, from: number, to: number): void {
    if (to - from !== 4) throw new H2Error(h2Code.frameSizeError, 'RST_STREAM is not 4 bytes');
    const stream = this.#known(id, 'RST_STREAM');
    if (stream === undefined) {
      // It was answered before; if that happens all the time, nobody wants the answers, and they earn nothing.
      this.#connection.spend(1 + earnedByStream, 'RST_STREAM');
      return;
    }
    // A server's resets are no more than our calls.
    if (this.#connection.role === 'server') this.#connection.spend(1, 'RST_STREAM');
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
      this.#connection.spend(1, 'SETTINGS');
      return;
    }
    this.#connection.spend(1, 'SETTINGS');
    const { peer } = connection;
    const tableBytes = peer.headerTableBytes;
    const delta = peer.apply(bytes, from, to, connection.role === 'client');
    if (peer.headerTableBytes !== tableBytes) connection.setPeerTableBytes(peer.headerTableBytes);
    this.#hasSettings = true;
    connection.control.settingsAck();
    if (delta !== 0) {
      for (const stream of connection.streams.list()) {
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
    this.#connection.spend(1, 'PING');
    if ((flags & flag.ack) !== 0) this.#connection.onPong();
    else this.#connection.control.ping(bytes.subarray(from, to), true);
  }

  #onWindowUpdate(id: number, bytes: Buffer, from: number, to: number): void {
    const connection = this.#connection;
    if (to - from !== 4) throw new H2Error(h2Code.frameSizeError, 'WINDOW_UPDATE is not 4 bytes');
    const increment = readUint32(bytes, from) & 0x7fff_ffff;
    // Every body that we send is answered by some of these.
    this.#connection.spend(0.1, 'WINDOW_UPDATE');
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
    if (connection.streams.isIdle(id)) {
      throw new H2Error(h2Code.protocolError, `${what} on a stream that was never opened`);
    }
    return undefined;
  }
}

/** GOAWAY's debug data comes from the peer and ends up in logs. */
function printable(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[^\x20-\x7e]/g, '?');
}
