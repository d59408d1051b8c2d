/** Pieces that are shorter are copied, so that a few bytes do not keep a whole read of the connection in memory. */
const shortBytes = 16 * 1024;

/** What a copy begins with; it grows with what is there already, so that many streams with a byte each cost little. */
const smallestBytes = 256;

/**
 * What has come of a stream and was not read. Costs at most about four times the bytes that it holds, and a quarter of a
 * kilobyte, whatever the pieces that they came in.
 */
export class Received {
  /** Bytes that are held. */
  length = 0;
  #pieces: Buffer[] = [];
  /** The last piece where it is a copy with room behind it. */
  #room: Buffer | undefined;

  push(bytes: Buffer): void {
    if (bytes.length === 0) return;
    if (bytes.length >= shortBytes) {
      this.length += bytes.length;
      this.#pieces.push(bytes);
      this.#room = undefined;
      return;
    }
    let rest = bytes;
    if (this.#room !== undefined) {
      const fits = Math.min(this.#room.length, rest.length);
      rest.copy(this.#room, 0, 0, fits);
      const last = this.#pieces.pop()!;
      this.#pieces.push(Buffer.from(last.buffer, last.byteOffset, last.length + fits));
      this.#room = fits < this.#room.length ? this.#room.subarray(fits) : undefined;
      this.length += fits;
      rest = rest.subarray(fits);
    }
    if (rest.length === 0) return;
    const size = Math.max(rest.length, Math.min(shortBytes, Math.max(smallestBytes, this.length)));
    const copy = Buffer.allocUnsafeSlow(size);
    rest.copy(copy);
    this.#pieces.push(copy.subarray(0, rest.length));
    this.#room = rest.length < size ? copy.subarray(rest.length) : undefined;
    this.length += rest.length;
  }

  /** The next piece, as large as it happens to be; undefined where there is none. */
  shift(): Buffer | undefined {
    const first = this.#pieces.shift();
    if (first === undefined) return undefined;
    if (this.#pieces.length === 0) this.#room = undefined;
    this.length -= first.length;
    return first;
  }

  clear(): void {
    this.#pieces = [];
    this.#room = undefined;
    this.length = 0;
  }
}
