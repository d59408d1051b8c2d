import { performance } from 'node:perf_hooks';
import { WireReader } from '../wire/wire-reader.ts';
import type { Parse } from '../wire/wire-reader.ts';
import type { Conn } from './conn.ts';
import { ProxyError } from './errors.ts';

/** How a handshake is bounded. One of the two at least is given. */
export interface HandshakeOptions {
  /** Whom we speak with; it decides the code of the error when that one leaves or is slow. */
  readonly side: 'client' | 'upstream';
  /** Over all that we wait for the peer. What we ask of others meanwhile has its own deadlines. */
  readonly timeoutMs?: number;
  /** Nobody waits for the outcome any more once it fires. */
  readonly signal?: AbortSignal;
}

/**
 * The messages by which a connection says what it is for, read one after the other, whatever the network's pieces: bytes that
 * follow a message stay in the connection. Whoever made it calls `done` when it is over, however it went. Where it takes too
 * long the connection is reset.
 */
export class Handshake {
  /** The connection; to be replaced when another layer has begun over it. */
  conn: Conn;
  readonly #side: 'client' | 'upstream';
  readonly #timeoutMs: number | undefined;
  readonly #signal: AbortSignal | undefined;
  #leftMs: number;
  #late = false;

  constructor(conn: Conn, { side, timeoutMs, signal }: HandshakeOptions) {
    this.conn = conn;
    this.#side = side;
    this.#timeoutMs = timeoutMs;
    this.#leftMs = timeoutMs ?? 0;
    this.#signal = signal;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  readonly #onAbort = (): void => {
    this.conn.reset();
  };

  /**
   * The next message. Rejects with what `parse` throws; `handshakeTimeout` or `upstreamTimeout` when it took too long;
   * `clientClosed` or `upstreamClosed` when the peer left, and `clientClosed` when nobody waits any more.
   */
  async read<Message>(parse: Parse<Message>): Promise<Message> {
    const reader = new WireReader(parse);
    for (;;) {
      const bytes = await this.wait(() => this.conn.read());
      if (bytes === null) throw this.#left(reader.started);
      const message = reader.push(bytes);
      if (message === undefined) continue;
      this.conn.unread(reader.rest);
      return message;
    }
  }

  /** Writes a message. Rejects as {@link read}. */
  write(bytes: Uint8Array): Promise<void> {
    return this.wait(() => this.conn.write(bytes));
  }

  /** Waits for a step that depends on the peer. Rejects with the step's own error, or as {@link read}. */
  async wait<T>(step: () => Promise<T>): Promise<T> {
    this.#check();
    const since = performance.now();
    const late = () => {
      this.#late = true;
      this.conn.reset();
    };
    const timer = this.#timeoutMs === undefined ? undefined : setTimeout(late, Math.max(this.#leftMs, 1));
    try {
      return await step();
    } catch (cause) {
      this.#check(cause);
      const error = ProxyError.from(cause);
      if (error.code !== 'upstreamClosed') throw error;
      // Nothing has been sent that the target could have seen; so another node may do it.
      throw new ProxyError(error.code, error.at, error.message, { cause, retryable: true });
    } finally {
      clearTimeout(timer);
      this.#leftMs -= performance.now() - since;
    }
  }

  /** Nobody may end it from outside any more. More than one call does no harm. */
  done(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }

  #check(cause?: unknown): void {
    if (this.#signal?.aborted === true) {
      throw new ProxyError('clientClosed', 'client', 'nobody waits for the connection any more', { cause });
    }
    if (!this.#late) return;
    const within = `within ${String(this.#timeoutMs! / 1000)} s`;
    throw this.#side === 'client'
      ? new ProxyError('handshakeTimeout', 'client', `the client did not say what it wants ${within}`, {
          cause,
        })
      : new ProxyError('upstreamTimeout', 'upstream', `the node did not answer ${within}`, {
          cause,
          retryable: true,
        });
  }

  #left(started: boolean): ProxyError {
    const where = started ? 'in the middle of a message' : 'before it had said all that is needed';
    return this.#side === 'client'
      ? new ProxyError('clientClosed', 'client', `the client ended the connection ${where}`)
      : new ProxyError('upstreamClosed', 'upstream', `the node ended the connection ${where}`, {
          retryable: true,
        });
  }
}
