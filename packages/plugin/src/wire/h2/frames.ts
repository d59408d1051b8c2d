import { H2Error, h2Code } from './codes.ts';

/** Length, type, flags and stream (RFC 9113, section 4.1). */
export const frameHeaderBytes = 9;

/**
 * Takes whole frames. The payload is `bytes` from `from` up to `to`; the bytes may be kept, nobody writes into them
 * again. What it throws leaves {@link FrameReader.push}.
 */
export interface FrameSink {
  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, from: number, to: number): void;
}

/**
 * Cuts a byte stream into frames (RFC 9113, section 4.1). Any split of the bytes gives the same frames. A frame that lies in
 * one chunk is not copied; at most one incomplete frame is kept, so memory is bounded by `maxFrameBytes`.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #maxFrameBytes: number;
  // The incomplete frame, header included, and how much of it is there. While its header is incomplete it is #header.
  readonly #header = Buffer.alloc(frameHeaderBytes);
  #partial: Buffer = this.#header;
  #have = 0;
  #stopped = false;

  /** `maxFrameBytes` is the largest payload: our SETTINGS_MAX_FRAME_SIZE, which is at least 16384. */
  constructor(sink: FrameSink, maxFrameBytes: number) {
    this.#sink = sink;
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** True while the bytes of a frame are there in part. */
  get isInsideFrame(): boolean {
    return this.#have > 0;
  }

  /** Nothing more is handed over, also of the chunk that is being read. */
  stop(): void {
    this.#stopped = true;
  }

  /** Reads the next bytes. Throws H2Error FRAME_SIZE_ERROR for a frame that is too large, and what the sink throws. */
  push(chunk: Buffer): void {
    let at = 0;
    const end = chunk.length;
    while (at < end && !this.#stopped) {
      if (this.#have > 0) {
        at = this.#fill(chunk, at);
        continue;
      }
      if (end - at < frameHeaderBytes) {
        this.#begin(chunk, at, this.#header);
        return;
      }
      const length = this.#lengthAt(chunk, at);
      const next = at + frameHeaderBytes + length;
      if (next > end) {
        this.#begin(chunk, at, Buffer.allocUnsafe(frameHeaderBytes + length));
        return;
      }
      this.#dispatch(chunk, at, next);
      at = next;
    }
  }

  #begin(chunk: Buffer, at: number, into: Buffer): void {
    this.#partial = into;
    this.#have = chunk.copy(into, 0, at);
  }

  /** Moves what the incomplete frame needs out of the chunk, hands it over when it is complete, returns the new position. */
  #fill(chunk: Buffer, from: number): number {
    let at = from;
    if (this.#partial === this.#header) {
      const copied = chunk.copy(this.#header, this.#have, at);
      this.#have += copied;
      at += copied;
      if (this.#have < frameHeaderBytes) return at;
      const whole = Buffer.allocUnsafe(frameHeaderBytes + this.#lengthAt(this.#header, 0));
      this.#header.copy(whole);
      this.#partial = whole;
    }
    const copied = chunk.copy(this.#partial, this.#have, at);
    this.#have += copied;
    at += copied;
    if (this.#have === this.#partial.length) {
      const whole = this.#partial;
      this.#partial = this.#header;
      this.#have = 0;
      this.#dispatch(whole, 0, whole.length);
    }
    return at;
  }

  #lengthAt(bytes: Buffer, at: number): number {
    const length = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
    if (length > this.#maxFrameBytes) {
      throw new H2Error(
        h2Code.frameSizeError,
        `a frame of ${length} bytes, ${this.#maxFrameBytes} are allowed`,
      );
    }
    return length;
  }

  #dispatch(bytes: Buffer, at: number, end: number): void {
    const streamId =
      ((bytes[at + 5]! & 0x7f) << 24) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 8) | bytes[at + 8]!;
    this.#sink.onFrame(bytes[at + 3]!, bytes[at + 4]!, streamId, bytes, at + frameHeaderBytes, end);
  }
}

/** Reads 32 bits, most significant byte first. */
export function readUint32(bytes: Buffer, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** Writes 32 bits, most significant byte first, and returns the position behind them. */
export function writeUint32(bytes: Buffer, at: number, value: number): number {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
  return at + 4;
}

/** Writes a frame's header and returns the position behind it, where `length` bytes of payload belong. */
export function writeFrameHeader(
  bytes: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): number {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  return writeUint32(bytes, at + 5, streamId);
}
