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
import type { Handler, HandlerOptions, ServeVisitor, ServiceHost, StartedHandler } from './protocol.ts';
import type { BindRequest, Way } from './way.ts';

/** A service that is served. */
export interface RunningService {
  /** Where it listens; a port 0 has become the one that the system chose. */
  readonly address: Address;
  /** As {@link Listening.ready}. */
  readonly ready: Promise<void> | undefined;
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
  /** What its handler keeps, for the handler of the service that takes its place. */
  readonly keeps: unknown;
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
  /** What the handler of the service before it keeps. */
  readonly before?: unknown;
  /**
   * The lowest layer of a socket that is opened beside the listener: `entrypoint` for the handler itself, which a reload hands
   * over, `bind` in a client's name. Absent: none can be opened.
   */
  readonly sockets?: (request: BindRequest, purpose: 'entrypoint' | 'bind') => Way;
  readonly admission?: PolicyOf<'admission'>;
  readonly connections?: ConnLimiter;
  readonly loops?: LoopGuard;
  /** True for peers that speak for others: they are not asked about themselves, but those whose address they give. */
  readonly trusts?: (host: string) => boolean;
  /** Told what goes wrong outside any session. Returns at once and never throws. */
  readonly problem: (error: ProxyError) => void;
  /** Told what is worth a line in the log outside any session. Returns at once and never throws. */
  readonly inform?: (text: string) => void;
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
  await service.start();
  try {
    const listening = await entry.listen(
      parts.address,
      (end) => {
        service.accept(end);
      },
      parts.problem,
    );
    return service.running(listening);
  } catch (error) {
    await service.abandon();
    throw error;
  }
}

class Service {
  readonly #parts: ServiceParts;
  readonly #settings: SessionSettings;
  /** Ends that are open, and how their sessions end. */
  readonly #live = new Map<LiveSession, { readonly end: End; readonly ended: Promise<void> }>();
  /** Sessions whose lowest connection is here and whose upper layers are not yet. */
  readonly #arriving = new Map<End, LiveSession>();
  /** Sockets beside the listener that the handler keeps. */
  readonly #entrypoints = new Set<Listening>();
  /** Present: the handler keeps something. */
  #started: StartedHandler | undefined;
  #stopped: Promise<void> | undefined;
  #stopping = false;

  constructor(parts: ServiceParts) {
    this.#parts = parts;
    this.#settings = { ...parts, bind: (request, each) => this.#listen(request, 'bind', each) };
  }

  /** What the handler keeps is made. */
  async start(): Promise<void> {
    const { handler, options, before, service, problem, inform = () => undefined } = this.#parts;
    const host: ServiceHost = {
      name: service,
      direct: this.#parts.direct,
      problem,
      inform,
      entrypoint: async (request, each) => {
        const listening = await this.#listen(request, 'entrypoint', each);
        this.#entrypoints.add(listening);
        return listening;
      },
    };
    try {
      this.#started = await handler.start?.(host, options, before);
    } catch (error) {
      await this.abandon();
      throw error;
    }
  }

  /** Nothing was served, and nothing will be. */
  async abandon(): Promise<void> {
    await this.#closeEntrypoints();
    await this.#started?.close();
  }

  async #closeEntrypoints(): Promise<void> {
    const open = [...this.#entrypoints];
    this.#entrypoints.clear();
    await Promise.all(open.map((listening) => listening.close()));
  }

  /** A socket beside the listener, whose connections are sessions like any others. */
  async #listen(
    request: BindRequest,
    purpose: 'entrypoint' | 'bind',
    each: ServeVisitor,
  ): Promise<Listening> {
    const { sockets, service, problem, loops } = this.#parts;
    const { listen } = this.gate(sockets?.(request, purpose) ?? nowhere);
    if (listen === undefined)
      throw new ProxyError('unsupported', 'self', `${service} cannot listen at further addresses`);
    const listening = await listen(
      request.address,
      (end) => {
        this.accept(end, each);
      },
      problem,
    );
    const leave = loops?.listens(listening.address.port);
    return {
      address: listening.address,
      close() {
        leave?.();
        return listening.close();
      },
    };
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
  accept(end: End, each: ServeVisitor = this.#handle): void {
    let session = this.#arrived(end);
    // Of a connection that carries several, each has a session.
    if (session === undefined) {
      session = this.#session(end);
      session.publish({ kind: 'opened' });
    }
    session.begin(end);
    this.#live.set(session, { end, ended: this.#serve(session, end, each) });
    if (this.#stopping) session.stop();
    else if (this.#stopped !== undefined) session.retire();
  }

  running(listening: Listening): RunningService {
    const live = this.#live;
    const leave = this.#parts.loops?.listens(listening.address.port);
    const arriving = this.#arriving;
    const started = this.#started;
    const allEnded = async () => {
      // Who is being asked about, or shakes hands, may still come to be served.
      while (live.size + arriving.size > 0) {
        const ends = [...live.values()].map(({ ended }) => ended);
        await Promise.all([...ends, ...[...arriving.keys()].map(({ closed }) => closed)]);
      }
    };
    const retire = () =>
      (this.#stopped ??= (async () => {
        const closed = Promise.all([listening.close(), this.#closeEntrypoints()]);
        leave?.();
        started?.retire?.();
        for (const session of live.keys()) session.retire();
        await closed;
        await allEnded();
        await started?.close();
      })());
    const stop = () => {
      this.#stopping = true;
      const stopped = retire();
      for (const session of live.keys()) session.stop();
      return stopped;
    };
    return {
      address: listening.address,
      ready: listening.ready,
      get open() {
        return live.size;
      },
      keeps: started?.keeps,
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

  /**
   * The session of the connection that has come through the gate and is not served yet: this one, or one beneath it. It need
   * not be the lowest, which for a visitor from a node is the connection with the node.
   */
  #arrived(end: End): LiveSession | undefined {
    for (let layer: End | undefined = end; layer !== undefined;) {
      const session = this.#arriving.get(layer);
      if (session !== undefined) {
        this.#arriving.delete(layer);
        return session;
      }
      layer = layer.kind === 'stream' ? layer.under : undefined;
    }
    return undefined;
  }

  #session(end: End): LiveSession {
    return new LiveSession(end, nextSessionId(), this.#settings);
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

  readonly #handle: ServeVisitor = (end, session) => {
    const { handler, options } = this.#parts;
    return this.#started?.handle(end, session) ?? handler.handle(end, session, options);
  };

  async #serve(session: LiveSession, end: End, each: ServeVisitor): Promise<void> {
    let error: ProxyError | undefined;
    try {
      // Whoever speaks for others is believed, and those are asked about.
      if (end.via !== undefined) await this.#ask(session, end);
      await each(session.end, session);
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

/** Where a service may open no further socket. */
const nowhere: Way = {
  dial: () => Promise.reject(new ProxyError('unsupported', 'self', 'nothing leads there')),
  close: () => Promise.resolve(),
};

function cut(end: End): void {
  if (end.kind === 'stream') end.reset();
  else end.close();
}
