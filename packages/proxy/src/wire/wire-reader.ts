/** A message, and how many bytes it took. */
export interface Parsed<Message> {
  readonly message: Message;
  readonly length: number;
}

/**
 * Reads one message from its first byte on. Returns undefined while it is not whole, and then everything so far is given
 * again, longer. Throws ProxyError for bytes that no message begins with, and does so at the latest when more of them have
 * come than a message may have, so that whoever holds the bytes holds a bounded number. Codecs are pairs of such a function and
 * its inverse, `formatX`.
 */
export type Parse<Message> = (bytes: Buffer) => Parsed<Message> | undefined;

const nothing = Buffer.alloc(0);

/** Reads one message after the other from the bytes of a connection, however they are split. After an error it is of no use. */
export class WireReader<Message> {
  /** What followed the last message that `push` returned; it is for whoever reads on. */
  rest: Buffer = nothing;
  /** The bytes of the last message that `push` returned, for whoever passes them on as they came. */
  taken: Buffer = nothing;

  readonly #parse: Parse<Message>;
  /** A message that came in pieces: `#length` bytes of it, in a buffer that grows by doubling. */
  #held: Buffer = nothing;
  #length = 0;

  constructor(parse: Parse<Message>) {
    this.#parse = parse;
  }

  /** True while a part of a message is held: a peer that goes silent or away now breaks off in the middle. */
  get started(): boolean {
    return this.#length > 0;
  }

  /** What has come of a message that is not whole. */
  get held(): Buffer {
    return this.#held.subarray(0, this.#length);
  }

  /**
   * Takes the next bytes. Returns a message once it is whole ({@link rest} is what follows it), else undefined. What the
   * message holds may be a part of `bytes`.
   */
  push(bytes: Buffer): Message | undefined {
    let all = bytes;
    if (this.#length > 0) {
      this.#hold(bytes);
      all = this.held;
    }
    const parsed = this.#parse(all);
    if (parsed === undefined) {
      if (this.#length === 0) this.#hold(bytes);
      return undefined;
    }
    this.taken = all.subarray(0, parsed.length);
    this.rest = all.subarray(parsed.length);
    this.#held = nothing;
    this.#length = 0;
    return parsed.message;
  }

  #hold(bytes: Buffer): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#held.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#held.length, 64));
      this.#held.copy(larger, 0, 0, this.#length);
      this.#held = larger;
    }
    bytes.copy(this.#held, this.#length);
    this.#length = needed;
  }
}
