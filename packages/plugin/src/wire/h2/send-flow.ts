import type { RawHeaders } from '../grpc.ts';
import { defaultFrameBytes, defaultWindowBytes, flag, frameType } from './codes.ts';
import { frameHeaderBytes, writeFrameHeader, writeUint32 } from './frames.ts';
import type { HeaderWriter } from './header-blocks.ts';
import type { Outbox } from './outbox.ts';
import type { H2Stream } from './stream.ts';

// A message up to here is copied into the frames' own slab instead of being cut out of a buffer.
const smallBodyBytes = 4096;
const prefixBytes = 5;

/** Sends headers and bodies of streams as far as both flow-control windows let them (RFC 9113, section 5.2). */
export class SendFlow {
  readonly #outbox: Outbox;
  readonly #headers: HeaderWriter;
  readonly #onLocalEnd: (stream: H2Stream) => void;
  readonly #waiting = new Set<H2Stream>();
  /** The connection's window. */
  windowBytes = defaultWindowBytes;
  /** Grows with every byte of body that leaves; a connection where it stands still is stalled. */
  sentBodyBytes = 0;

  /** `onLocalEnd` is told when a stream's last frame has been put into the outbox. */
  constructor(outbox: Outbox, headers: HeaderWriter, onLocalEnd: (stream: H2Stream) => void) {
    this.#outbox = outbox;
    this.#headers = headers;
    this.#onLocalEnd = onLocalEnd;
  }

  /** True while some body waits for a window or for the socket. */
  get isWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** Sends a header section at once. Throws HpackError before anything is sent. */
  sendHeaders(stream: H2Stream, fields: RawHeaders, ended: boolean): void {
    const block = this.#headers.write(fields);
    const outbox = this.#outbox;
    const length = block.length;
    if (length <= defaultFrameBytes) {
      const at = outbox.reserve(frameHeaderBytes + length);
      const flags = flag.endHeaders | (ended ? flag.endStream : 0);
      outbox.slab.set(block, writeFrameHeader(outbox.slab, at, length, frameType.headers, flags, stream.id));
      stream.bytesSent += frameHeaderBytes + length;
    } else {
      this.#sendLongBlock(stream, block, ended);
    }
    if (ended) this.#end(stream);
  }

  /**
   * Sends a body, or queues what the windows do not allow yet. With a `prefix` of 0 or 1 it is a gRPC message, and the
   * prefix its compressed flag; with -1 the bytes are sent as they are. `trailers` end the stream behind it.
   */
  sendBody(stream: H2Stream, prefix: number, body: Uint8Array, trailers: RawHeaders | undefined): void {
    const head = prefix < 0 ? 0 : prefixBytes;
    const length = head + body.length;
    const fits = length <= smallBodyBytes && length <= stream.sendWindow && length <= this.windowBytes;
    // A frame without payload passes any window, also a negative one.
    if (fits || length === 0) {
      const outbox = this.#outbox;
      let at = outbox.reserve(frameHeaderBytes + length);
      const { slab } = outbox;
      const flags = trailers === undefined ? flag.endStream : 0;
      at = writeFrameHeader(slab, at, length, frameType.data, flags, stream.id);
      if (head > 0) {
        slab[at] = prefix;
        at = writeUint32(slab, at + 1, body.length);
      }
      slab.set(body, at);
      this.#count(stream, length);
      if (trailers === undefined) this.#end(stream);
      else this.sendHeaders(stream, trailers, true);
      return;
    }
    const pending = Buffer.allocUnsafe(length);
    if (head > 0) {
      pending[0] = prefix;
      writeUint32(pending, 1, body.length);
    }
    pending.set(body, head);
    stream.pending = pending;
    stream.pendingAt = 0;
    stream.pendingTrailers = trailers;
    this.#pump(stream);
  }

  /** To be called when the connection's window grew or the socket drained. */
  resumeAll(): void {
    for (const stream of this.#waiting) {
      if (this.windowBytes <= 0 || this.#outbox.isCongested) return;
      this.#pump(stream);
    }
  }

  /** To be called when the window of one stream grew. */
  resume(stream: H2Stream): void {
    if (stream.pending !== undefined) this.#pump(stream);
  }

  /** The stream is gone; what it has left is dropped. */
  forget(stream: H2Stream): void {
    stream.pending = undefined;
    stream.pendingTrailers = undefined;
    this.#waiting.delete(stream);
  }

  #pump(stream: H2Stream): void {
    const pending = stream.pending!;
    const outbox = this.#outbox;
    while (stream.pendingAt < pending.length) {
      const left = pending.length - stream.pendingAt;
      const length = Math.min(left, stream.sendWindow, this.windowBytes, defaultFrameBytes);
      if (length <= 0 || outbox.isCongested) {
        this.#waiting.add(stream);
        return;
      }
      const isLast = length === left && stream.pendingTrailers === undefined;
      const at = outbox.reserve(frameHeaderBytes);
      writeFrameHeader(outbox.slab, at, length, frameType.data, isLast ? flag.endStream : 0, stream.id);
      outbox.put(pending.subarray(stream.pendingAt, stream.pendingAt + length));
      stream.pendingAt += length;
      this.#count(stream, length);
      // So that a body of many frames feels the socket's pressure before all of it is buffered.
      if (outbox.waitingBytes > 8 * defaultFrameBytes) outbox.flush();
    }
    const trailers = stream.pendingTrailers;
    this.forget(stream);
    if (trailers === undefined) this.#end(stream);
    else this.sendHeaders(stream, trailers, true);
  }

  #count(stream: H2Stream, length: number): void {
    stream.sendWindow -= length;
    this.windowBytes -= length;
    this.sentBodyBytes += length;
    stream.bytesSent += frameHeaderBytes + length;
  }

  #end(stream: H2Stream): void {
    stream.isLocalEnded = true;
    this.#onLocalEnd(stream);
  }

  #sendLongBlock(stream: H2Stream, block: Buffer, ended: boolean): void {
    const outbox = this.#outbox;
    for (let from = 0; from < block.length; from += defaultFrameBytes) {
      const length = Math.min(defaultFrameBytes, block.length - from);
      const isFirst = from === 0;
      const flags =
        (from + length === block.length ? flag.endHeaders : 0) | (isFirst && ended ? flag.endStream : 0);
      const at = outbox.reserve(frameHeaderBytes);
      const type = isFirst ? frameType.headers : frameType.continuation;
      writeFrameHeader(outbox.slab, at, length, type, flags, stream.id);
      outbox.put(block.subarray(from, from + length));
      stream.bytesSent += frameHeaderBytes + length;
    }
  }
}
