import { combine, contractByKind } from '@sallyport/plugin';
import type { CallEvent, Contract, Member, ModuleKind } from '@sallyport/plugin';
import type { Logger } from 'pino';
import { formatAddress } from '../../core/address.ts';
import type { Address } from '../../core/conn.ts';
import type { ConnLimiter, RateLimiter } from '../../core/limits.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { listAdmission } from '../../policies/admission/index.ts';
import { listAuther } from '../../policies/auther/index.ts';
import { listBypass } from '../../policies/bypass/index.ts';
import type { ListBypass } from '../../policies/bypass/index.ts';
import { createConnLimiter } from '../../policies/climiter/index.ts';
import type { ListConnLimiter } from '../../policies/climiter/index.ts';
import { listHosts } from '../../policies/hosts/index.ts';
import { listIngress } from '../../policies/ingress/index.ts';
import { listLimiter } from '../../policies/limiter/index.ts';
import { createResolver } from '../../policies/resolver/index.ts';
import type { DialTcp } from '../../policies/resolver/index.ts';
import { createRateLimiter } from '../../policies/rlimiter/index.ts';
import { listRouter } from '../../policies/router/index.ts';
import { redisSd } from '../../policies/sd/index.ts';
import type { Located } from '../../schema/read.ts';
import type { Config } from '../merge.ts';
import type { PluginConfig } from '../sections/plugin.ts';
import { at, createPlugins } from './plugins.ts';
import type { Plugins } from './plugins.ts';
import type { TlsFiles } from '../tls-files.ts';

// Contracts differ in their methods, and a group does not look at them.
type AnyMember = Member<never>;

/** Every module of a configuration by its name, and the groups that services and nodes make of them. */
export interface Policies {
  readonly plugins: Plugins;
  /** One decision of those with these names; undefined: no names. */
  group<K extends Grouped>(kind: K, names: readonly string[]): PolicyOf<K> | undefined;
  /** What the rules of these bypasses that speak of addresses say of one; undefined: there are none. */
  refusesAddress(
    names: readonly string[],
  ): ((address: Address, network: string) => string | undefined) | undefined;
  /** Those of the names that no module of this kind has. */
  unknown(kind: Grouped, names: readonly string[]): readonly string[];
  connLimiter(name: string | undefined): ConnLimiter | undefined;
  rateLimiter(name: string | undefined): RateLimiter | undefined;
  /** By name; the next configuration goes on with their counts. */
  readonly connLimiters: ReadonlyMap<string, ListConnLimiter>;
  /** The limits of this configuration count from now on, also where a connection limiter is the one of the configuration before. */
  take(): void;
  close(): Promise<void>;
}

/** The kinds that a file lists. */
type Grouped =
  | 'auth'
  | 'admission'
  | 'bypass'
  | 'hosts'
  | 'resolver'
  | 'limiter'
  | 'recorder'
  | 'observer'
  | 'rewriter'
  | 'ingress'
  | 'sd'
  | 'router';

/** What the modules are made with. */
export interface PolicyWorld {
  readonly config: Config;
  readonly tls: TlsFiles;
  readonly log: Logger;
  /** A connection along a chain, for nameservers that are reached so. */
  readonly dialThrough: (chain: string) => DialTcp;
  /** Of the configuration before: those that are called the same go on, with the connections that they have counted. */
  readonly connLimiters?: ReadonlyMap<string, ListConnLimiter>;
}

