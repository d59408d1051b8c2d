import { performance } from 'node:perf_hooks';
import { formatAddress } from './address.ts';
import type { Address, End, Listening } from './conn.ts';
import { ProxyError } from './errors.ts';
import { LiveSession } from './live-session.ts';
import { nextSessionId } from './session-id.ts';
import type { SessionSettings } from './session-settings.ts';
import type { ConnLimiter } from './limits.ts';
import type { LoopGuard } from './loop-guard.ts';
import type { PolicyOf } from './policies.ts';
import type { Handler, HandlerOptions } from './protocol.ts';
import type { Way } from './way.ts';

/** A service that is served. */
export interface RunningService {
  /** Where it listens; a port 0 has become the one that the system chose. */
  readonly address: Address;
  /** Connections that are open now. */
  readonly open: number;
  /** Stops accepting; resolves when the last connection has ended. Connections that wait for a next request are ended. */
  stop(): Promise<void>;
  /**
   * The same, except that connections which wait for a next request are served one more: for a service whose successor
   * listens already, so that nobody is turned away.
   */
  retire(): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
}

/** What a service is made of. */
export interface ServiceParts extends SessionSettings {
  readonly address: Address;
  /** The lowest layer of the listener: what admission is asked about is what comes out of it. */
  readonly base: Way;
  /** The layers above it. */
  readonly layers: (under: Way) => Way;
  readonly handler: Handler;
  readonly options: HandlerOptions;
  readonly admission?: PolicyOf<'admission'>;
  readonly connections?: ConnLimiter;
  readonly loops?: LoopGuard;
  /** True for peers that speak for others: they are not asked about themselves, but those whose address they give. */
  readonly trusts?: (host: string) => boolean;
  /** Told what goes wrong outside any session. Returns at once and never throws. */
  readonly problem: (error: ProxyError) => void;
}

/**
 * Binds, and serves every connection with the handler, each as a session of its own. Who may connect is asked as soon as
 * the lowest layer has accepted, beside the accept loop, before any byte is read or written. One connection's error never
 * reaches another. Rejects with ProxyError when it cannot bind, nothing being left open.
 */
export async function startService(parts: ServiceParts): Promise<RunningService> {
  const service = new Service(parts);
  const entry = parts.layers(service.gate(parts.base));
  if (entry.listen === undefined)
    throw new ProxyError('unsupported', 'self', `${parts.service}: its listener cannot be listened on`);
  const listening = await entry.listen(parts.address, (end) => service.accept(end), parts.problem);
  return service.running(listening);
}

class Service {
  readonly #parts: ServiceParts;
  /** Ends that are open, and how their sessions end. */
  readonly #live = new Map<LiveSession, { readonly end: End; readonly ended: Promise<void> }>();
  /** Sessions whose lowest connection is here and whose upper layers are not yet. */
  readonly #arriving = new Map<End, LiveSession>();
  #stopped: Promise<void> | undefined;
  #stopping = false;

  constructor(parts: ServiceParts) {
    this.#parts = parts;
  }

  /** The way below the layers, which lets through only what may connect. */
  gate(base: Way): Way {
    const { listen } = base;
    return {
      ...base,
      ...(listen !== undefined && {
        listen: (at, accept, problem) =>
          listen.call(
            base,
            at,
            (end) => {
              const session = this.#enter(end);
              if (session === undefined) return;
              // What has to be asked is asked in its own time; the next connection does not wait for it.
              const admitted = this.#admit(end, session);
              if (admitted === undefined) accept(end);
              else
                void admitted.then((yes) => {
                  if (yes) accept(end);
                });
            },
            problem,
          ),
      }),
    };
  }

