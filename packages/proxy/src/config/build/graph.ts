import type { Logger } from 'pino';
import type { Hop } from '../../chain/hop.ts';
import { createChain, createForwarder } from '../../chain/chain.ts';
import type { Address } from '../../core/conn.ts';
import { createLoopGuard } from '../../core/loop-guard.ts';
import type { LoopGuard } from '../../core/loop-guard.ts';
import { createMeter } from '../../core/meter.ts';
import type { Chain, Forwarder } from '../../core/route.ts';
import { startService } from '../../core/service.ts';
import type { RunningService, ServiceParts } from '../../core/service.ts';
import type { Config } from '../merge.ts';
import type { TlsFiles } from '../tls-files.ts';
import { certificates } from './certificates.ts';
import { directWay, undecided } from './direct.ts';
import { forwarderHopOf, hopOf } from './nodes.ts';
import type { NodeWorld } from './nodes.ts';
import { at, located } from './plugins.ts';
import type { PluginCheck } from './plugins.ts';
import { createPolicies } from './policies.ts';
import type { Policies } from './policies.ts';
import { createReaders } from './readers.ts';
import type { Readers } from './readers.ts';
import { servicePartsOf } from './services.ts';
import { createSockets } from './sockets.ts';
import type { Sockets } from './sockets.ts';

/** What runs. Whoever built it ends it, with `stop` and then `close`. */
export interface Graph {
  /** What listens where, in the order of the file; a port 0 has become the one that the system chose. */
  readonly listening: readonly {
    readonly service: string;
    readonly address: Address;
    readonly what: string;
  }[];
  /** Resolves when all listeners at other machines are there, or could not be for the first time. */
  readonly ready: Promise<unknown>;
  /** Connects to every plugin, and answers what became of it. */
  checkPlugins(): Promise<readonly PluginCheck[]>;
  /** Stops accepting; resolves when the last connection has ended. */
  stop(): Promise<void>;
  /**
   * Gives way to the next graph, which listens already: as `stop`, except that connections which wait for a next request are
   * served one more. Resolves when the last connection has ended.
   */
  retire(): Promise<void>;
  /** Ends everything at once: connections first, then the plugins that they may still ask. */
  close(): Promise<void>;
  /** What the next graph takes over. */
  readonly kept: Kept;
}

/** What lives on from one graph to the next. */
interface Kept {
  readonly sockets: Sockets;
  readonly loops: LoopGuard;
  readonly connLimiters: Policies['connLimiters'];
  readonly readers: Readers;
  /** What the handler of a service keeps, where it is of this type. */
  keeps(service: string, handler: string | undefined): unknown;
}

/** How a graph is built. */
export interface BuildOptions {
  /** False: nothing is listened on; for `check`. Default true. */
  readonly listen?: boolean;
  /**
   * The graph that runs. Once all has been made, its sockets at the same addresses become those of the new one, from one
   * connection to the next; where something fails, nothing has changed for it. Whoever built it retires it then.
   */
  readonly previous?: Graph;
}

/**
 * Turns a configuration into what runs: all of it, or nothing, what was opened being closed again. Rejects with ProxyError
 * whose message begins with file, line and column. Plugins that are asked over TLS are tried in the background, so that a
 * certificate that will not do is in the log before the first user is turned away.
 */
