import { performance } from 'node:perf_hooks';
import { canonicalTarget, formatAddress } from './address.ts';
import type { Address, Conn, End } from './conn.ts';
import { associate } from './association.ts';
import type { Datagrams } from './datagrams.ts';
import { Decisions } from './decisions.ts';
import { ProxyError } from './errors.ts';
import type { EventSink, Served, SessionEvent } from './events.ts';
import type { RateLimiter } from './limits.ts';
import { resolveName, systemAddress } from './names.ts';
import type { PolicyOf } from './policies.ts';
import { asMetered, meterConn, noBuckets } from './metered-conn.ts';
import type { Shaped } from './metered-conn.ts';
import { overTls, packets, withDeadline } from './reach.ts';
import { relay, relayDatagrams } from './relay.ts';
import type { Traffic } from './relay.ts';
import type { Chain, Decider, Forwarded, Forwarder, Question, Route, RouteRequest } from './route.ts';
import type { Credentials, ForwardFacts, RelayOptions, RequestFacts, Session } from './session.ts';
import type { TrafficLimits } from './traffic-limits.ts';
import { withoutRules } from './way.ts';
import type { Context, Way } from './way.ts';

/** What the sessions of a service have in common. Whatever is absent is not asked. */
export interface SessionSettings {
  readonly service: string;
  readonly publish: EventSink;
  readonly auth?: PolicyOf<'auth'>;
  /** True for a client's host that need not say who it is. */
  readonly skipsAuth?: (host: string) => boolean;
  readonly bypass?: PolicyOf<'bypass'>;
  /** What the service's bypass rules that speak of addresses say of one that a name turned out to have; undefined: nothing. */
  readonly refusesAddress?: (address: Address, network: string) => string | undefined;
  readonly hosts?: PolicyOf<'hosts'>;
  readonly resolver?: PolicyOf<'resolver'>;
  readonly rate?: RateLimiter;
  readonly limits?: TrafficLimits;
  /** What selector `hash` counts by for clients that nobody knows by name. Default: the client's address. */
  readonly hashBy?: 'source' | 'host';
  readonly chain?: Chain;
  readonly forwarder?: Forwarder;
  /** The way to targets where no chain leads. */
  readonly direct: Way;
  /** Further attempts to reach a target, each along a route of its own. */
  readonly retries: number;
  /** From the first question about a target to the connection. */
  readonly dialTimeoutMs: number;
  /** Ends a relay in which nothing moves for so long; 0: never. */
  readonly idleMs: number;
  /** Serves a session with another protocol of the program's list. */
  readonly serve: (end: End, session: Session, protocol: string) => Promise<void>;
}

/** What an attempt to reach a target tells as it goes. */
interface Attempt {
  /** Where it goes. */
  to(address: Address): void;
  /** The nodes that it leads through. */
  along(path: readonly string[]): void;
  /** Nothing is dialled: a connection that is open will do. */
  reuses(): void;
}

// Unique in this process, and with 30 random bits in front unlikely to meet its like in another's log.
const prefix = Math.floor(Math.random() * 2 ** 30)
  .toString(36)
  .padStart(6, '0');
let sessions = 0;

/** The name of the next session. */
export function nextSessionId(): string {
  return `${prefix}${(sessions++).toString(36).padStart(4, '0')}`;
}

/** A session as its service sees it. Protocols are given it as {@link Session}. It ends with the client's connection. */
export class LiveSession implements Session {
  readonly id: string;
  readonly service: string;
  client: Address;
  readonly network: 'tcp' | 'udp';
  readonly traffic: Traffic = { received: 0, sent: 0 };
  readonly decisions: Decisions;
  readonly started = performance.now();
  user = '';
  stopping = false;
  /** True where waiting for something new is over, too. */
  #stopped = false;
  /** The last target, and how it was reached. */
  target: Address | undefined;
  path: readonly string[] = [];
  #end: End;
  /** What the client's bytes or datagrams draw on. */
  #shaped: Shaped = { buckets: noBuckets };
  readonly #settings: SessionSettings;
  #interrupt: (() => void) | undefined;
  #limited: Promise<void> | undefined;

  constructor(end: End, id: string, settings: SessionSettings) {
    this.id = id;
    this.service = settings.service;
    this.client = end.remote;
    this.network = end.kind === 'stream' ? 'tcp' : 'udp';
    this.#end = end;
    this.#settings = settings;
    this.decisions = new Decisions({ session: id, publish: (decided) => this.publish(decided) });
    void end.closed.then(() => this.decisions.leave());
  }