  /** A connection with all its layers: from now on it is served. */
  accept(end: End): void {
    const below = lowest(end);
    let session = this.#arriving.get(below);
    this.#arriving.delete(below);
    // Of a connection that carries several, each has a session.
    if (session === undefined) {
      session = this.#session(end);
      session.publish({ kind: 'opened' });
    }
    session.begin(end);
    this.#live.set(session, { end, ended: this.#serve(session, end) });
    if (this.#stopping) session.stop();
    else if (this.#stopped !== undefined) session.retire();
  }

  running(listening: Listening): RunningService {
    const live = this.#live;
    const leave = this.#parts.loops?.listens(listening.address.port);
    const arriving = this.#arriving;
    const allEnded = async () => {
      // Who is being asked about, or shakes hands, may still come to be served.
      while (live.size + arriving.size > 0) {
        const ends = [...live.values()].map(({ ended }) => ended);
        await Promise.all([...ends, ...[...arriving.keys()].map(({ closed }) => closed)]);
      }
    };
    const retire = () =>
      (this.#stopped ??= (async () => {
        const closed = listening.close();
        leave?.();
        for (const session of live.keys()) session.retire();
        await closed;
        await allEnded();
      })());
    const stop = () => {
      this.#stopping = true;
      const stopped = retire();
      for (const session of live.keys()) session.stop();
      return stopped;
    };
    return {
      address: listening.address,
      get open() {
        return live.size;
      },
      stop,
      retire,
      async close() {
        const closed = stop();
        for (const { end } of live.values()) cut(end);
        for (const end of arriving.keys()) cut(end);
        await closed;
      },
    };
  }

  #session(end: End): LiveSession {
    return new LiveSession(end, nextSessionId(), this.#parts);
  }

  /** Counts the connection; undefined where it is one too many, or has come back to us. */
  #enter(end: End): LiveSession | undefined {
    const { connections, problem, service } = this.#parts;
    const { host } = end.remote;
    const leave = connections?.enter(host);
    if (connections !== undefined && leave === undefined) {
      problem(new ProxyError('tooManyRequests', 'client', `${service}: too many connections from ${host}`));
      cut(end);
      return undefined;
    }
    const session = this.#session(end);
    this.#arriving.set(end, session);
    session.publish({ kind: 'opened' });
    void end.closed.then(() => {
      leave?.();
      if (this.#arriving.delete(end)) this.#closed(session, undefined);
    });
    return session;
  }

  /** Undefined: it may go on at once. */
  #admit(end: End, session: LiveSession): Promise<boolean> | undefined {
    const { admission, loops, trusts } = this.#parts;
    const looks = loops?.expects === true;
    if (!looks && (admission === undefined || trusts?.(end.remote.host) === true)) return undefined;
    return (async () => {
      try {
        if (looks) await loops?.check(end, session);
        if (trusts?.(end.remote.host) !== true) await this.#ask(session, end);
        if (this.#arriving.has(end)) return true;
        // It was told that the session is over before the guard had looked.
        loops?.ended(session);
      } catch (cause) {
        // Who went away while somebody was asked is gone, and that has been told.
        if (this.#arriving.delete(end)) this.#closed(session, ProxyError.from(cause));
        cut(end);
      }
      return false;
    })();
  }

  async #ask(session: LiveSession, end: End): Promise<void> {
    const { admission, service } = this.#parts;
    if (admission === undefined) return;
    const client = formatAddress(end.remote);
    const network = end.kind === 'stream' ? 'tcp' : 'udp';
    const admitted = await session.decide({
      module: 'admission',
      about: client,
      ask: (call) => admission.admit({ client, service, network }, call),
      tell: (yes) => ({ outcome: yes ? 'yes' : 'no', answer: '' }),
    });
    if (!admitted) throw new ProxyError('forbidden', 'client', `${client} may not connect`, { status: 403 });
  }

  async #serve(session: LiveSession, end: End): Promise<void> {
    const { handler, options } = this.#parts;
    let error: ProxyError | undefined;
    try {
      // Whoever speaks for others is believed, and those are asked about.
      if (end.via !== undefined) await this.#ask(session, end);
      await handler.handle(session.end, session, options);
    } catch (cause) {
      error = ProxyError.from(cause);
      cut(end);
    }
    await end.closed;
    this.#live.delete(session);
    this.#closed(session, error);
  }

  #closed(session: LiveSession, error: ProxyError | undefined): void {
    this.#parts.loops?.ended(session);
    const { network, local, traffic, user, target, path, decisions } = session;
    const ms = performance.now() - session.started;
    session.publish({
      kind: 'closed',
      network,
      local,
      ms,
      traffic,
      user,
      target,
      path,
      decisions: decisions.made,
      error,
    });
  }
}

/** The connection at the bottom of a stack. */
function lowest(end: End): End {
  let below = end;
  while (below.kind === 'stream' && below.under !== undefined) below = below.under;
  return below;
}

function cut(end: End): void {
  if (end.kind === 'stream') end.reset();
  else end.close();
}
