import { lingeringClose } from '../../core/linger.ts';
import type { Address, Conn } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { PacketFrames } from '../../wire/packet-frames.ts';
import { PacketWriter } from './packet-writer.ts';

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
  readonly #writer: PacketWriter;

  constructor(conn: Conn, gateway: Address) {
    this.#conn = this.carrier = conn;
    this.#writer = new PacketWriter(conn);
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
        this.#writer.close();
        this.#conn.reset();
        this.#end();
      },
    );
  }

  send(data: Uint8Array): boolean {
    return this.#writer.packet(data);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#writer.flush();
    this.#writer.close();
    this.#end();
    // Its reader may still wait for bytes that nobody wants any more; the first of them go there.
    void lingeringClose(this.#conn, { read: this.#read });
  }

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
