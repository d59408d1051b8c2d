/**
 * Told of one frame: `bytes` from `start`, where its length stands in two bytes, to `end`; the packet begins at `start + 2`. The
 * bytes are not used again by whoever tells, so that they may be kept.
 */
export type EachFrame = (bytes: Buffer, start: number, end: number) => void;

/**
 * Finds the packets of a connection, each behind its length in two bytes (GOST's router protocol; the same frames as
 * `parseRelayDatagram` reads), however the bytes are split. Nothing is made for a frame that came in one piece: it is told where
 * it stands. Every beginning is one, so it never throws, and it holds at most
 * 65,537 bytes.
 */
export class PacketFrames {
  /** A frame that came in pieces, as long as it will be. Absent while its length is not known. */
  #held: Buffer | undefined;
  #heldBytes = 0;
  /** The first byte of a length of which the second has not come. */
  #half = -1;

  push(bytes: Buffer, each: EachFrame): void {
    let at = this.#goOn(bytes, each);
    while (bytes.length - at >= 2) {
      const end = at + 2 + bytes.readUInt16BE(at);
      if (end > bytes.length) {
        this.#hold(bytes, at, end - at);
        return;
      }
      each(bytes, at, end);
      at = end;
    }
    if (at < bytes.length) this.#half = bytes[at]!;
  }

  /** Takes what belongs to a frame that has begun. Answers where the next begins. */
  #goOn(bytes: Buffer, each: EachFrame): number {
    let at = 0;
    if (this.#half >= 0 && bytes.length > 0) {
      const length = 2 + (this.#half << 8) + bytes[0]!;
      this.#held = Buffer.allocUnsafe(length);
      this.#held.writeUInt16BE(length - 2);
      this.#heldBytes = 2;
      this.#half = -1;
      at = 1;
    }
    const held = this.#held;
    if (held === undefined) return at;
    const copied = bytes.copy(held, this.#heldBytes, at, at + held.length - this.#heldBytes);
    this.#heldBytes += copied;
    if (this.#heldBytes < held.length) return bytes.length;
    this.#held = undefined;
    each(held, 0, held.length);
    return at + copied;
  }

  #hold(bytes: Buffer, at: number, length: number): void {
    this.#held = Buffer.allocUnsafe(length);
    this.#heldBytes = bytes.copy(this.#held, 0, at);
  }
}
