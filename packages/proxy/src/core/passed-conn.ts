import type { Duplex } from 'node:stream';
import type { Conn, Ends } from './conn.ts';
import { duplexOf } from './duplex.ts';

/**
 * A connection that passes everything on to the one beneath, for layers that change some of it: each overrides that, and
 * `stream` is made of what it has become. It does not give the socket away, because what a layer does would be gone past.
 */
export class PassedConn implements Conn {
  readonly kind = 'stream';
  /** The one beneath; a plain field, so that a layer on the hot path reaches it at no cost. */
  protected readonly conn: Conn;
  readonly #ends: Ends;
  #stream: Duplex | undefined;

  /** `ends`: what is said of its two ends. Default: what the one beneath says. */
  constructor(conn: Conn, ends: Ends = conn) {
    this.conn = conn;
    this.#ends = ends;
  }

  get local() {
    return this.#ends.local;
  }

  get remote() {
    return this.#ends.remote;
  }

  get tls() {
    return this.#ends.tls;
  }

  get wanted() {
    return this.#ends.wanted;
  }

  get via() {
    return this.#ends.via;
  }

  get under(): Conn {
    return this.conn;
  }

  get closed(): Promise<void> {
    return this.conn.closed;
  }

  read(): Promise<Buffer | null> {
    return this.conn.read();
  }

  unread(bytes: Buffer): void {
    this.conn.unread(bytes);
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.conn.write(bytes);
  }

  end(): Promise<void> {
    return this.conn.end();
  }

  leave(): void {
    this.conn.leave?.();
  }

  reset(): void {
    this.conn.reset();
  }

  get stream(): Duplex {
    return (this.#stream ??= duplexOf(this));
  }
}
