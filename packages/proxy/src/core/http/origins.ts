import type { Conn } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import { lingeringClose } from '../linger.ts';
import type { Target } from '../route.ts';
import { MessageReader } from './message-reader.ts';

/** A connection that was opened for a request, and what makes it fit for another one. */
export interface Opened {
  readonly conn: Conn;
  /** For whom and where to; a request with another key must not use it. */
  readonly key: string;
  /** The forwarder's node that it leads to, where it was chosen by one. */
  readonly node?: Target | undefined;
}

/** A connection to an origin, and the answers that come on it. */
export interface Origin extends Opened {
  readonly answers: MessageReader<'response'>;
  /** True when an earlier request went over it, so that the origin may have closed it just now. */
  readonly reused: boolean;
}

/**
 * The origins of one client connection: at most one in use and one kept for the next request. A kept connection serves the
 * same target and the same user only, because origins tie authentication to connections.
 */
export class Origins {
  #kept: Origin | undefined;
  #active: Origin | undefined;
  #closed = false;

  /** True once the client has gone, or is being got rid of. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * The connection for the next request. `open` is given the one that is kept, and answers with that or with a new one.
   * Rejects as `open` does; what was kept stays then.
   */
  async use(open: (kept: Opened | undefined) => Promise<Opened>): Promise<Origin> {
    const kept = this.#kept;
    this.#kept = undefined;
    let opened: Opened;
    try {
      opened = await open(kept);
    } catch (error) {
      if (this.#closed && kept !== undefined) close(kept);
      else this.#kept = kept;
      throw error;
    }
    if (opened.conn === kept?.conn) this.#active = { ...kept, ...opened, reused: true };
    else {
      if (kept !== undefined) close(kept);
      this.#active = { ...opened, answers: new MessageReader(opened.conn, 'response'), reused: false };
    }
    if (this.#closed) this.abandon();
    return this.#active ?? Promise.reject(clientGone());
  }

  /** Keeps the connection in use for the next request; its last answer was read to the end. */
  keep(): void {
    const kept = this.#active;
    this.#active = undefined;
    this.#kept = kept;
    // Nothing may come while nothing is asked for: a close, or bytes that would be taken for the next answer.
    void kept?.answers.stirred().then(() => {
      if (this.#kept?.conn !== kept.conn) return;
      this.#kept = undefined;
      kept.conn.reset();
    });
  }

  /** The connection in use ends by itself from now on. */
  release(): void {
    this.#active = undefined;
  }

  /** Cuts the connection in use; what it was asked for is not wanted any more, or went wrong. */
  abandon(): void {
    this.#active?.conn.reset();
    this.#active = undefined;
  }

  /** Ends both. */
  close(): void {
    this.#closed = true;
    this.abandon();
    if (this.#kept !== undefined) close(this.#kept);
    this.#kept = undefined;
  }
}

/** The error of a request whose client has gone before it was answered. */
export function clientGone(): ProxyError {
  return new ProxyError('clientClosed', 'client', 'the client went away before its request was answered');
}

function close({ conn, answers }: Origin): void {
  void lingeringClose(conn, { read: () => answers.read() });
}
