import type { Conn } from '../../core/conn.ts';

/** What may wait for a peer that reads slowly; packets beyond are dropped, as a network would. */
const maxQueuedBytes = 512 * 1024;

/** Small pieces are put into memory of that size, one behind the other, and go out together. */
const slabBytes = 64 * 1024;

/** From here on a piece is written as it is: it costs less than copying it. */
const minOwnWriteBytes = 8 * 1024;

/** A piece keeps all of the memory that it was read into; one that is a smaller part of it than that is copied. */
const maxKeptFactor = 4;

const maxPacketBytes = 0xffff;

/**
 * Writes packets into a connection, each behind its length in two bytes, and waits for nobody. Those of one turn of the event loop
 * go out together, and nothing is made for each. What is written keeps its order.
 */
export class PacketWriter {
  readonly #conn: Conn;
  /** What is to be written stands here from `#from` to `#to`, and is not written over. */
  #slab = Buffer.alloc(0);
  #from = 0;
  #to = 0;
  #isDue = false;
  #isClosed = false;
  #queuedBytes = 0;

  constructor(conn: Conn) {
    this.#conn = conn;
  }

  /** Writes one packet; false: it was dropped. The memory may be used again at once. */
  packet(data: Uint8Array): boolean {
    if (data.length > maxPacketBytes || !this.#takes(2 + data.length)) return false;
    this.#room(2 + data.length);
    this.#slab.writeUInt16BE(data.length, this.#to);
    this.#slab.set(data, this.#to + 2);
    this.#to += 2 + data.length;
    return true;
  }

  /** Writes whole frames, which stand in these bytes and are not changed any more; false: they were dropped. */
  frames(bytes: Buffer, start: number, end: number): boolean {
    const length = end - start;
    if (!this.#takes(length)) return false;
    if (length >= minOwnWriteBytes && length * maxKeptFactor >= bytes.buffer.byteLength) {
      this.flush();
      this.#write(bytes.subarray(start, end));
      return true;
    }
    this.#room(length);
    bytes.copy(this.#slab, this.#to, start, end);
    this.#to += length;
    return true;
  }

  /** Writes what waits for the end of the turn. */
  readonly flush = (): void => {
    this.#isDue = false;
    if (this.#to === this.#from || this.#isClosed) return;
    this.#write(this.#slab.subarray(this.#from, this.#to));
    this.#from = this.#to;
  };

  /** Drops everything from now on. */
  close(): void {
    this.#isClosed = true;
  }

  #takes(bytes: number): boolean {
    if (this.#isClosed || this.#queuedBytes + bytes > maxQueuedBytes) return false;
    this.#queuedBytes += bytes;
    return true;
  }

  /** Makes room for so many bytes behind those that wait. */
  #room(bytes: number): void {
    if (this.#slab.length - this.#to < bytes) {
      this.flush();
      this.#slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, bytes));
      this.#from = this.#to = 0;
    }
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(this.flush);
  }

  #write(bytes: Buffer): void {
    const { length } = bytes;
    const written = () => {
      this.#queuedBytes -= length;
    };
    // Whoever reads finds out that the connection broke.
    this.#conn.write(bytes).then(written, written);
  }
}
