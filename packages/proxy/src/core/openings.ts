import { performance } from 'node:perf_hooks';
import { canonicalTarget, formatAddress } from './address.ts';
import { associate } from './association.ts';
import type { Address, Conn, End, Listening } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import { ProxyError } from './errors.ts';
import type { LiveSession } from './live-session.ts';
import { resolveName, systemAddress } from './names.ts';
import { overTls, packets, withDeadline } from './reach.ts';
import type { ServeVisitor } from './protocol.ts';
import type { Decider, Forwarded, Route, RouteRequest } from './route.ts';
import type { SessionSettings } from './session-settings.ts';
import type { ForwardFacts, OwnDial, RequestFacts } from './session.ts';
import type { Attached, TrafficLimits } from './traffic-limits.ts';
import { withoutRules } from './way.ts';
import type { BindRequest, Context } from './way.ts';

/** What an attempt to reach a target tells as it goes. */
interface Attempt {
  /** Where it goes. */
  to(address: Address): void;
  /** The nodes that it leads through. */
  along(path: readonly string[]): void;
  /** Nothing is dialled: a connection that is open will do. */
  reuses(): void;
}

/** How one session reaches targets: what is asked on the way there, the route, the dial, and how fast it may then be. */
export class Openings {
  readonly #session: LiveSession;
  readonly #settings: SessionSettings;
  #limited: Promise<void> | undefined;
  /** What the client is held to now. */
  #attached: Attached | undefined;
  #isOver = false;

  constructor(session: LiveSession, settings: SessionSettings) {
    this.#session = session;
    this.#settings = settings;
  }

  async check(target: Address, facts: RequestFacts = {}): Promise<void> {
    await this.#check(canonicalTarget(target), facts);
  }

  async limit(network: string): Promise<void> {
    this.countRequest();
    const { limits } = this.#settings;
    if (limits === undefined) return;
    try {
      await (this.#limited ??= this.#limit(limits, undefined, network));
    } catch (error) {
      // Asked again for the next request.
      this.#limited = undefined;
      throw error;
    }
  }

  /** The client counts as somebody else from now on: how fast that one may be is asked with what it opens next. */
  forgetLimits(): void {
    this.#limited = undefined;
  }

  open(target: Address, facts: RequestFacts = {}): Promise<Conn> {
    return this.#open('tcp', target, facts, ({ way }, to, context) => way.dial(to, context));
  }

  openDatagrams(target: Address): Promise<Datagrams> {
    return this.#open('udp', target, { network: 'udp' }, packets);
  }

  async openBy<E extends End>(target: Address, facts: RequestFacts, dial: OwnDial<E>): Promise<E> {
    const asked = canonicalTarget(target);
    await this.#check(asked, facts);
    return this.#attempts(facts.network ?? 'tcp', asked, async (context, attempt) => {
      attempt.to(asked);
      const { end, path } = await dial(context, this.#until(context.signal));
      attempt.along(path);
      return end;
    });
  }

  async bind(request: BindRequest, each: ServeVisitor): Promise<Listening> {
    const { bind, service } = this.#settings;
    if (bind === undefined)
      throw new ProxyError('unsupported', 'self', `${service} listens nowhere in a client's name`);
    // What its visitors carry goes through the client's connection.
    await this.limit(request.network);
    return bind(request, each);
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
    if (forwarder === undefined)
      throw new ProxyError('noRoute', 'self', `${this.#session.service} has no forwarder`);
    const network = facts.network ?? this.#session.network;
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
    this.countRequest();
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

  /** Whether the client may, and may now. */
  async #check(target: Address | undefined, facts: RequestFacts): Promise<void> {
    this.countRequest();
    if (target !== undefined) await this.#ask(target, facts);
  }

  countRequest(): void {
    if (this.#settings.rate?.allow(this.#session.client.host) === false) {
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
      user: this.#session.user,
      network,
      host: '',
      path: seen === undefined ? '' : `${seen.path}${seen.query ?? ''}`,
      service: this.#session.service,
    };
    const passedBy = await this.#session.decide({
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
    const decider = signal === undefined ? this.#session : this.#until(signal);
    const to = await resolveName(target, { hosts, resolver, user: this.#session.user, decider });
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
    return { decide: (question) => this.#session.decide({ signal, ...question }) };
  }

  #who({ seen }: RequestFacts, asked?: Address) {
    const byHost = this.#settings.hashBy === 'host' && asked !== undefined;
    return {
      ...(byHost && { hash: formatAddress(asked) }),
      client: this.#session.client,
      user: this.#session.user,
      service: this.#session.service,
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
        this.#session.target = target = address;
        if (isNew) this.#session.publish({ kind: 'dialing', network, target: address });
      },
      along: (nodes) => {
        this.#session.path = path = nodes;
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
        this.#session.publish({ kind: 'dialed', network, target: to, path, local, remote, ms, error });
      };
      path = [];
      let made: T;
      try {
        made = await this.#session.decisions.during((gone) =>
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
  async #limit(
    limits: TrafficLimits,
    target: Address | undefined,
    network: string = this.#session.network,
  ): Promise<void> {
    const { client, user, isUserFarEnd: isFarEnd } = this.#session;
    // One that has been somebody else has nothing to do with the limits of that one any more.
    this.#attached?.detach();
    const attached = await this.#session.decide({
      module: 'limiter',
      about: user === '' ? formatAddress(client) : user,
      ask: (call) => limits.attach({ client, network, user, isFarEnd, target }, this.#session.shaped, call),
      tell: () => ({ outcome: 'yes', answer: '' }),
    });
    if (this.#attached === undefined) {
      void this.#session.end.closed.then(() => {
        this.#isOver = true;
        this.#attached?.detach();
      });
    }
    this.#attached = attached;
    if (this.#isOver) attached.detach();
  }

  #context(signal: AbortSignal, target: Address | undefined, network: string): Context {
    return {
      signal,
      session: this.#session.id,
      service: this.#session.service,
      client: this.#session.client,
      user: this.#session.user,
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
