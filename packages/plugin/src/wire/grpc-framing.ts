import { gunzipSync, gzipSync } from 'node:zlib';
import { readUint32 } from './h2/frames.ts';

const prefixBytes = 5;
const empty = Buffer.alloc(0);

/**
 * Reads the body of a unary call: one message behind its prefix of compressed flag and length (gRPC's document "gRPC over
 * HTTP2", Length-Prefixed-Message). A message that lies in one piece is not copied.
 */
export class MessageReader {
  readonly #maxBytes: number;
  #have = 0;
  #buffer: Buffer | undefined;
  #filled = 0;
  /** Complete only when {@link state} is `one`. */
  message: Buffer = empty;
  /** The first byte of the prefix was 1. */
  isCompressed = false;
  /** How many bytes the message has, or would have. */
  announcedBytes = 0;
  /** `part`: the message or its prefix is not complete. `extra`: more than one message. `badFlag`: neither 0 nor 1. */
  state: 'none' | 'part' | 'one' | 'extra' | 'tooLarge' | 'badFlag' = 'none';

  /** `maxBytes` is the largest message as it is sent, compressed or not. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes the next bytes. After `extra`, `tooLarge` or `badFlag` nothing changes any more. */
  push(bytes: Buffer, from: number, to: number): void {
    if (from === to) return;
    if (this.state === 'none' && to - from >= prefixBytes) {
      if (!this.#begin(bytes, from)) return;
      const end = from + prefixBytes + this.announcedBytes;
      if (end <= to) {
        this.message = bytes.subarray(from + prefixBytes, end);
        this.state = end < to ? 'extra' : 'one';
        return;
      }
      this.#open();
      this.#fill(bytes, from + prefixBytes, to);
    } else if (this.state === 'none' || this.state === 'part') {
      this.#slow(bytes, from, to);
    } else if (this.state === 'one') {
      this.state = 'extra';
    }
  }

  #begin(prefix: Buffer, at: number): boolean {
    const compressed = prefix[at]!;
    this.announcedBytes = readUint32(prefix, at + 1);
    this.isCompressed = compressed === 1;
    if (compressed > 1) this.state = 'badFlag';
    else if (this.announcedBytes > this.#maxBytes) this.state = 'tooLarge';
    else this.state = 'part';
    return this.state === 'part';
  }

  #open(): void {
    this.#have = prefixBytes;
    this.#filled = 0;
    // A length is only a promise: memory is taken as its bytes come.
    this.#buffer = Buffer.allocUnsafe(Math.min(this.announcedBytes, 64 * 1024));
  }

  #slow(bytes: Buffer, from: number, to: number): void {
    if (this.#have < prefixBytes) {
      const prefix = this.#have === 0 ? Buffer.alloc(prefixBytes) : this.#buffer!;
      this.#buffer = prefix;
      const copied = bytes.copy(prefix, this.#have, from, to);
      this.#have += copied;
      from += copied;
      this.state = 'part';
      if (this.#have < prefixBytes || !this.#begin(prefix, 0)) return;
      this.#open();
    }
    this.#fill(bytes, from, to);
  }

  #fill(bytes: Buffer, from: number, to: number): void {
    let buffer = this.#buffer!;
    const wanted = Math.min(to - from, this.announcedBytes - this.#filled);
    if (this.#filled + wanted > buffer.length) {
      const larger = Buffer.allocUnsafe(
        Math.min(this.announcedBytes, Math.max(buffer.length * 2, this.#filled + wanted)),
      );
      buffer.copy(larger, 0, 0, this.#filled);
      buffer = larger;
      this.#buffer = larger;
    }
    bytes.copy(buffer, this.#filled, from, from + wanted);
    this.#filled += wanted;
    if (this.#filled < this.announcedBytes) return;
    this.message = buffer;
    this.state = from + wanted < to ? 'extra' : 'one';
  }
}

/** What came of a compressed message. */
export type Gunzipped = { readonly message: Buffer } | { readonly error: 'tooLarge' | 'garbage' };

/** Decompresses a message to at most `maxBytes`; no more than that is ever produced. */
export function gunzipMessage(message: Buffer, maxBytes: number): Gunzipped {
  try {
    return { message: gunzipSync(message, { maxOutputLength: Math.max(1, maxBytes) }) };
  } catch (error) {
    const isTooLarge =
      error instanceof RangeError || (error as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE';
    return { error: isTooLarge ? 'tooLarge' : 'garbage' };
  }
}

/** Compresses a message for the wire. */
export function gzipMessage(message: Uint8Array): Buffer {
  return gzipSync(message);
}
