import type { Conn } from '../../core/conn.ts';
import { PassedConn } from '../../core/passed-conn.ts';
import { glueMs } from './options.ts';

/** How the beginning of a connection is put together. */
export interface GlueOptions {
  /** What is said first. It waits a moment for the first bytes that are written, to go out with them. */
  readonly head: Buffer;
  /** What has to be read before anything else; it leaves there what follows. Where it rejects, so does every read. */
  readonly before?: () => Promise<void>;
}

/**
 * A connection that says something of its own first, in one piece with the first bytes that are written if those come within
 * {@link glueMs}, and by itself otherwise; and that may have to read something of its own first.
 */
export function glueConn(under: Conn, options: GlueOptions): Conn {
  return new GluedConn(under, options);
}

class GluedConn extends PassedConn {
  /** What was not said yet. */
  #head: Buffer | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #before: (() => Promise<void>) | undefined;
  #begun: Promise<void> | undefined;

  constructor(under: Conn, { head, before }: GlueOptions) {
    super(under);
    this.#head = head;
    this.#before = before;
    this.#timer = setTimeout(() => this.#flush(), glueMs);
  }

  override async read(): Promise<Buffer | null> {
    if (this.#before !== undefined) await (this.#begun ??= this.#before());
    return this.conn.read();
  }

  override write(bytes: Uint8Array): Promise<void> {
    const head = this.#takeHead();
    return this.conn.write(head === undefined ? bytes : Buffer.concat([head, bytes]));
  }

  override end(): Promise<void> {
    this.#flush();
    return this.conn.end();
  }

  override reset(): void {
    this.#takeHead();
    this.conn.reset();
  }

  /** Writes keep their order, and whoever reads finds out that the connection broke. */
  #flush(): void {
    const head = this.#takeHead();
    if (head !== undefined) this.conn.write(head).catch(() => undefined);
  }

  #takeHead(): Buffer | undefined {
    const head = this.#head;
    this.#head = undefined;
    clearTimeout(this.#timer);
    return head;
  }
}
