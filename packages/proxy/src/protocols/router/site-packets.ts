import { lingeringClose } from '../../core/linger.ts';
import type { Address, Conn } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { PacketFrames } from '../../wire/packet-frames.ts';

/** What may wait for a node that reads slowly; packets beyond are dropped, as a network would. */
const maxQueuedBytes = 512 * 1024;

/** Packets are put into memory of that size, one behind the other. */
const slabBytes = 64 * 1024;

const maxPacketBytes = 0xffff;

/**
 * A site's packets in the connection with its router, which from now on belongs to them; `gateway` is whose they are. Packets that
 * are sent in one turn of the event loop go out together, and nothing is made for each. They close when the node half-closes.
 */
export function createSitePackets(conn: Conn, gateway: Address): Datagrams {
  return new SitePackets(conn, gateway);
}

class SitePackets implements Datagrams {
  readonly kind = 'datagrams';
  readonly carrier: Conn;
  readonly local: Address;
  readonly remote: Address;
  readonly closed: Promise<void>;
  readonly #conn: Conn;
  #end!: () => void;
  #isOpen = true;
  #reading: Promise<Buffer | null> | undefined;
  /** What is sent stands here from `#from` to `#to`, and is not written over. */
  #slab = Buffer.alloc(0);
  #from = 0;
  #to = 0;
  #isDue = false;
  #queuedBytes = 0;

  constructor(conn: Conn, gateway: Address) {
    this.#conn = this.carrier = conn;
    this.local = conn.local;
    this.remote = gateway;
    this.closed = new Promise((resolve) => (this.#end = resolve));
    void conn.closed.then(() => {
      this.close();
    });
  }

  receive(each: (data: Buffer, peer: Address) => void): void {
    this.#deliver(each).then(
      () => {
        this.close();
      },
      () => {
        // Nothing follows any more.
        this.#isOpen = false;
        this.#conn.reset();
        this.#end();
      },
    );
  }

  send(data: Uint8Array): boolean {
    const bytes = 2 + data.length;
    if (!this.#isOpen || data.length > maxPacketBytes || this.#queuedBytes + bytes > maxQueuedBytes)
      return false;
    if (this.#slab.length - this.#to < bytes) {
      this.#flush();
      this.#slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, bytes));
      this.#from = this.#to = 0;
    }
    this.#slab.writeUInt16BE(data.length, this.#to);
    this.#slab.set(data, this.#to + 2);
    this.#to += bytes;
    this.#queuedBytes += bytes;
    if (this.#isDue) return true;
    this.#isDue = true;
    queueMicrotask(this.#flush);
    return true;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#flush();
    this.#isOpen = false;
    this.#end();
    // Its reader may still wait for bytes that nobody wants any more; the first of them go there.
    void lingeringClose(this.#conn, { read: this.#read });
  }

  readonly #flush = (): void => {
    this.#isDue = false;
    const length = this.#to - this.#from;
    if (length === 0 || !this.#isOpen) return;
    const written = () => {
      this.#queuedBytes -= length;
    };
    // Whoever reads finds out that the connection broke.
    this.#conn.write(this.#slab.subarray(this.#from, this.#to)).then(written, written);
    this.#from = this.#to;
  };

  /** Whoever closes it while a read is under way shares that. */
  readonly #read = (): Promise<Buffer | null> =>
    (this.#reading ??= this.#conn.read().finally(() => {
      this.#reading = undefined;
    }));

  async #deliver(each: (data: Buffer, peer: Address) => void): Promise<void> {
    const frames = new PacketFrames();
    const give = (bytes: Buffer, start: number, end: number) => {
      each(bytes.subarray(start + 2, end), this.remote);
    };
    for (let bytes = await this.#read(); bytes !== null && this.#isOpen; bytes = await this.#read())
      frames.push(bytes, give);
  }
}
