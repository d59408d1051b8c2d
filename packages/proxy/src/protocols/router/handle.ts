import { formatAddress } from '../../core/address.ts';
import { createAnnouncer } from '../../core/announcer.ts';
import type { Announcer } from '../../core/announcer.ts';
import { createBackgroundQueue } from '../../core/background-queue.ts';
import type { Address, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { HandlerOptions, ServiceHost, StartedHandler } from '../../core/protocol.ts';
import { credentialsOf } from '../../core/relay-messages/request.ts';
import { serveRelayRequest } from '../../core/relay-messages/serve-request.ts';
import type { RelayExchange } from '../../core/relay-messages/serve-request.ts';
import type { Session } from '../../core/session.ts';
import { threadWheel } from '../../core/wheel.ts';
import { formatRelayResponse, relayStatus } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { parseUuid } from '../../wire/uuid.ts';
import { nodeTtlMs, serveNode } from './entrypoint.ts';
import { Networks } from './networks.ts';
import { defaultKeptMs, defaultRenewMs, minRenewMs } from './options.ts';
import type { HandlerMetadata } from './options.ts';
import { joiningOf, nameOf } from './request.ts';
import type { Joining } from './request.ts';
import { serveSite } from './serve-site.ts';
import { Site } from './site.ts';
import type { SiteModules } from './site.ts';

/** What the connections of one service have in common. */
interface Router {
  readonly metadata: HandlerMetadata;
  readonly modules: HandlerOptions['modules'];
  readonly networks: Networks;
  /** Tells service discovery which gateways are here. */
  readonly announcer: Announcer | undefined;
}

/** One client's request, as far as it has come. */
interface Exchange extends RelayExchange {
  readonly router: Router;
  readonly session: Session;
  joining?: Joining;
}

/**
 * A router for one service: sites join its networks, and their packets go to each other, here and, through the entrypoint, to
 * sites at other nodes. `before` is the router of the configuration before: its sites and ours are in the same networks.
 */
export async function startRouter(
  host: ServiceHost,
  { metadata: written, modules }: HandlerOptions,
  before: unknown,
): Promise<StartedHandler> {
  const metadata = written as HandlerMetadata;
  const networks = before instanceof Networks ? before : new Networks();
  const { entrypoint, sd } = metadata;
  /** Nodes that send packets here. */
  const others = new Set<End>();
  networks.hold();
  let at: Address | undefined;
  try {
    if (entrypoint !== undefined) {
      const request = { network: 'udp', address: entrypoint, peerTtlMs: nodeTtlMs } as const;
      const { address } = await host.entrypoint(request, async (end) => {
        others.add(end);
        await serveNode(end, networks);
        others.delete(end);
      });
      at = { host: entrypoint.host, port: address.port };
      host.inform(`packets of other nodes come in at ${formatAddress(address)}`);
    }
  } catch (error) {
    networks.release();
    throw error;
  }
  const policy = sd === undefined ? undefined : modules?.sd(sd);
  const queue = createBackgroundQueue({
    what: `sd ${sd ?? ''}`,
    problem: (error) => {
      host.problem(error);
    },
    inform: (text) => {
      host.inform(text);
    },
  });
  let announcer: Announcer | undefined;
  if (policy !== undefined && at !== undefined) {
    if (at.host === '')
      host.inform('the entrypoint has no host, so that other nodes take it for one of their own machine');
    const address = formatAddress(at);
    const written = metadata.sdRenewIntervalMs ?? 0;
    announcer = createAnnouncer({
      ...{ sd: policy, node: networks.node, address: () => address, queue, wheel: threadWheel },
      renewMs: written < minRenewMs ? defaultRenewMs : written,
    });
  }
  const router: Router = { metadata, modules, networks, announcer };
  return {
    keeps: networks,
    handle: (end, session) => handleSite(router, end, session),
    retire() {
      // What they send next is for the configuration that comes next.
      for (const end of others) if (end.kind === 'datagrams') end.close();
    },
    async close() {
      networks.release();
      await queue.close();
    },
  };
}

async function handleSite(router: Router, client: End, session: Session): Promise<void> {
  if (client.kind !== 'stream') throw new ProxyError('unsupported', 'self', 'a router needs a connection');
  const exchange: Exchange = { router, session, conn: client };
  await serveRelayRequest(exchange, {
    timeoutMs: router.metadata.readTimeoutMs,
    serve: (request) => serve(exchange, request),
    note: (error, ms) => {
      note(exchange, error, ms);
    },
  });
}

async function serve(exchange: Exchange, request: RelayRequest): Promise<ProxyError | undefined> {
  const { session, conn, router } = exchange;
  await session.authenticate(credentialsOf(request));
  const joining = (exchange.joining = joiningOf(request));
  const { user: owner, tags } = session;
  checkTags(tags, joining);
  await checkIngress(exchange, joining);
  const { gateway, router: id } = joining;
  // Whatever it carries from now on is the gateway's, as in GOST.
  session.identify(nameOf(gateway, id));
  await session.limit(joining.network);
  const site = new Site({ gateway, owner, session, conn, ...modulesOf(router, id) });
  const network = router.networks.join(id, site);
  try {
    const connector = { type: 'tunnel', id: site.id, flags: 0, weight: 0 } as const;
    await conn.write(formatRelayResponse(relayStatus.ok, [connector]));
    exchange.status = relayStatus.ok;
    router.announcer?.here({ id: site.id, name: nameOf(gateway, id), network: 'udp' });
    return await serveSite(conn, site, network);
  } finally {
    router.networks.leave(network, site);
    router.announcer?.gone(site);
  }
}

/** Where the auther says which routers a user may join, it is exactly those. Throws ProxyError `forbidden`. */
function checkTags(tags: readonly string[], { router }: Joining): void {
  const allowed = tags.flatMap((tag) => (tag.startsWith('router=') ? [tag.slice('router='.length)] : []));
  if (allowed.length === 0 || allowed.some((id) => isSameId(id, router))) return;
  throw new ProxyError('forbidden', 'client', `the user may not join ${router}`, { status: 403 });
}

/** The rule of the gateway's name must lead to the router. Rejects with ProxyError `noRoute`. */
async function checkIngress(exchange: Exchange, { gateway, router: id }: Joining): Promise<void> {
  const { router, session } = exchange;
  const { ingress: name } = router.metadata;
  const ingress = name === undefined ? undefined : router.modules?.ingress(name);
  if (ingress === undefined) return;
  const endpoint = await session.decide({
    module: 'ingress',
    about: gateway,
    ask: (call) => ingress.getRule({ host: gateway, service: session.service }, call),
    tell: (found) =>
      found === undefined ? { outcome: 'no', answer: 'no rule' } : { outcome: 'yes', answer: found },
  });
  // A mark of privacy says nothing of a gateway, which has no visitors.
  if (endpoint !== undefined && isSameId(endpoint.replace(/^\$/, ''), id)) return;
  exchange.refusal = relayStatus.hostUnreachable;
  throw new ProxyError('noRoute', 'client', `no rule says that ${gateway} belongs to the router ${id}`);
}

function isSameId(written: string, id: string): boolean {
  const bytes = parseUuid(written);
  return bytes !== undefined && parseUuid(id)?.equals(bytes) === true;
}

/** Who is asked in the name of the sites of one network: a router that is called as it first, as in GOST. */
function modulesOf({ metadata, modules }: Router, id: string): SiteModules {
  const { router, sd } = metadata;
  const routers = [modules?.router(id), router === undefined ? undefined : modules?.router(router)];
  return {
    routers: routers.filter((policy) => policy !== undefined),
    sd: sd === undefined ? undefined : modules?.sd(sd),
    routeKeptMs: metadata.routerCacheExpirationMs || defaultKeptMs,
    sdKeptMs: metadata.sdCacheExpirationMs || defaultKeptMs,
  };
}

function note({ session, joining, status }: Exchange, error: ProxyError | undefined, ms: number): void {
  // A peer that leaves before it has asked for anything is no fact worth telling.
  if (joining === undefined && error?.code === 'clientClosed') return;
  session.note({
    what: joining === undefined ? 'router' : `ASSOCIATE ${nameOf(joining.gateway, joining.router)}`,
    target: undefined,
    user: session.user,
    status,
    ms,
    error,
  });
}
