import type { CompatSwitch } from './sections/compat.ts';
import type { ChainConfig, HopConfig } from './sections/nodes.ts';
import type { PolicyConfig } from './sections/policies.ts';
import type { FileConfig, LogConfig, ServiceConfig } from './sections/services.ts';
import type { ServerTlsConfig } from './sections/tls.ts';

/** All files together: lists one after the other, and of `log` and `tls` the last, as GOST merges them. */
export interface Config {
  readonly services: readonly (ServiceConfig & { readonly name: string })[];
  readonly chains: readonly ChainConfig[];
  readonly hops: readonly HopConfig[];
  readonly authers: readonly PolicyConfig<'authers'>[];
  readonly admissions: readonly PolicyConfig<'admissions'>[];
  readonly bypasses: readonly PolicyConfig<'bypasses'>[];
  readonly hosts: readonly PolicyConfig<'hosts'>[];
  readonly resolvers: readonly PolicyConfig<'resolvers'>[];
  readonly limiters: readonly PolicyConfig<'limiters'>[];
  readonly climiters: readonly PolicyConfig<'climiters'>[];
  readonly rlimiters: readonly PolicyConfig<'rlimiters'>[];
  readonly ingresses: readonly PolicyConfig<'ingresses'>[];
  readonly routers: readonly PolicyConfig<'routers'>[];
  readonly sds: readonly PolicyConfig<'sds'>[];
  readonly recorders: readonly PolicyConfig<'recorders'>[];
  readonly observers: readonly PolicyConfig<'observers'>[];
  readonly rewriters: readonly PolicyConfig<'rewriters'>[];
  readonly tls: ServerTlsConfig | undefined;
  readonly log: LogConfig | undefined;
  /** What is switched on under `compat`, in any file. */
  readonly compat: ReadonlySet<CompatSwitch>;
}

/**
 * Merges the files. A service without a name is called `service-0`, `service-1`, … by its place in the list, as GOST
 * names those of its command line.
 */
export function mergeConfigs(files: readonly FileConfig[]): Config {
  const all = <K extends keyof FileConfig>(key: K): NonNullable<FileConfig[K]> =>
    files.flatMap((file) => (file[key] ?? []) as never) as unknown as NonNullable<FileConfig[K]>;
  const last = <K extends keyof FileConfig>(key: K) =>
    files.findLast((file) => file[key] !== undefined)?.[key];
  const compat = new Set<CompatSwitch>();
  for (const { compat: switches = {} } of files) {
    for (const [name, on] of Object.entries(switches)) if (on === true) compat.add(name as CompatSwitch);
  }
  const taken = new Set(all('services').map(({ name }) => name));
  const unnamed = (index: number): string => {
    const name = `service-${String(index)}`;
    // Those of the command line are called so already.
    if (taken.has(name)) return unnamed(index + 1);
    taken.add(name);
    return name;
  };
  return {
    services: all('services').map((service, index) => ({ ...service, name: service.name ?? unnamed(index) })),
    chains: all('chains'),
    hops: all('hops'),
    authers: all('authers'),
    admissions: all('admissions'),
    bypasses: all('bypasses'),
    hosts: all('hosts'),
    resolvers: all('resolvers'),
    limiters: all('limiters'),
    climiters: all('climiters'),
    rlimiters: all('rlimiters'),
    ingresses: all('ingresses'),
    routers: all('routers'),
    sds: all('sds'),
    recorders: all('recorders'),
    observers: all('observers'),
    rewriters: all('rewriters'),
    tls: last('tls'),
    log: last('log'),
    compat,
  };
}