/** Makes every module of a configuration. Rejects with ProxyError that begins with file, line and column. */
export async function createPolicies(policyWorld: PolicyWorld): Promise<Policies> {
  const { config, tls, log, dialThrough } = policyWorld;
  const plugins = createPlugins(tls, log);
  const members = new Map<string, AnyMember>();
  const bypasses = new Map<string, ListBypass>();
  /** What is open, beside the plugins. */
  const opened: { close(): void }[] = [];

  const add = async <K extends Grouped>(
    kind: K,
    what: string,
    entry: Located & { readonly name: string; readonly plugin?: PluginConfig | undefined },
    create: () => PolicyOf<K> | Promise<PolicyOf<K>>,
    whitelist = false,
  ): Promise<void> => {
    const { name, plugin } = entry;
    let policy: PolicyOf<K>;
    if (plugin !== undefined) policy = plugins.connect(kind, `${what} ${name}`, plugin);
    else {
      try {
        policy = await create();
      } catch (error) {
        throw at(entry.at('name'), entry.path(), error);
      }
    }
    members.set(`${kind} ${name}`, {
      name,
      policy: named(name, policy) as never,
      ...(plugin?.onError !== undefined && { onError: plugin.onError }),
      whitelist: plugin === undefined && whitelist,
    });
  };

  try {
    for (const one of config.authers) await add('auth', 'auther', one, () => listAuther(one.auths ?? []));
    for (const one of config.admissions) await add('admission', 'admission', one, () => listAdmission(one));
    for (const one of config.bypasses) {
      const create = () => {
        const made = listBypass(one);
        bypasses.set(one.name, made);
        return made;
      };
      await add('bypass', 'bypass', one, create, one.whitelist === true);
    }
    for (const one of config.hosts) await add('hosts', 'hosts', one, () => listHosts(one));
    for (const one of config.resolvers) {
      await add('resolver', 'resolver', one, () => {
        const nameservers = (one.nameservers ?? []).map((server) => ({
          ...server,
          ...(server.chain !== undefined && { dialTcp: dialThrough(server.chain) }),
        }));
        const made = createResolver({ name: one.name, nameservers });
        opened.push(made);
        return made;
      });
    }
    for (const one of config.limiters)
      await add('limiter', 'limiter', one, () => listLimiter({ limits: one.limits ?? [] }));
    for (const one of config.ingresses) await add('ingress', 'ingress', one, () => listIngress(one));
    for (const one of config.routers) await add('router', 'router', one, () => listRouter(one));
    for (const one of config.sds) {
      await add('sd', 'sd', one, () => {
        if (one.redis === undefined) return notBuiltIn();
        const made = redisSd(one.redis);
        opened.push(made);
        return made;
      });
    }
    for (const one of config.observers) await add('observer', 'observer', one, notBuiltIn);
    for (const one of config.rewriters) await add('rewriter', 'rewriter', one, notBuiltIn);
    for (const one of config.recorders) {
      if (one.plugin !== undefined) await add('recorder', 'recorder', one, notBuiltIn);
    }
  } catch (error) {
    for (const one of opened) one.close();
    await plugins.close();
    throw error;
  }
  const connLimiters = new Map(
    config.climiters.map((one) => [
      one.name,
      policyWorld.connLimiters?.get(one.name) ?? createConnLimiter({ limits: textsOf(one.limits) }),
    ]),
  );
  const rateLimiters = new Map(
    config.rlimiters.map((one) => [one.name, createRateLimiter({ limits: textsOf(one.limits) })]),
  );

  return {
    plugins,
    group(kind, names) {
      const found = names.flatMap((name) => members.get(`${kind} ${name}`) ?? []);
      if (found.length === 0) return undefined;
      const contract = contractByKind[kind] as unknown as Contract;
      return combine(contract, found as unknown as Member<Contract['methods']>[]) as never;
    },
    unknown: (kind, names) => names.filter((name) => !members.has(`${kind} ${name}`)),
    refusesAddress(names) {
      const lists = names.flatMap((name) => {
        const list = bypasses.get(name);
        return list?.speaksOfAddresses === true ? [{ name, list }] : [];
      });
      if (lists.length === 0) return undefined;
      return (address, network) => {
        const ask = { target: formatAddress(address), user: '', network, host: '', path: '', service: '' };
        for (const { name, list } of lists) {
          let reason: string | undefined;
          const observe = (event: CallEvent) => {
            reason = event.reason;
          };
          if (list.bypass(ask, { meta: {}, observe }) === true)
            return `${name} says no to ${address.host}${reason === undefined ? '' : `: ${reason}`}`;
        }
        return undefined;
      };
    },
    connLimiter: (name) => (name === undefined ? undefined : connLimiters.get(name)),
    connLimiters,
    take() {
      for (const one of config.climiters)
        connLimiters.get(one.name)!.reconfigure({ limits: textsOf(one.limits) });
    },
    rateLimiter: (name) => (name === undefined ? undefined : rateLimiters.get(name)),
    async close() {
      for (const one of opened) one.close();
      await plugins.close();
    },
  };
}

/** A module that only a plugin can be has one; the reader of the file sees to it. */
function notBuiltIn(): never {
  throw new TypeError('this module needs a plugin');
}

function textsOf(limits: unknown): readonly string[] {
  return (limits as readonly string[] | undefined) ?? [];
}

/** A built-in does not know what it is called in the file; whoever reads its events should. */
function named<K extends ModuleKind>(name: string, policy: PolicyOf<K>): PolicyOf<K> {
  const wrapped: Record<string, unknown> = {};
  for (const [method, ask] of Object.entries(policy)) {
    if (typeof ask !== 'function') continue;
    wrapped[method] = (question: unknown, call: { observe?: (event: CallEvent) => void }) => {
      const { observe } = call;
      if (observe === undefined) return (ask as (...args: unknown[]) => unknown)(question, call);
      const rename = (event: CallEvent) => {
        observe(event.name === undefined ? { ...event, name } : event);
      };
      return (ask as (...args: unknown[]) => unknown)(question, { ...call, observe: rename });
    };
  }
  return wrapped as PolicyOf<K>;
}