export async function buildGraph(
  config: Config,
  tls: TlsFiles,
  log: Logger,
  { listen = true, previous }: BuildOptions = {},
): Promise<Graph> {
  const loops = previous?.kept.loops ?? createLoopGuard();
  const sockets = createSockets(previous?.kept.sockets, (text) => {
    log.warn(text);
  });
  const direct = loops.over(directWay());
  const chains = new Map<string, Chain>();
  const hops: Hop[] = [];
  const services: { name: string; type: string | undefined; what: string; running: RunningService }[] = [];
  const made: ServiceParts[] = [];
  const policies = await createPolicies({
    config,
    tls,
    log,
    ...(previous !== undefined && { connLimiters: previous.kept.connLimiters }),
    dialThrough: (name) => async (host, port, signal) => {
      // One that is not there, by `compat.missingReferences`, is none, as in GOST.
      const route = await chains.get(name)?.route(requestOf(host, port), { signal }, undecided);
      const conn = await (route?.way ?? direct).dial({ host, port }, { signal });
      return conn.stream;
    },
  });
  const readers = createReaders(config, policies, log);
  /** Ends services as `end` does, and says so of each when its last connection has ended. */
  const ending = async (end: (running: RunningService) => Promise<void>) => {
    await Promise.all(services.map(({ name, running }) => end(running).then(readers.of(name).stopped)));
  };
  const close = async () => {
    await ending((running) => running.close());
    // What waits for recorders and observers is handed over before their plugins are closed.
    await readers.close();
    for (const { limits } of made) limits?.close();
    await Promise.all(hops.map((hop) => hop.close()));
    await policies.close();
    await direct.close();
  };
  const world: NodeWorld = { policies, clientTls: (block, found) => tls.client(block, found) };
  try {
    const keep = (hop: Hop) => {
      hops.push(hop);
      return hop;
    };
    const byName = new Map<string, Hop>();
    for (const hop of config.hops) {
      if (hop.name !== undefined) byName.set(hop.name, keep(hopOf(hop, world, hop.name)));
    }
    for (const chain of config.chains) {
      const parts = (chain.hops ?? []).flatMap((hop, index) => {
        const own = hop.nodes !== undefined || hop.plugin !== undefined;
        return own ? keep(hopOf(hop, world, `hop-${String(index)}`)) : (byName.get(hop.name ?? '') ?? []);
      });
      const onNoNode =
        chain.onNoNode ??
        (config.compat.has('directWithoutNode') ? ('direct' as const) : ('refuse' as const));
      chains.set(chain.name, createChain({ name: chain.name, hops: parts, direct, onNoNode }));
    }
    const forwarders = new Map<string, Forwarder>();
    for (const { name, forwarder } of config.services) {
      if (forwarder === undefined) continue;
      const named = forwarder.hop === undefined ? undefined : byName.get(forwarder.hop);
      const hop = named ?? keep(forwarderHopOf(forwarder.nodes ?? [], forwarder.selector, world, name));
      forwarders.set(name, createForwarder(hop));
    }
    const serverTls = certificates(config, tls, log);
    const prepared: { parts: ServiceParts; what: string; config: (typeof config.services)[number] }[] = [];
    const shared = { loops, meter: createMeter() };
    for (const service of config.services) {
      const parts = located(service.at('handler'), service.name, () =>
        servicePartsOf(service, {
          ...shared,
          config,
          policies,
          direct,
          chains,
          forwarders,
          log,
          serverTls,
          sockets,
          readers: ({ name }) => readers.of(name).sinks,
          before: previous?.kept.keeps(service.name, service.handler?.type),
        }),
      );
      made.push(parts);
      const what = `${service.handler?.type ?? 'auto'} over ${service.listener?.type ?? 'tcp'}`;
      prepared.push({ parts, what, config: service });
    }
    // Nothing is listened on before everything has been made.
    if (listen) await readers.open();
    for (const { parts, what, config: service } of listen ? prepared : []) {
      const told = readers.of(service.name);
      told.started();
      const running = await startService(parts).catch((error: unknown) => {
        if (previous === undefined) told.failed(error);
        throw at(service.at('addr'), service.name, error);
      });
      told.ready();
      services.push({ name: service.name, type: service.handler?.type, what, running });
    }
  } catch (error) {
    // What runs is still there, and observers are not told otherwise.
    if (previous !== undefined) readers.giveWay(new Set(config.services.map(({ name }) => name)));
    await close();
    throw error;
  }
  sockets.take();
  policies.take();
  previous?.kept.readers.giveWay(new Set(config.services.map(({ name }) => name)));
  policies.plugins.warn();
  return {
    listening: services.map(({ name, what, running }) => ({ service: name, what, address: running.address })),
    ready: Promise.all(services.map(({ running }) => running.ready)),
    checkPlugins: () => policies.plugins.check(),
    async stop() {
      await ending((running) => running.stop());
    },
    async retire() {
      await ending((running) => running.retire());
    },
    close,
    kept: {
      sockets,
      loops,
      connLimiters: policies.connLimiters,
      readers,
      keeps: (service, handler) =>
        services.find(({ name, type }) => name === service && type === handler)?.running.keeps,
    },
  };
}

/** What a nameserver's chain is asked by. */
function requestOf(host: string, port: number) {
  const target = { host, port };
  return {
    network: 'tcp',
    target,
    host: target,
    client: { host: '', port: 0 },
    user: '',
    service: '',
  } as const;
}
