import type { Conn } from '../conn.ts';
import { PassedConn } from '../passed-conn.ts';

/**
 * A connection whose next bytes can be waited for without taking them, and whose wait can be given up: what comes later is
 * there for whoever reads then. Nothing else reads the connection below meanwhile.
 */
export class PeekedConn extends PassedConn {
  readonly #putBack: Buffer[] = [];
  #pending: Promise<Buffer | null> | undefined;
  /** What the pending read brought; undefined while it has brought nothing. */
  #brought: { readonly bytes: Buffer | null } | undefined;

  /** Resolves when a read would be answered at once, with bytes, the end or an error. Never rejects. */
  async stirred(): Promise<void> {
    if (this.#putBack.length > 0) return;
    await this.#read().then(
      () => undefined,
      () => undefined,
    );
  }

  /** As {@link stirred}; false when that took longer than so many milliseconds. */
  async stirredWithin(ms: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => (timer = setTimeout(resolve, ms, false)));
    try {
      return await Promise.race([this.stirred().then(() => true), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  override read(): Promise<Buffer | null> {
    const bytes = this.#putBack.shift();
    if (bytes !== undefined) return Promise.resolve(bytes);
    const pending = this.#read();
    this.#pending = this.#brought = undefined;
    return pending;
  }

  override unread(bytes: Buffer): void {
    if (bytes.length > 0) this.#putBack.unshift(bytes);
  }

  override reset(): void {
    this.#putBack.length = 0;
    this.conn.reset();
  }

  /**
   * The connection to be used from now on: the one below, with everything put back, or this one where a read is under way.
   */
  settle(): Conn {
    if (this.#pending !== undefined && this.#brought === undefined) return this;
    const bytes = this.#brought?.bytes;
    if (bytes !== undefined && bytes !== null) this.conn.unread(bytes);
    for (const back of this.#putBack.reverse()) this.conn.unread(back);
    this.#pending = this.#brought = undefined;
    this.#putBack.length = 0;
    return this.conn;
  }

  #read(): Promise<Buffer | null> {
    if (this.#pending !== undefined) return this.#pending;
    const pending = this.conn.read();
    this.#pending = pending;
    pending.then(
      (bytes) => {
        if (this.#pending === pending) this.#brought = { bytes };
      },
      () => {
        // Whoever reads next is told, here or below.
        if (this.#pending === pending) this.#brought = { bytes: null };
      },
    );
    return pending;
  }
}
