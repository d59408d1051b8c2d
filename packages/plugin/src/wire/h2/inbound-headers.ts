import { H2Error, flag, h2Code } from './codes.ts';
import type { H2Connection } from './connection.ts';
import { HeaderAssembly } from './header-assembly.ts';
import { HeaderReader } from './header-blocks.ts';
import { isWrongLength } from './stream.ts';
import type { StreamSink } from './stream.ts';

/** Takes HEADERS and CONTINUATION: puts blocks together, reads and judges them (RFC 9113, sections 6.2, 6.10 and 8). */
export class InboundHeaders {
  readonly #connection: H2Connection;
  readonly #reader: HeaderReader;
  readonly #assembly: HeaderAssembly;

  constructor(connection: H2Connection) {
    const { maxHeaderListBytes } = connection.limits;
    this.#connection = connection;
    this.#reader = new HeaderReader({
      // A client announces 0; a server leaves the table at the size that it has unasked.
      maxTableBytes: connection.role === 'client' ? 0 : 4096,
      maxListBytes: maxHeaderListBytes,
    });
    this.#assembly = new HeaderAssembly(maxHeaderListBytes);
  }

  /** The stream whose block is not complete; 0 while there is none. No other frame may come in between. */
  get openBlock(): number {
    return this.#assembly.streamId;
  }

  onHeaders(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
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
    if ((flags & flag.endHeaders) !== 0) this.#onBlock(id, ended, bytes, from, to);
    else this.#assembly.begin(id, ended, bytes, from, to);
  }

  onContinuation(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (this.#assembly.streamId === 0)
      throw new H2Error(h2Code.protocolError, 'CONTINUATION without HEADERS');
    this.#assembly.add(bytes, from, to);
    if ((flags & flag.endHeaders) === 0) return;
    const block = this.#assembly.take();
    this.#onBlock(id, this.#assembly.isEnded, block, 0, block.length);
  }

  #onBlock(id: number, ended: boolean, bytes: Buffer, from: number, to: number): void {
    const connection = this.#connection;
    const stream = connection.streams.get(id);
    if (stream === undefined) {
      if (connection.role === 'server' && id > connection.streams.lastOfPeer) {
        this.#onRequest(id, ended, bytes, from, to);
      } else {
        // Read all the same: the tables of both sides must stay equal.
        this.#reader.read(bytes, from, to, 'trailers');
        connection.onLateFrame(id, 'HEADERS');
      }
      return;
    }
    stream.bytesReceived += to - from + 9;
    const isTrailers = stream.hasHeaders;
    const section = this.#reader.read(bytes, from, to, isTrailers ? 'trailers' : 'response');
    if (stream.isRemoteEnded)
      return connection.refuseStream(stream, h2Code.streamClosed, 'HEADERS behind the end of the stream');
    if (section.error !== undefined) {
      connection.spend(1, 'malformed headers');
      return connection.refuseStream(stream, h2Code.protocolError, section.error);
    }
    if (isTrailers) {
      if (!ended)
        return connection.refuseStream(stream, h2Code.protocolError, 'trailers that do not end the stream');
    } else if (section.fields[1]!.charCodeAt(0) === one) {
      // 1xx: the real answer is still to come (RFC 9113, section 8.1).
      connection.spend(1, 'informational answers');
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
    const { limits, streams, events } = connection;
    if ((id & 1) === 0) {
      throw new H2Error(h2Code.protocolError, 'a client opened a stream with an even number');
    }
    streams.lastOfPeer = id;
    const section = this.#reader.read(bytes, from, to, 'request');
    if (section.isTooLarge) {
      return this.#refuse(
        id,
        ended,
        h2Code.enhanceYourCalm,
        limits.maxIdleFrames / 4,
        'header lists that are too large',
      );
    }
    if (section.error !== undefined)
      return this.#refuse(id, ended, h2Code.protocolError, 10, 'malformed requests');
    if (connection.isBeyondGoAway(id))
      return this.#refuse(id, ended, h2Code.refusedStream, 1, 'requests behind our GOAWAY');
    if (streams.size >= limits.maxConcurrentStreams) {
      return this.#refuse(id, ended, h2Code.refusedStream, 1, 'requests beyond MAX_CONCURRENT_STREAMS');
    }
    if (events.accept === undefined) return this.#refuse(id, ended, h2Code.refusedStream, 1, 'requests');
    const stream = connection.makeStream(id, unclaimed);
    stream.hasHeaders = true;
    stream.expectedBytes = section.contentBytes;
    stream.bytesReceived = to - from + 9;
    if (isWrongLength(stream, ended)) {
      const text = 'the body is not as long as content-length says';
      return connection.refuseStream(stream, h2Code.protocolError, text);
    }
    stream.isRemoteEnded = ended;
    stream.sink = events.accept(stream);
    stream.sink.headers(section.fields, ended);
  }

  #refuse(id: number, ended: boolean, code: number, cost: number, what: string): void {
    this.#connection.control.reset(id, code);
    if (!ended) this.#connection.streams.rememberReset(id);
    this.#connection.spend(cost, what);
  }
}

const one = 0x31;

const unclaimed: StreamSink = { headers: () => {}, data: () => {}, failed: () => {} };
