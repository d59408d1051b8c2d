import { PluginError } from '@sallyport/plugin';
import type { Member, Policy } from '@sallyport/plugin';
import type { TlsSettings } from '@sallyport/plugin/wire';
import type { Logger } from 'pino';
import type { Address } from '../core/conn.ts';
import { ProxyError } from '../core/errors.ts';
import { explain, withAdvice } from './advice.ts';
import type { AuthMethods, ConnectedPlugin, Parts, RunningService } from './parts.ts';
import type { Config } from './references.ts';
import type { AutherConfig, PluginConfig, ServiceConfig, TlsConfig } from './schema.ts';
import { formatPlace } from '../schema/source.ts';
import type { Place } from '../schema/source.ts';

/** What runs. Whoever built it ends it, with `stop` and then `close`. */
export interface Graph {
  /** What listens where, in the order of the file; a port 0 has become the one that the system chose. */
  readonly listening: readonly {
    readonly service: string;
    readonly address: Address;
    readonly what: string;
  }[];
  /** Stops accepting; resolves when the last connection has ended. */
  stop(): Promise<void>;
  /** Ends everything at once: connections first, then the plugins that they may still ask. */
  close(): Promise<void>;
}

/**
 * Turns a configuration into what runs: all of it, or nothing, what was opened being closed again. Rejects with ProxyError
 * whose message begins with file, line and column. Plugins that are asked over TLS are tried in the background, so that a
 * certificate that will not do is in the log before the first user is turned away.
 */
export async function buildGraph(
  config: Config,
  trust: ReadonlyMap<TlsConfig, TlsSettings>,
  log: Logger,
  parts: Parts,
): Promise<Graph> {
  const plugins: { config: AutherConfig; plugin: PluginConfig; connected: ConnectedPlugin<AuthMethods> }[] =
    [];
  const services: { name: string; what: string; running: RunningService }[] = [];
  const close = async () => {
    await Promise.all(services.map(({ running }) => running.close()));
    await Promise.all(plugins.map(({ connected }) => connected.close()));
  };
  try {
    const members = new Map<string, Member<AuthMethods>>();
    for (const auther of config.authers) {
      const { name, plugin } = auther;
      if (plugin === undefined) {
        members.set(name, { name, policy: parts.listAuther(auther.auths ?? []) });
        continue;
      }
      const connected = located(plugin.at('addr'), `${plugin.path()}.addr`, () =>
        parts.connectAuther(pluginOptions(name, plugin, plugin.tls && trust.get(plugin.tls))),
      );
      for (const warning of connected.warnings ?? []) {
        log.warn({ auther: name }, `${formatPlace(plugin.at('addr'))}: ${plugin.path()}.addr: ${warning}`);
      }
      plugins.push({ config: auther, plugin, connected });
      members.set(name, { name, policy: withAdvice(connected.policy, plugin), onError: plugin.onError });
    }
    for (const service of config.services) {
      const handler = service.handler.type;
      const listener = service.listener?.type ?? 'tcp';
      const running = await parts
        .startService({
          name: service.name,
          address: service.addr,
          handler,
          listener,
          authenticate: authenticator(service, members, parts),
          log: log.child({ service: service.name }),
        })
        .catch((error: unknown) => {
          throw at(service.at('addr'), service.name, error);
        });
      services.push({ name: service.name, what: `${handler} over ${listener}`, running });
    }
  } catch (error) {
    await close();
    throw error;
  }
  for (const { config: auther, plugin, connected } of plugins) {
    if (plugin.tls !== undefined) void warnIfUnreachable(auther.name, plugin, connected, log);
  }
  return {
    listening: services.map(({ name, what, running }) => ({ service: name, what, address: running.address })),
    async stop() {
      await Promise.all(services.map(({ running }) => running.stop()));
    },
    close,
  };
}

function pluginOptions(name: string, plugin: PluginConfig, tls: TlsSettings | undefined) {
  const {
    type: transport = 'grpc',
    addr,
    endpoints = [],
    token,
    timeoutMs,
    cache,
    breaker,
    maxConcurrent,
  } = plugin;
  return {
    name,
    transport,
    addresses: [addr, ...endpoints],
    token,
    tls,
    timeoutMs,
    cache,
    breaker,
    maxConcurrent,
  };
}

/** Who is asked at this service: the authers that it names, or else the user that stands at it; undefined: nobody is. */
function authenticator(
  service: ServiceConfig,
  members: ReadonlyMap<string, Member<AuthMethods>>,
  parts: Parts,
): Policy<AuthMethods> | undefined {
  const { auther, authers = [], auth } = service.handler;
  const names = [...(auther === undefined ? [] : [auther]), ...authers];
  if (names.length > 0) return parts.combineAuthers(names.map((name) => members.get(name)!));
  if (auth === undefined) return undefined;
  return parts.combineAuthers([{ name: 'auth', policy: parts.listAuther([auth]) }]);
}

async function warnIfUnreachable(
  name: string,
  plugin: PluginConfig,
  connected: ConnectedPlugin<AuthMethods>,
  log: Logger,
): Promise<void> {
  try {
    await connected.check();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (error instanceof PluginError && error.code === 'canceled') return;
    log.warn({ auther: name }, `auther ${name} cannot be asked: ${explain(reason, plugin)}`);
  }
}

function located<T>(place: Place, path: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw at(place, path, error);
  }
}

function at(place: Place, path: string, cause: unknown): ProxyError {
  const { code, at: fault, message } = ProxyError.from(cause);
  return new ProxyError(code, fault, `${formatPlace(place)}: ${path}: ${message}`, { cause });
}
