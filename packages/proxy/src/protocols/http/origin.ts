import { formatAddress } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { lingeringClose } from '../../core/linger.ts';
import type { Session } from '../../core/session.ts';
import { MessageReader } from './message-reader.ts';

/** A connection to an origin, and the answers that come on it. */
export interface Origin {
  readonly conn: Conn;
  readonly answers: MessageReader<'response'>;
  /** True when an earlier request went over it, so that the origin may have closed it just now. */
  readonly reused: boolean;
}

/**
 * The origins of one client connection: at most one in use and one kept for the next request. A kept connection serves the
 * same target and the same user only, because origins tie authentication to connections.
 */
export class Origins {
  readonly #session: Session;
  #key = '';
  #kept: Origin | undefined;
  #active: Origin | undefined;
  #closed = false;

  constructor(session: Session) {
    this.#session = session;
  }

  /** True once the client has gone, or is being got rid of. */
  get closed(): boolean {
    return this.#closed;
  }

  /** The kept connection where it fits, or else a new one. Rejects as {@link Session.open} does. */
  async get(target: Address): Promise<Origin> {
    const key = `${formatAddress(target)} ${this.#session.user}`;
    const kept = this.#kept;
    this.#kept = undefined;
    if (kept !== undefined && this.#key === key) return (this.#active = { ...kept, reused: true });
    if (kept !== undefined) close(kept);
    this.#key = key;
    const conn = await this.#session.open(target);
    this.#active = { conn, answers: new MessageReader(conn, 'response'), reused: false };
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
