import { formatAddress } from '../../core/address.ts';
import { createBackgroundQueue } from '../../core/background-queue.ts';
import type { BackgroundQueue } from '../../core/background-queue.ts';
import type { Address, Listening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { HandlerOptions, ServiceHost, StartedHandler } from '../../core/protocol.ts';
import { defaultReadTimeoutMs } from '../../core/relay-messages/serve-request.ts';
import { threadWheel } from '../../core/wheel.ts';
import type { Wheel } from '../../core/wheel.ts';
import { createAnnouncer } from '../../core/announcer.ts';
import { settingsOf } from './bind.ts';
import { createEntrypoint } from './entrypoint.ts';
import type { TunnelNode } from './exchange.ts';
import { handleTunnel } from './handle.ts';
import { Kept } from './kept.ts';
import type { Holder } from './kept.ts';
import { createNodes } from './nodes.ts';
import { defaultTtlMs } from './options.ts';
import type { EntrypointAddress, HandlerMetadata } from './options.ts';
import { createTunnels } from './reach.ts';
import type { EntrypointOptions } from './tunnels.ts';

/** Visitors that one connector may have at once. The client bounds them as well; here each is a connection that was let in. */
const maxStreams = 65_536;

/**
 * Starts a tunnel's node for a service: opens its entrypoints, and from then on serves who registers and who visits. What it
 * keeps are the tunnels themselves, so that they outlive a reload. Rejects with ProxyError `addressInUse` or `listenFailed`.
 * `wheel`: for renewals, and for how long a tunnel stays its user's; default: the thread's.
 */
export async function startTunnel(
  host: ServiceHost,
  options: HandlerOptions,
  before: unknown,
  wheel: Wheel = threadWheel,
): Promise<StartedHandler> {
  const metadata = options.metadata as HandlerMetadata;
  const kept = before instanceof Kept ? before : new Kept(() => wheel.now());
  const ttlMs = metadata.tunnelTtlMs || defaultTtlMs;
  const queues: BackgroundQueue[] = [];
  const queue = (what: string) => {
    const made = createBackgroundQueue({
      ...{ what, wheel },
      problem: (error) => {
        host.problem(error);
      },
      inform: (text) => {
        host.inform(text);
      },
    });
    queues.push(made);
    return made;
  };
  const ingress = ingressOf(host, options);
  const sd = sdOf(host, options);
  /** Where the entrypoint came to be; other nodes are told it. */
  let at: Address | undefined;
  const address = () => (metadata.entrypoint === undefined ? '' : advertised(metadata.entrypoint, at));
  const holder: Holder =
    sd === undefined
      ? {}
      : {
          announcer: createAnnouncer({
            ...{ sd, node: kept.node, address, renewMs: ttlMs, wheel },
            queue: queue(`sd ${metadata.sd ?? ''}`),
          }),
        };
  const tunnels = createTunnels({
    ...{ service: host.name, node: kept.node, registry: kept.registry },
    ...(ingress !== undefined && { ingress }),
    ...(sd !== undefined && {
      nodes: createNodes({
        ...{ node: kept.node, sd, direct: host.direct, now: () => wheel.now() },
        own: () => (at?.host === '' ? undefined : at),
      }),
    }),
  });
  const node: TunnelNode = {
    ...{ metadata, kept, holder, tunnels, ttlMs },
    ...(ingress !== undefined && {
      ingress: { policy: ingress, queue: queue(`ingress ${metadata.ingress ?? ''}`) },
    }),
    mux: { ...settingsOf(metadata), maxStreams },
  };
  warn(host, metadata, sd !== undefined);
  kept.hold(holder);
  const close = async () => {
    kept.release(holder);
    await Promise.all(queues.map((one) => one.close()));
  };
  try {
    const open = (where: EntrypointAddress, own: PolicyOf<'ingress'> | undefined): Promise<Listening> =>
      host.entrypoint(
        { network: 'tcp', address: { host: where.host, port: where.port } },
        createEntrypoint(tunnels, entrypointOptions(metadata, own)),
      );
    if (metadata.entrypoint !== undefined) {
      const { address: bound } = await open(metadata.entrypoint, undefined);
      at = { host: metadata.entrypoint.host, port: bound.port };
      host.inform(`tunnels have their entrypoint at ${formatAddress(bound)}`);
    }
    for (const { addr, ingress: named } of metadata.entrypoints ?? []) {
      const own =
        named === undefined ? undefined : (options.modules?.ingress(named) ?? unknownTo(host, named));
      const { address: bound } = await open(addr, own);
      host.inform(`tunnels have an entrypoint at ${formatAddress(bound)}`);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    keeps: kept,
    handle: (end, session) => handleTunnel(end, session, node),
    retire() {
      kept.retire(holder);
    },
    close,
  };
}

function entrypointOptions(
  metadata: HandlerMetadata,
  ingress: PolicyOf<'ingress'> | undefined,
): EntrypointOptions {
  const { entrypointId: publicId, tunnelDirect: direct = false } = metadata;
  return {
    ...(ingress !== undefined && { ingress }),
    ...(publicId !== undefined && { publicId }),
    direct,
    readTimeoutMs: metadata.entrypointReadTimeoutMs || defaultReadTimeoutMs,
    keepAlive: metadata.entrypointKeepalive === true,
  };
}

/** As other nodes are told it: as it is written, except where the system chose the port. */
function advertised({ written, port, host }: EntrypointAddress, at: Address | undefined): string {
  return port === 0 && at !== undefined ? formatAddress({ host, port: at.port }) : written;
}

/** The ingress that is named, or else the rules that stand in the options, as in GOST. */
function ingressOf(
  host: ServiceHost,
  { metadata, modules }: HandlerOptions,
): PolicyOf<'ingress'> | undefined {
  const { ingress, tunnel } = metadata as HandlerMetadata;
  if (ingress !== undefined) return modules?.ingress(ingress) ?? unknownTo(host, ingress);
  return tunnel === undefined || tunnel.length === 0 ? undefined : modules?.ingressOf(tunnel);
}

function sdOf(host: ServiceHost, { metadata, modules }: HandlerOptions): PolicyOf<'sd'> | undefined {
  const { sd } = metadata as HandlerMetadata;
  if (sd === undefined) return undefined;
  const found = modules?.sd(sd);
  if (found === undefined) host.problem(missing(`sd ${sd}`, 'other nodes are not asked for tunnels'));
  return found;
}

/** What stands for an ingress that is not there: no host leads anywhere, as in GOST. */
function unknownTo(host: ServiceHost, name: string): PolicyOf<'ingress'> {
  host.problem(missing(`ingress ${name}`, 'no host leads to a tunnel'));
  return { getRule: () => undefined, setRule: () => false };
}

function missing(what: string, so: string): ProxyError {
  return new ProxyError('noRoute', 'self', `there is no ${what}, so ${so}`);
}

/** Says what somebody may not have meant. */
function warn(host: ServiceHost, { entrypoint }: HandlerMetadata, hasSd: boolean): void {
  if (!hasSd) return;
  if (entrypoint === undefined)
    host.inform('sd is told of tunnels that other nodes cannot reach: there is no `entrypoint`');
  else if (['', '0.0.0.0', '::'].includes(entrypoint.host))
    host.inform('`entrypoint` names no host, so that other nodes take it for one of their own machine');
}
