import { parseFields } from './fields.ts';
import { headerValues } from './head.ts';
import type { Http1RequestHead, Http1ResponseHead } from './head.ts';
import { Http1Error, malformed } from './http1-error.ts';
import type { Http1Side } from './http1-error.ts';

/** How large a head may be. */
export interface Http1HeadLimits {
  /** The start line, in bytes. Default 16 KiB, which is more than browsers and most servers take. */
  readonly maxStartLineBytes?: number;
  /** All field lines together, with their line ends, in bytes. Default 64 KiB: Go's default of 1 MiB is too much to hold for a stranger. */
  readonly maxFieldsBytes?: number;
}

/** The head that a reader of this side gives. */
export type Http1HeadOf<Side extends Http1Side> = Side extends 'request'
  ? Http1RequestHead
  : Http1ResponseHead;

const defaultMaxStartLineBytes = 16 * 1024;
const defaultMaxFieldsBytes = 64 * 1024;

const lineEnd = Buffer.from('\r\n');
const headEnd = Buffer.from('\r\n\r\n');
const nothing = Buffer.alloc(0);

/**
 * Reads one head after the other from the bytes of a connection, however they are split. It is strict (RFC 9112): lines
 * end in CRLF, nothing is folded, a name is followed by its colon at once, nothing holds control characters, a request
 * has at most one `Host`. Whether `Host` is there, and what the target means, is for the caller to look at; how long
 * the body is says `bodyFraming`. One empty line before a request is skipped (section 2.2).
 *
 * Errors are {@link Http1Error}: 400 malformed, 414 the request line is too long, 431 the fields are, 505 the version is not 1.x; always 502 for a response.
 */
export class Http1HeadReader<Side extends Http1Side> {
  /** What followed the last head that `push` returned: the body's first bytes, or the next message's. */
  rest: Buffer = nothing;

  readonly #side: Side;
  readonly #maxStartLineBytes: number;
  readonly #maxFieldsBytes: number;
  /** A head that came in pieces: `#length` bytes of it, in a buffer that grows by doubling. */
  #held: Buffer = nothing;
  #length = 0;
  /** How far {@link #checkHeld} has looked, and where the fields begin; 0 while the start line is not whole. */
  #checked = 0;
  #fieldsFrom = 0;

  constructor(side: Side, limits: Http1HeadLimits = {}) {
    this.#side = side;
    this.#maxStartLineBytes = limits.maxStartLineBytes ?? defaultMaxStartLineBytes;
    this.#maxFieldsBytes = limits.maxFieldsBytes ?? defaultMaxFieldsBytes;
  }

  /** True while a part of a head is held: a peer that has gone silent now is not idle, but slow. */
  get started(): boolean {
    return this.#length > 0;
  }

