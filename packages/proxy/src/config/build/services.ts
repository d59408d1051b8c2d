import type { Logger } from 'pino';
import type { EventSink } from '../../core/events.ts';
import { createTrafficLimits } from '../../core/traffic-limits.ts';
import type { LoopGuard } from '../../core/loop-guard.ts';
import type { Meter } from '../../core/meter.ts';
import { formatAddress } from '../../core/address.ts';
import { ProxyError } from '../../core/errors.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Chain, Forwarder } from '../../core/route.ts';
import type { ServiceParts } from '../../core/service.ts';
import type { ServerTls } from '../../core/tls.ts';
import type { LayerOptions, Transport, Way } from '../../core/way.ts';
import { logSessions } from '../../log/session-log.ts';
import { createIpSet } from '../../core/match/ip-set.ts';
import { ipOfPeer } from '../../core/match/ip.ts';
import { parseNetwork, parseIp, networkOfOne } from '../../core/match/ip.ts';
import { modules } from '../../modules.ts';
import { listAuther } from '../../policies/auther/index.ts';
import { listIngress } from '../../policies/ingress/index.ts';
import type { Config } from '../merge.ts';
import { protocolOf, readsHeaders } from '../sections/blocks.ts';
import type { ServiceConfig } from '../sections/services.ts';
import type { ServerTlsConfig } from '../sections/tls.ts';
import { undecided } from './direct.ts';
import { namesOf } from './nodes.ts';
import type { Policies } from './policies.ts';
import type { Sockets } from './sockets.ts';

/** GOST's default, in milliseconds. */
const defaultDialTimeoutMs = 15_000;

/** What services are made with. */
export interface ServiceWorld {
  readonly config: Config;
  readonly policies: Policies;
  readonly direct: Way;
  readonly chains: ReadonlyMap<string, Chain>;
  readonly forwarders: ReadonlyMap<string, Forwarder>;
  readonly loops: LoopGuard;
  readonly meter: Meter;
  readonly log: Logger;
  readonly sockets: Sockets;
  /** What the handler of the service in the configuration before keeps. */
  readonly before: unknown;
  /** The certificate of a block, or the one that is found or made where it names none. */
  serverTls(tls: ServerTlsConfig | undefined): ServerTls;
  /** Further readers of what becomes known of this service's sessions. */
  readers(service: ServiceConfig & { readonly name: string }): readonly EventSink[];
}

/** Turns one service of the file into what the core starts. Throws ProxyError. */
export function servicePartsOf(
  service: ServiceConfig & { readonly name: string },
  world: ServiceWorld,
): ServiceParts {
  const { policies, direct, chains, log } = world;
  const { name, handler, listener, metadata } = service;
  const protocol = protocolOf(handler?.type ?? 'auto');
  const stack = modules.stacks[(listener?.type ?? 'tcp') as keyof typeof modules.stacks];
  const labels = metadata?.labels ?? [];
  const serviceLog = log.child({
    service: name,
    ...(labels.length > 0 && { labels: Object.fromEntries(labels) }),
  });
  const needsTls = stack.some(({ type }) => type === 'tls');
  // As in GOST 0 means the default.
  const dialTimeoutMs = metadata?.dialTimeoutMs || defaultDialTimeoutMs;
  const layerOptions: LayerOptions = {
    metadata: trustingAll(listener, world.config) ?? listener?.metadata ?? {},
    ...(needsTls && { serverTls: world.serverTls(listener?.tls) }),
    dialTimeoutMs,
    inform: (text) => {
      serviceLog.info(text);
    },
  };
  const problem = (error: ProxyError) => {
    serviceLog.warn({ code: error.code, at: error.at }, error.message);
  };
  const limiter = (wanted: string | undefined) => policies.group('limiter', namesOf(wanted, undefined));
  const serviceLimiter = limiter(service.limiter);
  const handlerLimiter = limiter(handler?.limiter);
  const bypasses = namesOf(service.bypass, service.bypasses);
  const refreshMs =
    metadata?.limiterRefreshMs ?? (handler?.metadata?.['limiterRefreshMs'] as number | undefined);
  const limits =
    serviceLimiter === undefined && handlerLimiter === undefined
      ? undefined
      : createTrafficLimits({
          service: name,
          meter: world.meter,
          problem,
          ...(serviceLimiter !== undefined && { serviceLimiter }),
          ...(handlerLimiter !== undefined && { handlerLimiter }),
          ...(refusesUnlimited(service, world.config) && { onUnanswered: 'refuse' as const }),
          ...(metadata?.limiterScope !== undefined && { scope: metadata.limiterScope }),
          ...(refreshMs !== undefined && { refreshMs: Math.max(1000, refreshMs) }),
        });
  const readers = [logSessions(serviceLog), ...world.readers(service)];
  const publish: EventSink = (session, event) => {
    for (const read of readers) read(session, event);
  };
  const parts: ServiceParts = {
    service: name,
    address: service.addr,
    base:
      stack[0].overChain === true
        ? stack[0].wrap(farWay(listener?.chain, name, world), layerOptions)
        : world.sockets.over(
            { service: name, type: stack[0].type, settings: ownSettings(stack[0], layerOptions) },
            stack[0].wrap(undefined, layerOptions),
          ),
    sockets: (request, purpose) => {
      const { address, network, peerTtlMs: ttlMs } = request;
      const [layer] = modules.stacks[network];
      const way = layer.wrap(undefined, { metadata: ttlMs === undefined ? {} : { ttlMs } });
      if (purpose === 'bind') return way;
      // Two entrypoints of one service whose ports the system chooses are told apart by their hosts alone.
      const service = `${name} ${formatAddress(address)}`;
      return world.sockets.over({ service, type: layer.type, settings: {} }, way);
    },
    layers: (under) => stack.slice(1).reduce<Way>((way, layer) => layer.wrap(way, layerOptions), under),
    handler: protocol.handler!,
    options: {
      metadata: handler?.metadata ?? {},
      ...(protocol.type === 'socks5' || protocol.type === 'auto'
        ? { tls: world.serverTls(handler?.tls) }
        : {}),
      modules: {
        ingress: once((wanted) => policies.group('ingress', [wanted])),
        sd: once((wanted) => policies.group('sd', [wanted])),
        router: once((wanted) => policies.group('router', [wanted])),
        ingressOf: (rules) => listIngress({ rules }),
      },
      compat: { gostTarget: world.config.compat.has('gostTarget') },
    },
    publish,
    problem,
    inform: layerOptions.inform!,
    before: world.before,
    direct,
    loops: world.loops,
    retries: handler?.retries ?? 0,
    dialTimeoutMs,
    idleMs: metadata?.idleTimeoutMs ?? 0,
    ...optional('auth', autherOf(service, policies)),
    ...optional('skipsAuth', hostsIn(handler?.metadata?.['skipAuth'] as readonly string[] | undefined)),
    ...optional('admission', policies.group('admission', namesOf(service.admission, service.admissions))),
    ...optional('bypass', policies.group('bypass', bypasses)),
    ...optional('refusesAddress', policies.refusesAddress(bypasses)),
    ...optional('hosts', policies.group('hosts', namesOf(service.hosts, undefined))),
    ...optional('resolver', policies.group('resolver', namesOf(service.resolver, undefined))),
    ...optional('connections', policies.connLimiter(service.climiter)),
    ...optional('rate', policies.rateLimiter(service.rlimiter)),
    ...optional('trusts', hostsIn(layerOptions.metadata['trustedProxies'] as readonly string[] | undefined)),
    ...optional('hashBy', handler?.metadata?.['hash'] as 'source' | 'host' | undefined),
    ...optional('chain', handler?.chain === undefined ? undefined : chains.get(handler.chain)),
    ...optional('forwarder', world.forwarders.get(name)),
    ...optional('limits', limits),
    serve: async (end, session, wanted) => {
      const other = protocolOf(wanted).handler!;
      await other.handle(end, session, parts.options);
    },
  };
  return parts;
}

