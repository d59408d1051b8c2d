import { performance } from 'node:perf_hooks';
import { Http1BodyReader, Http1Error, Http1HeadReader } from '@sallyport/plugin/wire';
import type { BodyFraming, Http1HeadOf, Http1Side } from '@sallyport/plugin/wire';
import type { Conn } from '../conn.ts';
import { ProxyError } from '../errors.ts';

const nothing = Buffer.alloc(0);

/** How long a head may take, and what may interrupt the wait for one. */
export interface HeadWait {
  /** Until the first byte, in milliseconds. */
  readonly idleMs: number;
  /** From the first byte to the last, in milliseconds. */
  readonly headMs: number;
  /** Calls `stop` when nothing that has not begun should be waited for any more; answers how to take that back. */
  readonly interruption?: (stop: () => void) => () => void;
}

/** Why no head came: the peer half-closed, it stayed silent, or the wait was interrupted. No byte had come. */
export type NoHead = 'ended' | 'idle' | 'interrupted';

/**
 * The messages of one direction of a connection: head, body, head, body, … Everything that it reads is read through it, so
 * that a wait can be given up and what comes later is not lost.
 */
export class MessageReader<Side extends Http1Side> {
  /** What follows the last message that was read, as far as it has come. */
  rest: Buffer = nothing;
  readonly #conn: Conn;
  #repair: ((bytes: Buffer) => Buffer) | undefined;
  readonly #side: Side;
  readonly #heads: Http1HeadReader<Side>;
  #body: Http1BodyReader | undefined;
  /** A read that somebody has given up waiting for. */
  #pending: Promise<Buffer | null> | undefined;

  /** `repair` is given the first bytes of the first message, and answers what they are to be taken for. */
  constructor(conn: Conn, side: Side, repair?: (bytes: Buffer) => Buffer) {
    this.#conn = conn;
    this.#repair = repair;
    this.#side = side;
    this.#heads = new Http1HeadReader(side);
  }

  /**
   * Reads the next head. Rejects with ProxyError: the error of a malformed message with its status, `handshakeTimeout` or
   * `upstreamTimeout` when it is too slow, and the connection's own errors.
   */
  async head(wait: HeadWait): Promise<Http1HeadOf<Side> | NoHead> {
    let bytes: Buffer | null | NoHead | 'late' = this.rest;
    let deadline: number | undefined;
    this.rest = nothing;
    for (;;) {
      if (bytes.length > 0) {
        const taken = this.#repair?.(bytes as Buffer) ?? (bytes as Buffer);
        this.#repair = undefined;
        const head = this.#parse(() => this.#heads.push(taken));
        if (head !== undefined) {
          this.rest = this.#heads.rest;
          return head;
        }
        deadline ??= performance.now() + wait.headMs;
        // Looked at here, because a peer that trickles is always a little faster than a timer of no length.
        if (performance.now() > deadline) throw this.#slow();
      }
      bytes =
        deadline === undefined
          ? await this.#readWithin(wait.idleMs, 'idle', wait.interruption)
          : await this.#readWithin(Math.max(0, deadline - performance.now()), 'late');
      if (bytes === null) {
        if (deadline === undefined) return 'ended';
        throw this.#broken('the head was cut short');
      }
      if (bytes === 'late') throw this.#slow();
      if (typeof bytes === 'string') return bytes;
    }
  }

  /** Begins to read a body; must be called for every head before the next one, with what `bodyFraming` says. */
  beginBody(framing: BodyFraming): void {
    this.#body = new Http1BodyReader(framing, this.#side);
  }

  /** True once the last byte of the body has been given out. */
  get bodyDone(): boolean {
    return this.#body?.done ?? true;
  }

  /** The body's trailers; complete once {@link bodyDone}. */
  get trailers(): readonly string[] {
    return this.#body?.trailers ?? [];
  }

  /** The next parts of the body, possibly none; null after the last. Rejects with ProxyError. */
  async bodyParts(): Promise<readonly Buffer[] | null> {
    const body = this.#body;
    if (body === undefined || body.done) return null;
    const bytes = this.rest.length > 0 ? this.rest : await this.read();
    this.rest = nothing;
    return this.#parse(() => {
      if (bytes === null) {
        body.end();
        return [];
      }
      const parts = body.push(bytes);
      if (body.done) this.rest = body.rest;
      return parts;
    });
  }

  /** The next bytes, whatever they mean. */
  read(): Promise<Buffer | null> {
    const pending = this.#pending ?? this.#conn.read();
    this.#pending = undefined;
    return pending;
  }

  /** Resolves when anything at all comes, be it the end. Never rejects. What came is read as usual. */
  async stirred(): Promise<void> {
    this.#pending ??= this.#conn.read();
    await this.#pending.then(
      () => undefined,
      () => undefined,
    );
  }

  /** Gives the bytes that were read too far back to the connection, which is read directly from now on. */
  release(): void {
    this.#conn.unread(this.rest);
    this.rest = nothing;
  }

  #readWithin<Late extends string>(
    ms: number,
    late: Late,
    interruption?: HeadWait['interruption'],
  ): Promise<Buffer | null | Late | 'interrupted'> {
    const pending = (this.#pending ??= this.#conn.read());
    return new Promise((resolve, reject) => {
      let waiting = true;
      const undoing: (() => void)[] = [];
      const settle = () => {
        waiting = false;
        clearTimeout(timer);
        for (const undo of undoing) undo();
      };
      const giveUp = (reason: Late | 'interrupted') => {
        if (!waiting) return;
        settle();
        resolve(reason);
      };
      const timer = setTimeout(giveUp, ms, late);
      pending.then(
        (bytes) => {
          if (!waiting) return;
          settle();
          this.#pending = undefined;
          resolve(bytes);
        },
        (error: unknown) => {
          settle();
          // The same for everybody who has waited; the connection keeps its error.
          reject(ProxyError.from(error));
        },
      );
      if (interruption !== undefined) undoing.push(interruption(() => giveUp('interrupted')));
    });
  }

  #parse<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof Http1Error)) throw error;
      if (this.#side === 'response') throw this.#broken(error.message, error);
      const { status } = error;
      const code =
        status === 414 || status === 431
          ? 'requestTooLarge'
          : status === 505
            ? 'unsupported'
            : 'malformedRequest';
      throw new ProxyError(code, 'client', error.message, { cause: error, status });
    }
  }

  #broken(message: string, cause?: Error): ProxyError {
    return this.#side === 'request'
      ? new ProxyError('malformedRequest', 'client', message, { status: 400, cause })
      : new ProxyError('badUpstreamReply', 'upstream', message, { status: 502, cause });
  }

  #slow(): ProxyError {
    return this.#side === 'request'
      ? new ProxyError('handshakeTimeout', 'client', 'the head of the request took too long', { status: 408 })
      : new ProxyError('upstreamTimeout', 'upstream', 'the head of the answer took too long', {
          status: 504,
        });
  }
}