  /** Takes the next bytes. Returns the head once it is whole ({@link rest} is what follows it), else undefined. */
  push(bytes: Buffer): Http1HeadOf<Side> | undefined {
    let all = bytes;
    let searchFrom = 0;
    if (this.#length > 0) {
      searchFrom = Math.max(0, this.#length - headEnd.length + 1);
      this.#hold(bytes);
      all = this.#held.subarray(0, this.#length);
    }
    const start = this.#side === 'request' && all[0] === 0x0d && all[1] === 0x0a ? lineEnd.length : 0;
    const end = all.indexOf(headEnd, Math.max(start, searchFrom));
    if (end < 0) {
      if (this.#length === 0) this.#hold(bytes);
      this.#checkHeld(start);
      return undefined;
    }
    const head = this.#parse(all.toString('latin1', start, end + lineEnd.length));
    this.rest = all.subarray(end + headEnd.length);
    this.#held = nothing;
    this.#length = 0;
    this.#checked = 0;
    this.#fieldsFrom = 0;
    return head;
  }

  #hold(bytes: Buffer): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#held.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#held.length, 512));
      this.#held.copy(larger, 0, 0, this.#length);
      this.#held = larger;
    }
    bytes.copy(this.#held, this.#length);
    this.#length = needed;
  }

  /** Looks at what has come of an unfinished head, so that garbage is refused at once and not at the deadline. */
  #checkHeld(start: number): void {
    const held = this.#held;
    for (let at = this.#checked; at < this.#length; at++) {
      const code = held[at]!;
      const before = at === 0 ? 0 : held[at - 1]!;
      if (code === 0x0a ? before !== 0x0d : before === 0x0d)
        throw this.#malformed('a line is not ended by CRLF');
      if ((code < 0x20 && code !== 0x09 && code !== 0x0a && code !== 0x0d) || code === 0x7f) {
        throw this.#malformed('the head holds a control character');
      }
      if (before === 0x0a && (code === 0x20 || code === 0x09)) {
        throw this.#malformed('a header line begins with white space');
      }
    }
    const lookedFrom = Math.max(start, this.#checked - 1);
    this.#checked = this.#length;
    if (this.#fieldsFrom === 0) {
      const lineLength = held.subarray(0, this.#length).indexOf(lineEnd, lookedFrom) - start;
      if (lineLength < 0) {
        // One more may be the line's CR.
        if (this.#length - start > this.#maxStartLineBytes + 1) throw this.#tooLong();
        return;
      }
      if (lineLength > this.#maxStartLineBytes) throw this.#tooLong();
      this.#parseStartLine(held.toString('latin1', start, start + lineLength));
      this.#fieldsFrom = start + lineLength + lineEnd.length;
    }
    if (this.#length - this.#fieldsFrom > this.#maxFieldsBytes + 1) throw this.#tooLarge();
  }

  #parse(text: string): Http1HeadOf<Side> {
    const startLineLength = text.indexOf('\r\n');
    if (startLineLength > this.#maxStartLineBytes) throw this.#tooLong();
    const startLine = this.#parseStartLine(text.slice(0, startLineLength));
    const fieldsFrom = startLineLength + lineEnd.length;
    if (text.length - fieldsFrom > this.#maxFieldsBytes) throw this.#tooLarge();
    const headers = parseFields(text, fieldsFrom, this.#side);
    if (this.#side === 'request' && headerValues(headers, 'host').length > 1) {
      throw this.#malformed('the request has more than one Host');
    }
    return { ...startLine, headers } as unknown as Http1HeadOf<Side>;
  }

  #parseStartLine(line: string): Omit<Http1RequestHead, 'headers'> | Omit<Http1ResponseHead, 'headers'> {
    return this.#side === 'request' ? parseRequestLine(line) : parseStatusLine(line);
  }

  #malformed(message: string): Http1Error {
    return malformed(this.#side, message);
  }

  #tooLong(): Http1Error {
    const limit = `${this.#maxStartLineBytes} bytes`;
    if (this.#side === 'request') return new Http1Error(414, `the request line is longer than ${limit}`);
    return this.#malformed(`the status line is longer than ${limit}`);
  }

  #tooLarge(): Http1Error {
    const message = `the header fields are larger than ${this.#maxFieldsBytes} bytes`;
    return this.#side === 'request' ? new Http1Error(431, message) : this.#malformed(message);
  }
}

const requestLine = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^\0-\x20\x7f]+) HTTP\/(\d)\.(\d)$/;

function parseRequestLine(line: string): Omit<Http1RequestHead, 'headers'> {
  const match = requestLine.exec(line);
  if (match === null) throw malformed('request', 'the request line is not "METHOD TARGET HTTP/1.1"');
  if (match[3] !== '1') {
    throw new Http1Error(505, `HTTP/${match[3]}.${match[4]} is not spoken here, only HTTP/1.1 and HTTP/1.0`);
  }
  return { method: match[1]!, target: match[2]!, version: match[4] === '0' ? '1.0' : '1.1' };
}

// Some servers leave out the space before an empty reason.
// eslint-disable-next-line no-control-regex -- control characters are what must not be in a reason
const statusLine = /^HTTP\/(\d)\.(\d) ([1-9]\d\d)(?: ([^\0-\x08\x0a-\x1f\x7f]*))?$/;

function parseStatusLine(line: string): Omit<Http1ResponseHead, 'headers'> {
  const match = statusLine.exec(line);
  if (match === null) throw malformed('response', 'the answer does not begin with an HTTP/1.1 status line');
  if (match[1] !== '1')
    throw malformed('response', `the answer is HTTP/${match[1]}.${match[2]}, not HTTP/1.1`);
  return { status: Number(match[3]), reason: match[4] ?? '', version: match[2] === '0' ? '1.0' : '1.1' };
}