/** The way along a listener's chain, at whose far end is listened; without one that end is this machine. */
function farWay(chainName: string | undefined, service: string, { chains, direct }: ServiceWorld): Way {
  const chain = chainName === undefined ? undefined : chains.get(chainName);
  return {
    ...direct,
    async bind(request, accept, context) {
      const { network, address } = request;
      const nobody = { client: { host: '', port: 0 }, user: '', service };
      const route = await chain?.route(
        { network, target: address, host: address, ...nobody },
        context,
        undecided,
      );
      const way = route?.way ?? direct;
      if (way.bind !== undefined) return way.bind(request, accept, context);
      const last = route?.path.at(-1) ?? 'this way';
      throw new ProxyError('unsupported', 'self', `${last} cannot listen for us`);
    },
  };
}

/** The same group for the same name: it remembers what it was answered last. Names that nobody has are not kept. */
function once<T>(make: (name: string) => T | undefined): (name: string) => T | undefined {
  const made = new Map<string, T>();
  return (name) => {
    const group = made.get(name) ?? make(name);
    if (group !== undefined) made.set(name, group);
    return group;
  };
}

/** True where a limiter's plugin says that nobody comes in whose limits it could not be asked for. */
function refusesUnlimited({ limiter, handler }: ServiceConfig, { limiters }: Config): boolean {
  return limiters.some(
    ({ name, plugin }) => (name === limiter || name === handler?.limiter) && plugin?.onError === 'refuse',
  );
}

/** With `compat.headerAddresses`, a listener that reads client addresses from headers and names no proxy trusts everybody. */
function trustingAll(listener: ServiceConfig['listener'], { compat }: Config) {
  if (
    !readsHeaders(listener?.type) ||
    !compat.has('headerAddresses') ||
    listener?.metadata?.['trustedProxies'] !== undefined
  )
    return undefined;
  return { ...listener?.metadata, trustedProxies: ['0.0.0.0/0', '::/0'] };
}

/** What of a listener's block the lowest layer reads: what its socket is opened with. */
function ownSettings({ listener }: Transport, { metadata }: LayerOptions): unknown {
  return Object.keys(listener).map((key) => metadata[key]);
}

/** Who is asked at this service: the authers that it names, or else the user that stands at it; undefined: nobody is. */
function autherOf({ handler }: ServiceConfig, policies: Policies): PolicyOf<'auth'> | undefined {
  const names = namesOf(handler?.auther, handler?.authers);
  if (names.length > 0) return policies.group('auth', names);
  return handler?.auth === undefined ? undefined : listAuther([handler.auth]);
}

/** Whether a host is one of these addresses and networks; undefined: there are none. */
function hostsIn(written: readonly string[] | undefined): ((host: string) => boolean) | undefined {
  if (written === undefined || written.length === 0) return undefined;
  const set = createIpSet<true>();
  for (const text of written.flatMap((one) => one.split(',')).map((one) => one.trim())) {
    const ip = parseIp(text);
    const network = ip === undefined ? parseNetwork(text) : networkOfOne(ip);
    if (network !== undefined) set.add(network, true);
  }
  return (host) => {
    const ip = ipOfPeer(host);
    return ip !== undefined && set.mostSpecific(ip) !== undefined;
  };
}

function optional<K extends string, T>(key: K, value: T | undefined): { readonly [P in K]?: T } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: T };
}
