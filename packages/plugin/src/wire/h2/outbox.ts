import type * as net from 'node:net';

const slabBytes = 32 * 1024;
// Copying into the slab beats a buffer of its own in the socket's list up to about this size.
const copyUpToBytes = 4096;

// Slabs that no outbox is using. A connection holds one only from its first frame of a turn until the system has taken the
// bytes, so a thousand idle connections hold none.
const free: Buffer[] = [];
const maxFree = 16;
const noSlab = Buffer.alloc(0);

/**
 * Collects the bytes of all frames that are made in one turn of the event loop and hands them to the socket in one
 * write. Small frames are written straight into a slab, which is given back as soon as the system has taken its bytes.
 */
export class Outbox {
  readonly #socket: net.Socket;
  /** Where {@link reserve} made room; to be written at once, before anything else of this outbox is called. */
  slab: Buffer = noSlab;
  #from = 0;
  #to = 0;
  #ready: Buffer[] = [];
  #readyBytes = 0;
  #scheduled = false;
  #closed = false;
  #writtenBytes = 0;
  readonly #flush = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  constructor(socket: net.Socket) {
    this.#socket = socket;
  }

  /** How many bytes were ever handed to the socket. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** How many bytes were ever put in here: the place of the next one in the stream of all bytes. */
  get position(): number {
    return this.#writtenBytes + this.#readyBytes + this.#to - this.#from;
  }

  /** Bytes that wait here and in the socket because the peer does not read. */
  get waitingBytes(): number {
    return this.#readyBytes + this.#to - this.#from + this.#socket.writableLength;
  }

  /** True when the socket asks to wait for its `drain`. */
  get isCongested(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Makes room for `bytes` in {@link slab} and returns where; they count as put in. */
  reserve(bytes: number): number {
    if (this.#to + bytes > this.slab.length) this.#newSlab(bytes);
    const at = this.#to;
    this.#to += bytes;
    if (!this.#scheduled) this.#schedule();
    return at;
  }

  /** Puts in bytes that may be kept as they are: nobody may change them until they have left. */
  put(bytes: Uint8Array): void {
    if (bytes.length <= copyUpToBytes) {
      const at = this.reserve(bytes.length);
      this.slab.set(bytes, at);
      return;
    }
    this.#seal();
    this.#ready.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    this.#readyBytes += bytes.length;
    if (!this.#scheduled) this.#schedule();
  }

  /** Hands everything to the socket now. */
  flush(): void {
    const socket = this.#socket;
    if (this.#closed || socket.destroyed || !socket.writable) {
      this.#discard();
      return;
    }
    if (this.#ready.length === 0) {
      const { slab } = this;
      const from = this.#from;
      const to = this.#to;
      if (from === to) return;
      this.#from = to;
      socket.write(slab.subarray(from, to));
      this.#count(to - from);
      this.rest();
      return;
    }
    this.#seal();
    const ready = this.#ready;
    this.#ready = [];
    const bytesNow = this.#readyBytes;
    this.#readyBytes = 0;
    socket.cork();
    for (const bytes of ready) socket.write(bytes);
    socket.uncork();
    this.#count(bytesNow);
    this.rest();
  }

  /** Gives the slab back if nobody needs it: not us, and not the socket, as TLS and a full socket keep hold of the bytes. */
  rest(): void {
    if (this.#from !== this.#to || this.#readyBytes > 0 || this.#socket.writableLength > 0) return;
    if (this.slab.length === slabBytes && free.length < maxFree) free.push(this.slab);
    this.slab = noSlab;
    this.#from = 0;
    this.#to = 0;
  }

  /**
   * An error that is there as soon as the write returns means that the system took none of its bytes: the peer had reset
   * the connection before. Then they may be sent elsewhere.
   */
  #count(bytes: number): void {
    if (this.#socket.errored === null) this.#writtenBytes += bytes;
  }

  /** Nothing is written any more; what is inside is dropped. */
  close(): void {
    this.#closed = true;
    this.#discard();
  }

  #schedule(): void {
    this.#scheduled = true;
    setImmediate(this.#flush);
  }

  #discard(): void {
    this.#ready = [];
    this.#readyBytes = 0;
    // Not given back: the socket may still have hold of it.
    this.slab = noSlab;
    this.#from = 0;
    this.#to = 0;
  }

  #seal(): void {
    if (this.#to === this.#from) return;
    this.#ready.push(this.slab.subarray(this.#from, this.#to));
    this.#readyBytes += this.#to - this.#from;
    this.#from = this.#to;
  }

  #newSlab(bytes: number): void {
    this.#seal();
    this.slab =
      bytes <= slabBytes ? (free.pop() ?? Buffer.allocUnsafeSlow(slabBytes)) : Buffer.allocUnsafeSlow(bytes);
    this.#from = 0;
    this.#to = 0;
  }
}
