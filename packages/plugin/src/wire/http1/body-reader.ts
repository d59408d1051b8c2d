import { parseFields } from './fields.ts';
import type { BodyFraming } from './framing.ts';
import { headerValue } from './head.ts';
import { malformed } from './http1-error.ts';
import type { Http1Error, Http1Side } from './http1-error.ts';

const nothing = Buffer.alloc(0);
const lineEnd = Buffer.from('\r\n');
const maxChunkLineBytes = 1024;
const maxExtensionBytes = 16 * 1024;
const defaultMaxTrailerBytes = 16 * 1024;

/** `size[;name[=token or "quoted"]]…` (RFC 9112, section 7.1). Thirteen hexadecimal digits are below 2^53. */
const chunkLine =
  // eslint-disable-next-line no-control-regex -- control characters are what must not be in a quoted string
  /^([0-9a-fA-F]{1,13})((?:[ \t]*;[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:[ \t]*=[ \t]*(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|"(?:[^"\\\0-\x08\x0a-\x1f\x7f]|\\[^\0-\x08\x0a-\x1f\x7f])*"))?)*)$/;

/** Fields that decide framing or routing must not come after the body (RFC 9110, section 6.5.1). */
const neverTrailers = ['content-length', 'transfer-encoding', 'host'];

/**
 * Reads one body out of the bytes of a connection, however they are split. `push` gives the body's bytes out as they
 * come, without chunk sizes; they, and `rest`, are slices of what was pushed in, of which nothing else is kept. Throws Http1Error (400, or 502 for a response's
 * body) for a bad chunk size or extension, chunk data not followed by CRLF, and bad or too many trailers.
 */
export class Http1BodyReader {
  /** Trailers, as in a head's `headers`; complete once {@link done}. */
  trailers: readonly string[] = [];
  /** What follows the body, once {@link done}. */
  rest: Buffer = nothing;

  #done: boolean;
  readonly #kind: BodyFraming['kind'];
  readonly #side: Http1Side;
  readonly #maxTrailerBytes: number;
  #state: 'size' | 'data' | 'dataEnd' | 'trailers';
  #left = 0;
  #extensionBytes = 0;
  /** The piece of a line (or of the trailers) that has come so far. */
  #held: Buffer = nothing;

  constructor(framing: BodyFraming, side: Http1Side, limits: { readonly maxTrailerBytes?: number } = {}) {
    this.#kind = framing.kind;
    this.#side = side;
    this.#maxTrailerBytes = limits.maxTrailerBytes ?? defaultMaxTrailerBytes;
    this.#left = framing.kind === 'length' ? framing.length : 0;
    this.#done = framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0);
    this.#state = framing.kind === 'chunked' ? 'size' : 'data';
  }

  /** True once the last byte of the body, and of the trailers, has come. From the start for a message without a body. */
  get done(): boolean {
    return this.#done;
  }

  /** Takes the next bytes and returns the body's part of them, in order; see {@link done} and {@link rest} after it. */
  push(bytes: Buffer): Buffer[] {
    if (this.#done) {
      this.rest = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
      return [];
    }
    if (this.#kind === 'untilClose') return bytes.length === 0 ? [] : [bytes];
    if (this.#kind === 'length') {
      const part = bytes.subarray(0, this.#left);
      this.#left -= part.length;
      if (this.#left === 0) this.#finish(bytes.subarray(part.length));
      return part.length === 0 ? [] : [part];
    }
    return this.#pushChunked(bytes);
  }

  /** The peer has half-closed. Throws unless the body is whole, which for `untilClose` it is by definition. */
  end(): void {
    if (this.#done) return;
    if (this.#kind !== 'untilClose') throw this.#malformed('the body was cut short');
    this.#finish(nothing);
  }

  #finish(rest: Buffer): void {
    this.#done = true;
    this.rest = rest;
  }

  #pushChunked(bytes: Buffer): Buffer[] {
    const parts: Buffer[] = [];
    let input = bytes;
    while (!this.#done && input.length > 0) {
      if (this.#state === 'data') {
        const part = input.subarray(0, this.#left);
        this.#left -= part.length;
        input = input.subarray(part.length);
        parts.push(part);
        if (this.#left === 0) this.#state = 'dataEnd';
      } else {
        input = this.#takeLine(input);
      }
    }
    return parts;
  }

  /** Takes input up to the end of a line, acts on the line once it is whole, and returns the input after it. */
  #takeLine(input: Buffer): Buffer {
    const heldBytes = this.#held.length;
    const limit = this.#state === 'trailers' ? this.#maxTrailerBytes : maxChunkLineBytes;
    // One byte more than what is allowed is enough to see that it is too much.
    const taken = input.subarray(0, limit + lineEnd.length + 1 - heldBytes);
    const all = heldBytes === 0 ? taken : Buffer.concat([this.#held, taken]);
    const isTrailers = this.#state === 'trailers';
    const end = isTrailers ? trailersEnd(all) : all.indexOf(lineEnd);
    if (end < 0) {
      if (all.length > limit + 1) throw this.#tooLong();
      // Looked at now so that a bare LF, or data where CRLF must be, is refused at once.
      this.#checkUnfinished(all);
      // A copy: what is pushed in may be the socket's buffer, which the next bytes overwrite.
      this.#held = heldBytes === 0 ? Buffer.from(all) : all;
      return input.subarray(taken.length);
    }
    if (end > limit) throw this.#tooLong();
    this.#held = nothing;
    const text = all.toString('latin1', 0, end);
    const after = input.subarray(end + lineEnd.length - heldBytes);
    if (isTrailers) this.#takeTrailers(text, after);
    else if (this.#state === 'size') this.#takeSize(text);
    else if (end > 0) throw this.#malformed('a chunk is longer than its size');
    else this.#state = 'size';
    return this.#done ? nothing : after;
  }

  #checkUnfinished(all: Buffer): void {
    if (this.#state === 'dataEnd' && all[0] !== 0x0d)
      throw this.#malformed('a chunk is longer than its size');
    for (let at = 0; at < all.length; at++) {
      const isBareFeed = all[at] === 0x0a && all[at - 1] !== 0x0d;
      const isBareReturn = all[at - 1] === 0x0d && all[at] !== 0x0a;
      if (isBareFeed || isBareReturn)
        throw this.#malformed('a line of the chunked body is not ended by CRLF');
    }
  }

  #takeSize(line: string): void {
    const match = chunkLine.exec(line);
    if (match === null) throw this.#malformed(`this is no chunk size: ${JSON.stringify(line.slice(0, 40))}`);
    this.#extensionBytes += match[2]!.length;
    if (this.#extensionBytes > maxExtensionBytes) throw this.#malformed('too many chunk extensions');
    this.#left = Number.parseInt(match[1]!, 16);
    this.#state = this.#left === 0 ? 'trailers' : 'data';
  }

  #takeTrailers(text: string, rest: Buffer): void {
    const trailers = parseFields(text, 0, this.#side);
    for (const name of neverTrailers) {
      if (headerValue(trailers, name) !== undefined) throw this.#malformed(`${name} in the trailers`);
    }
    this.trailers = trailers;
    this.#finish(rest);
  }

  #tooLong(): Http1Error {
    return this.#malformed(
      this.#state === 'trailers' ? 'the trailers are too large' : 'a chunk size has too many extensions',
    );
  }

  #malformed(message: string): Http1Error {
    return malformed(this.#side, message);
  }
}

/** Where the trailers' text ends: right before the empty line. -1 while that has not come. */
function trailersEnd(bytes: Buffer): number {
  if (bytes[0] === 0x0d && bytes[1] === 0x0a) return 0;
  const end = bytes.indexOf('\r\n\r\n', 0, 'latin1');
  return end < 0 ? -1 : end + lineEnd.length;
}

/** The line before a chunk of `bytes` bytes, which CRLF must follow. Never for 0, which ends the body. */
export function formatChunkLine(bytes: number): string {
  return `${bytes.toString(16)}\r\n`;
}
