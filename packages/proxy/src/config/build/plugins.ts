import { connectPlugin, contractByKind, PluginError } from '@sallyport/plugin';
import type { ConnectedPlugin, Contract, Methods, ModuleKind } from '@sallyport/plugin';
import type { Logger } from 'pino';
import { ProxyError } from '../../core/errors.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { formatPlace } from '../../schema/source.ts';
import type { Place } from '../../schema/source.ts';
import type { PluginConfig } from '../sections/plugin.ts';
import type { TlsFiles } from '../tls-files.ts';
import { explain, withAdvice } from './advice.ts';

/** A plugin that a configuration names. */
interface Known {
  readonly what: string;
  readonly config: PluginConfig;
  readonly connected: Pick<ConnectedPlugin<Methods>, 'check' | 'close'>;
}

/** What became of trying one plugin. */
export interface PluginCheck {
  /** `auther users`. */
  readonly what: string;
  readonly addr: string;
  /** Undefined: it can be reached. */
  readonly error: string | undefined;
}

/** The plugins of a configuration. Whoever made them closes them. */
export interface Plugins {
  /** Connects to one; it is reached when it is first asked. Throws ProxyError with the place of an address that is none. */
  connect<K extends ModuleKind>(kind: K, what: string, config: PluginConfig): PolicyOf<K>;
  /** Tries those that are asked over TLS, and warns of what a certificate or a plain server would do to every question. */
  warn(): void;
  /** Connects and shakes hands with each. */
  check(): Promise<readonly PluginCheck[]>;
  close(): Promise<void>;
}

/** Makes the plugins of one configuration. */
export function createPlugins(tls: TlsFiles, log: Logger): Plugins {
  const known: Known[] = [];
  const reason = async ({ config, connected }: Known): Promise<string | undefined> => {
    try {
      await connected.check();
      return undefined;
    } catch (error) {
      if (error instanceof PluginError && error.code === 'canceled') return undefined;
      return explain(error instanceof Error ? error.message : String(error), config);
    }
  };
  return {
    connect(kind, what, config) {
      const contract = contractByKind[kind] as unknown as Contract;
      const connected = located(config.at('addr'), `${config.path()}.addr`, () =>
        connectPlugin(contract, {
          name: what.slice(what.indexOf(' ') + 1),
          transport: config.type ?? 'grpc',
          addr: [config.addr, ...(config.endpoints ?? [])],
          ...(config.token !== undefined && { token: config.token }),
          ...(config.tls !== undefined && { tls: pluginTls(tls.client(config.tls)) }),
          ...(config.timeoutMs !== undefined && { timeoutMs: config.timeoutMs }),
          ...(config.cache !== undefined && { cache: config.cache }),
          ...(config.breaker !== undefined && { breaker: config.breaker }),
          ...(config.maxConcurrent !== undefined && { maxConcurrent: config.maxConcurrent }),
        }),
      );
      for (const warning of connected.warnings)
        log.warn(`${formatPlace(config.at('addr'))}: ${config.path()}.addr: ${warning}`);
      known.push({ what, config, connected });
      return withAdvice(connected, config) as unknown as PolicyOf<typeof kind>;
    },
    warn() {
      for (const plugin of known) {
        if (plugin.config.tls === undefined) continue;
        void reason(plugin).then((why) => {
          if (why !== undefined) log.warn(`${plugin.what} cannot be asked: ${why}`);
        });
      }
    },
    check: () =>
      Promise.all(
        known.map(async (plugin) => ({
          what: plugin.what,
          addr: plugin.config.addr,
          error: await reason(plugin),
        })),
      ),
    async close() {
      await Promise.all(known.map(({ connected }) => connected.close(0)));
    },
  };
}

function pluginTls({ ca, cert, key, serverName, verify }: ReturnType<TlsFiles['client']>) {
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(serverName !== undefined && { serverName }),
    ...(verify !== undefined && { verify }),
  };
}

/** Runs what may throw, and says where in the file the reason stands. */
export function located<T>(place: Place, path: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw at(place, path, error);
  }
}

/** The error with its place in the file. */
export function at(place: Place, path: string, cause: unknown): ProxyError {
  const { code, at: fault, message } = ProxyError.from(cause);
  return new ProxyError(code, fault, `${formatPlace(place)}: ${path}: ${message}`, { cause });
}
