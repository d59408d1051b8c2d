import { performance } from 'node:perf_hooks';
import type { CallEvent, Contract, Policy, contractByKind } from '@sallyport/plugin';
import { canonicalTarget, formatAddress } from './address.ts';
import type { Address, Conn } from './conn.ts';
import { ProxyError } from './errors.ts';
import type { EventSink, Served, SessionFacts } from './events.ts';
import { relay } from './relay.ts';
import type { Traffic } from './relay.ts';
import type { Way } from './way.ts';

/** The methods of the contract that decides who may come in. */
export type AuthMethods = (typeof contractByKind)['auth'] extends Contract<infer M> ? M : never;

/** What a client proves itself with. Both are empty when it offered nothing. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** One accepted connection: all that a protocol may ask of the proxy. */
export interface Session extends SessionFacts {
  /** Who the client proved to be by the last `authenticate` that was a yes; empty before that and where nobody is asked. */
  readonly user: string;
  /** True where `authenticate` asks somebody. */
  readonly authenticates: boolean;
  /** True once the service is being stopped: what has begun may finish, nothing new should begin. */
  readonly stopping: boolean;
  /** Bytes of tunnels and bodies so far; whoever carries them counts them. */
  readonly traffic: Traffic;
  /** Calls back once when the service is being stopped. Answers how to take that back. One at a time. */
  onStopping(interrupt: () => void): () => void;
  /**
   * Asks who this is, and remembers the answer in `user`. Resolves at once where nobody is asked. Rejects with ProxyError
   * `wrongCredentials` for a no, `couldNotAsk` where no answer was to be had, `clientClosed` when the client went away.
   */
  authenticate(credentials: Credentials): Promise<void>;
  /**
   * Makes the target canonical and connects to exactly that. The caller ends the connection. Rejects with ProxyError
   * `malformedRequest`, `nameNotFound`, `dialFailed`, `dialTimeout` or `clientClosed`.
   */
  open(target: Address): Promise<Conn>;
  /** Carries bytes both ways until both directions have ended. Resolves with what broke it, if something did. */
  relay(client: Conn, upstream: Conn): Promise<ProxyError | undefined>;
  /** Publishes what only the protocol knows. */
  note(fact: Omit<Served, 'kind'>): void;
}

/** What a service's sessions have in common. */
export interface SessionSettings {
  readonly service: string;
  /** Absent: nobody is asked. */
  readonly authenticate: Policy<AuthMethods> | undefined;
  /** The way to targets. */
  readonly way: Way;
  readonly publish: EventSink;
}

/** Makes a session of an accepted connection. It ends with the connection. */
export function createSession(conn: Conn, settings: SessionSettings): LiveSession {
  return new LiveSession(conn, settings);
}

// Unique in this process, and with 30 random bits in front unlikely to meet its like in another's log.
const prefix = Math.floor(Math.random() * 2 ** 30)
  .toString(36)
  .padStart(6, '0');
let sessions = 0;

/** A session as its service sees it. Protocols are given it as {@link Session}. */
export class LiveSession implements Session {
  readonly id: string;
  readonly service: string;
  readonly client: Address;
  readonly authenticates: boolean;
  readonly traffic: Traffic = { received: 0, sent: 0 };
  user = '';
  stopping = false;
  readonly #conn: Conn;
  readonly #settings: SessionSettings;
  #interrupt: (() => void) | undefined;
  #open: AbortController | undefined;
  #gone = false;

  constructor(conn: Conn, settings: SessionSettings) {
    this.id = `${prefix}${(sessions++).toString(36).padStart(4, '0')}`;
    this.service = settings.service;
    this.client = conn.remote;
    this.authenticates = settings.authenticate !== undefined;
    this.#conn = conn;
    this.#settings = settings;
    void conn.closed.then(() => {
      this.#gone = true;
      this.#open?.abort();
    });
  }

  onStopping(interrupt: () => void): () => void {
    if (this.stopping) interrupt();
    else this.#interrupt = interrupt;
    return () => {
      this.#interrupt = undefined;
    };
  }

  /** Nothing new should begin. */
  stop(): void {
    this.stopping = true;
    this.#interrupt?.();
  }

  async authenticate({ username, password }: Credentials): Promise<void> {
    const policy = this.#settings.authenticate;
    if (policy === undefined) return;
    const calls: CallEvent[] = [];
    const started = performance.now();
    const decided = (outcome: 'yes' | 'no' | 'couldNotAsk', error?: ProxyError) => {
      const ms = performance.now() - started;
      this.#settings.publish(this, {
        kind: 'authDecided',
        outcome,
        username,
        user: outcome === 'yes' ? this.user : '',
        calls,
        ms,
        error,
      });
      return error;
    };
    this.user = '';
    const { tls, remote } = this.#conn;
    const ask = {
      username,
      password,
      client: formatAddress(remote),
      service: this.service,
      certificate: tls?.verified
        ? { commonName: tls.commonName, names: tls.subjectAltNames, fingerprint: tls.fingerprint }
        : undefined,
    };
    const observe = (event: CallEvent) => calls.push(event);
    const answer = await this.#question(async (signal) => {
      try {
        return await policy.authenticate(ask, { signal, session: this.id, meta: {}, observe });
      } catch (error) {
        if (signal.aborted) throw this.#left();
        throw decided('couldNotAsk', ProxyError.from(error));
      }
    });
    if (answer.ok) {
      this.user = answer.user;
      decided('yes');
      return;
    }
    // A group that refuses because a member could not be asked has not said no.
    const failed = calls.findLast(({ outcome }) => outcome !== 'ok');
    const last = calls.at(-1);
    if (failed !== undefined && last?.outcome !== 'ok') {
      throw decided('couldNotAsk', new ProxyError('couldNotAsk', 'plugin', failed.error ?? failed.outcome))!;
    }
    decided('no');
    throw new ProxyError('wrongCredentials', 'client', 'the credentials were not accepted', { status: 407 });
  }

  async open(target: Address): Promise<Conn> {
    const to = canonicalTarget(target);
    const started = performance.now();
    const dialed = (error?: ProxyError) => {
      this.#settings.publish(this, {
        kind: 'dialed',
        target: to,
        ms: performance.now() - started,
        error,
      });
    };
    try {
      const conn = await this.#question((signal) =>
        this.#settings.way.dial(to, { signal, session: this.id }),
      );
      dialed();
      return conn;
    } catch (error) {
      const mapped = ProxyError.from(error);
      dialed(mapped);
      throw mapped;
    }
  }

  relay(client: Conn, upstream: Conn): Promise<ProxyError | undefined> {
    return relay(client, upstream, this.traffic);
  }

  note(fact: Omit<Served, 'kind'>): void {
    this.#settings.publish(this, { kind: 'served', ...fact });
  }

  /** Runs a question whose signal fires when the client goes; the signal exists no longer than the question. */
  async #question<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#gone) throw this.#left();
    const open = new AbortController();
    this.#open = open;
    try {
      return await run(open.signal);
    } finally {
      this.#open = undefined;
    }
  }

  #left(): ProxyError {
    return new ProxyError('clientClosed', 'client', 'the client went away before it was answered');
  }
}