  /** The layers above the first connection are there: this is what the client's bytes come from. */
  begin(end: End): void {
    this.client = end.remote;
    if (end.kind === 'stream') this.#end = this.#shaped = meterConn(end, { traffic: this.traffic });
    else this.#end = end;
  }

  /** The client's end, as protocols see it. */
  get end(): End {
    return this.#end;
  }

  get idleMs(): number {
    return this.#settings.idleMs;
  }

  get local(): Address {
    return this.#end.local;
  }

  get authenticates(): boolean {
    const { auth, skipsAuth } = this.#settings;
    return auth !== undefined && skipsAuth?.(this.client.host) !== true;
  }

  get forwards(): boolean {
    return this.#settings.forwarder !== undefined;
  }

  publish(event: SessionEvent): void {
    this.#settings.publish(this, event);
  }

  onStopping(interrupt: () => void): () => void {
    if (this.#stopped) interrupt();
    else this.#interrupt = interrupt;
    return () => {
      this.#interrupt = undefined;
    };
  }

  /** Nothing new should begin. */
  stop(): void {
    this.stopping = true;
    this.#stopped = true;
    this.#interrupt?.();
  }

  /** The request that comes next, if one does, should be the last. */
  retire(): void {
    this.stopping = true;
  }

  async authenticate({ username, password }: Credentials): Promise<void> {
    const { auth } = this.#settings;
    if (auth === undefined || !this.authenticates) return;
    this.user = '';
    const { tls, remote } = this.#end;
    const ask = {
      username,
      password,
      client: formatAddress(remote),
      service: this.service,
      certificate: tls?.verified
        ? { commonName: tls.commonName, names: tls.subjectAltNames, fingerprint: tls.fingerprint }
        : undefined,
    };
    const { ok, user } = await this.decide({
      module: 'auth',
      about: username,
      ask: (call) => auth.authenticate(ask, call),
      tell: (answer) => ({ outcome: answer.ok ? 'yes' : 'no', answer: answer.ok ? answer.user : '' }),
    });
    if (!ok)
      throw new ProxyError('wrongCredentials', 'client', 'the credentials were not accepted', {
        status: 407,
      });
    this.user = user;
  }

  async check(target: Address, facts: RequestFacts = {}): Promise<void> {
    await this.#check(canonicalTarget(target), facts);
  }

  open(target: Address, facts: RequestFacts = {}): Promise<Conn> {
    return this.#open('tcp', target, facts, ({ way }, to, context) => way.dial(to, context));
  }

  openDatagrams(target: Address): Promise<Datagrams> {
    return this.#open('udp', target, { network: 'udp' }, packets);
  }

  async #open<T>(
    network: 'tcp' | 'udp',
    target: Address,
    facts: RequestFacts,
    dial: (route: Route, to: Address, context: Context) => Promise<T>,
  ): Promise<T> {
    const asked = canonicalTarget(target);
    await this.#check(asked, facts);
    return this.#attempts(network, asked, async (context, attempt) => {
      attempt.to(asked);
      const to = await this.#resolve(asked, context);
      const route = await this.#route(
        { network, target: to, host: asked, ...this.#who(facts, asked) },
        context,
      );
      attempt.along(route.path);
      return dial(route, to, context);
    });
  }

  async forward(facts: ForwardFacts = {}): Promise<Forwarded> {
    const { forwarder } = this.#settings;
    if (forwarder === undefined) throw new ProxyError('noRoute', 'self', `${this.service} has no forwarder`);
    const network = facts.network ?? this.network;
    const asked = facts.target === undefined ? undefined : canonicalTarget(facts.target);
    await this.#check(asked, { ...facts, network });
    return this.#attempts(network, asked, async (context, attempt) => {
      const request = { network, target: asked, host: asked, ...this.#who(facts, asked) };
      const node = await forwarder.select(request, context, this.#until(context.signal));
      const { address } = node;
      const kept = facts.reuse?.(node);
      if (kept !== undefined) {
        attempt.reuses();
        return { end: kept, node };
      }
      attempt.to(address);
      // A node stands in the file; rules about targets do not speak of it.
      const free = withoutRules(context);
      try {
        const to = await this.#resolve(address, free);
        // What was seen of the request has chosen the node; the way to it is chosen by the node's address.
        const along = { network, target: to, host: address, ...this.#who({}) };
        const route = await this.#route(along, free);
        attempt.along([...route.path, node.name]);
        if (network === 'udp') {
          const end = await packets(route, to, free);
          node.succeeded();
          return { end, node };
        }
        const conn = await route.way.dial(to, free);
        // Whoever speaks TLS already is passed on as they speak.
        const plain = node.tls === undefined || facts.seen?.protocol === 'tls';
        const end = plain ? conn : await overTls(conn, address, node.tls!, free);
        node.succeeded();
        return { end, node };
      } catch (error) {
        const { aborted, reason } = context.signal;
        // That a client left, or that somebody could not be asked, says nothing of the node.
        if (aborted ? reason === 'deadline' : ProxyError.from(error).at === 'upstream')
          node.failed(ProxyError.from(error));
        throw error;
      }
    });
  }

  async associate(): Promise<Datagrams> {
    this.#countRequest();
    let isDirect = false;
    const under = await this.#attempts('udp', undefined, async (context, attempt) => {
      const route = await this.#route(
        { network: 'udp', target: undefined, host: undefined, ...this.#who({}) },
        context,
      );
      attempt.along(route.path);
      isDirect = route.path.length === 0;
      return packets(route, undefined, context);
    });
    const refuses = (address: Address) => this.#refuses(address, 'udp');
    return associate(under, {
      check: (target) => this.#ask(target, { network: 'udp' }),
      refuses,
      resolve: async (target) => {
        const to = await this.#resolve(target, { refuses });
        // Answers bear an address; which name it belongs to is known only to who looked it up.
        return isDirect ? systemAddress(to, refuses) : to;
      },
    });
  }

  async relay(client: End, upstream: End, options: RelayOptions = {}): Promise<ProxyError | undefined> {
    const { traffic } = this;
    const idleMs = options.idleMs ?? this.#settings.idleMs;
    if (client.kind === 'stream' && upstream.kind === 'stream')
      return relay(client, upstream, { traffic, idleMs });
    if (client.kind === 'datagrams' && upstream.kind === 'datagrams') {
      const isCounted = asMetered(client.carrier)?.traffic === traffic;
      if (!isCounted) {
        await relayDatagrams(client, upstream, { traffic, ttlMs: idleMs, shaped: this.#shaped });
        return undefined;
      }
      // They come in a connection that counts its bytes and pays for them; only what was dropped it does not know.
      const dropped: Traffic = { received: 0, sent: 0 };
      await relayDatagrams(client, upstream, { traffic: dropped, ttlMs: idleMs });
      if (dropped.dropped !== undefined) traffic.dropped = (traffic.dropped ?? 0) + dropped.dropped;
      return undefined;
    }
    throw new ProxyError('internal', 'self', 'bytes cannot be relayed to datagrams');
  }

  serve(end: End, protocol: string): Promise<void> {
    return this.#settings.serve(end, this, protocol);
  }

  decide<A>(question: Question<A>): Promise<A> {
    return this.decisions.decide(question);
  }

  note(fact: Omit<Served, 'kind'>): void {
    this.publish({ kind: 'served', ...fact });
  }

  /** Whether the client may, and may now. */
  async #check(target: Address | undefined, facts: RequestFacts): Promise<void> {
    this.#countRequest();
    if (target !== undefined) await this.#ask(target, facts);
  }

  #countRequest(): void {
    if (this.#settings.rate?.allow(this.client.host) === false) {
      throw new ProxyError('tooManyRequests', 'client', 'too many requests from this address', {
        status: 429,
      });
    }
  }

  async #ask(target: Address, { network = 'tcp', seen }: RequestFacts): Promise<void> {
    const { bypass } = this.#settings;
    if (bypass === undefined) return;
    const about = formatAddress(target);
    const ask = {
      target: about,
      user: this.user,
      network,
      host: '',
      path: seen === undefined ? '' : `${seen.path}${seen.query ?? ''}`,
      service: this.service,
    };
    const passedBy = await this.decide({
      module: 'bypass',
      about,
      ask: (call) => bypass.bypass(ask, call),
      tell: (no) => ({ outcome: no ? 'no' : 'yes', answer: '' }),
    });
    if (passedBy) throw forbidden(about, 'a rule says no to it');
  }

  /** Whether an address that a name turned out to have may be dialled. */
  #refuses(address: Address, network: string): ProxyError | undefined {
    const reason = this.#settings.refusesAddress?.(address, network);
    return reason === undefined ? undefined : forbidden(formatAddress(address), reason);
  }

  /** What a name stands for, where hosts or a resolver say so. */
  async #resolve(
    target: Address,
    { signal, refuses }: Pick<Partial<Context>, 'signal' | 'refuses'>,
  ): Promise<Address> {
    const { hosts, resolver } = this.#settings;
    if (hosts === undefined && resolver === undefined) return target;
    const decider = signal === undefined ? this : this.#until(signal);
    const to = await resolveName(target, { hosts, resolver, user: this.user, decider });
    const refused = to.host === target.host ? undefined : refuses?.(to);
    if (refused !== undefined) throw refused;
    return to;
  }

  async #route(request: RouteRequest, context: Context): Promise<Route> {
    const { chain, direct } = this.#settings;
    if (chain === undefined) return { way: direct, path: [] };
    return chain.route(request, context, this.#until(context.signal));
  }

  /** Asks no longer than somebody waits for the connection that it is asked for. */
  #until(signal: AbortSignal): Decider {
    return { decide: (question) => this.decide({ signal, ...question }) };
  }

  #who({ seen }: RequestFacts, asked?: Address) {
    const byHost = this.#settings.hashBy === 'host' && asked !== undefined;
    return {
      ...(byHost && { hash: formatAddress(asked) }),
      client: this.client,
      user: this.user,
      service: this.service,
      ...(seen !== undefined && { seen }),
    };
  }

  /** Dials, again where that may help, and tells what became of it. */
  async #attempts<T>(
    network: 'tcp' | 'udp',
    asked: Address | undefined,
    dial: (context: Context, attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    const { retries, dialTimeoutMs, limits } = this.#settings;
    let target: Address | undefined;
    let path: readonly string[] = [];
    let isReused = false;
    const attempt: Attempt = {
      to: (address) => {
        const isNew = target === undefined || formatAddress(target) !== formatAddress(address);
        this.target = target = address;
        if (isNew) this.publish({ kind: 'dialing', network, target: address });
      },
      along: (nodes) => {
        this.path = path = nodes;
      },
      reuses: () => {
        isReused = true;
      },
    };
    for (let failures = 0; ; failures++) {
      const started = performance.now();
      const dialed = (error: ProxyError | undefined, ends?: Pick<End, 'local' | 'remote'>) => {
        const to = target ?? { host: '', port: 0 };
        const ms = performance.now() - started;
        const { local, remote } = ends ?? {};
        this.publish({ kind: 'dialed', network, target: to, path, local, remote, ms, error });
      };
      path = [];
      let made: T;
      try {
        made = await this.decisions.during((gone) =>
          withDeadline(
            gone,
            dialTimeoutMs,
            () => target,
            (signal) => dial(this.#context(signal, asked, network), attempt),
          ),
        );
      } catch (cause) {
        const error = ProxyError.from(cause);
        dialed(error);
        if (!error.retryable || failures >= retries) throw error;
        continue;
      }
      if (isReused) return made;
      const end = endOf(made);
      dialed(undefined, end);
      if (limits === undefined) return made;
      try {
        await (this.#limited ??= this.#limit(limits, target));
        return made;
      } catch (error) {
        // Asked again for the next request. Nobody else knows of the connection.
        this.#limited = undefined;
        if (end.kind === 'stream') end.reset();
        else end.close();
        throw error;
      }
    }
  }

  /** Asks how fast the client may be, and holds it to that from now on. */
  async #limit(limits: TrafficLimits, target: Address | undefined): Promise<void> {
    const { client, network, user } = this;
    const attached = await this.decide({
      module: 'limiter',
      about: user === '' ? formatAddress(client) : user,
      ask: (call) => limits.attach({ client, network, user, target }, this.#shaped, call),
      tell: () => ({ outcome: 'yes', answer: '' }),
    });
    void this.#end.closed.then(() => {
      attached.detach();
    });
  }

  #context(signal: AbortSignal, target: Address | undefined, network: string): Context {
    return {
      signal,
      session: this.id,
      service: this.service,
      client: this.client,
      user: this.user,
      ...(target !== undefined && { target }),
      ...(this.#settings.refusesAddress !== undefined && {
        refuses: (address: Address) => this.#refuses(address, network),
      }),
    };
  }
}

/** What was opened, by itself or beside the node that it leads to. A connection has an `end` as well, which is a verb. */
function endOf(made: unknown): End {
  const { end } = made as { readonly end: unknown };
  return (typeof end === 'object' ? end : made) as End;
}

function forbidden(target: string, why: string): ProxyError {
  return new ProxyError('forbidden', 'client', `${target} is not allowed: ${why}`, { status: 403 });
}
