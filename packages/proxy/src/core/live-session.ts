import { performance } from 'node:perf_hooks';
import { formatAddress } from './address.ts';
import type { Address, Conn, End, Listening } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import { Decisions } from './decisions.ts';
import { ProxyError } from './errors.ts';
import type { Served, SessionEvent } from './events.ts';
import { asMetered, meterConn, noBuckets } from './metered-conn.ts';
import type { Shaped } from './metered-conn.ts';
import { Openings } from './openings.ts';
import type { ServeVisitor } from './protocol.ts';
import { relay, relayDatagrams } from './relay.ts';
import type { Traffic } from './relay.ts';
import type { Forwarded, Question } from './route.ts';
import type { SessionSettings } from './session-settings.ts';
import type { Credentials, ForwardFacts, OwnDial, RelayOptions, RequestFacts, Session } from './session.ts';
import type { BindRequest } from './way.ts';

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
  isUserFarEnd = false;
  tags: readonly string[] = [];
  stopping = false;
  /** True where waiting for something new is over, too. */
  #stopped = false;
  /** The last target, and how it was reached. */
  target: Address | undefined;
  path: readonly string[] = [];
  #end: End;
  /** What the client's bytes or datagrams draw on. */
  shaped: Shaped = { buckets: noBuckets };
  readonly #settings: SessionSettings;
  #interrupt: (() => void) | undefined;
  readonly #openings: Openings;

  constructor(end: End, id: string, settings: SessionSettings) {
    this.id = id;
    this.service = settings.service;
    this.client = end.remote;
    this.network = end.kind === 'stream' ? 'tcp' : 'udp';
    this.#end = end;
    this.#settings = settings;
    this.#openings = new Openings(this, settings);
    this.decisions = new Decisions({ session: id, publish: (decided) => this.publish(decided) });
    void end.closed.then(() => this.decisions.leave());
  }

  /** The layers above the first connection are there: this is what the client's bytes come from. */
  begin(end: End): void {
    this.client = end.remote;
    // One of several that a connection carries goes by itself.
    void end.closed.then(() => this.decisions.leave());
    if (end.kind === 'stream') this.#end = this.shaped = meterConn(end, { traffic: this.traffic });
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
    this.isUserFarEnd = false;
    this.tags = [];
    let tags: readonly string[] | undefined;
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
      ask: async (call) => {
        const answer = await auth.authenticate(ask, call);
        ({ tags } = call.meta);
        return answer;
      },
      tell: (answer) => ({ outcome: answer.ok ? 'yes' : 'no', answer: answer.ok ? answer.user : '' }),
    });
    if (!ok)
      throw new ProxyError('wrongCredentials', 'client', 'the credentials were not accepted', {
        status: 407,
      });
    this.user = user;
    this.tags = tags ?? [];
  }

  identify(user: string, isFarEnd = false): void {
    if (user === this.user && isFarEnd === this.isUserFarEnd) return;
    this.user = user;
    this.isUserFarEnd = isFarEnd;
    this.#openings.forgetLimits();
  }

  countRequest(): void {
    this.#openings.countRequest();
  }

  check(target: Address, facts?: RequestFacts): Promise<void> {
    return this.#openings.check(target, facts);
  }

  limit(network: string): Promise<void> {
    return this.#openings.limit(network);
  }

  open(target: Address, facts?: RequestFacts): Promise<Conn> {
    return this.#openings.open(target, facts);
  }

  openBy<E extends End>(target: Address, facts: RequestFacts, dial: OwnDial<E>): Promise<E> {
    return this.#openings.openBy(target, facts, dial);
  }

  openDatagrams(target: Address): Promise<Datagrams> {
    return this.#openings.openDatagrams(target);
  }

  forward(facts?: ForwardFacts): Promise<Forwarded> {
    return this.#openings.forward(facts);
  }

  associate(): Promise<Datagrams> {
    return this.#openings.associate();
  }

  bind(request: BindRequest, each: ServeVisitor): Promise<Listening> {
    return this.#openings.bind(request, each);
  }

  async relay(client: End, upstream: End, options: RelayOptions = {}): Promise<ProxyError | undefined> {
    const { traffic } = this;
    const idleMs = options.idleMs ?? this.#settings.idleMs;
    if (client.kind === 'stream' && upstream.kind === 'stream')
      return relay(client, upstream, { traffic, idleMs });
    if (client.kind === 'datagrams' && upstream.kind === 'datagrams') {
      const isCounted = asMetered(client.carrier)?.traffic === traffic;
      if (!isCounted) {
        await relayDatagrams(client, upstream, { traffic, ttlMs: idleMs, shaped: this.shaped });
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

  countDropped(): void {
    this.traffic.dropped = (this.traffic.dropped ?? 0) + 1;
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
}
