// One proxy with a service for each module and each handler, and what the modules answer, as plugins and as built-ins.
import type { PluginTransport } from '@sallyport/plugin';
import type { ProxyConfig } from '../../../../interop/gost/programs.ts';
import type { LinkFiles } from '../../../../interop/common/links.ts';
import type { Answers, Plugins } from './plugins.ts';

/** Where the modules stand: in the file, or in a plugin over this transport. */
export type Variant = 'built-in' | PluginTransport;

/** Who is let in. */
export const credentials = 'gost:secret';

/** The id under which the plugins know them. */
export const user = 'id-of-gost';

/** Rates in bytes a second, of which one second's worth may go at once. */
export const rate = { in: 400_000, out: 300_000 };

/** What the plugins answer. A user of SOCKS4 has no password. */
export function answers(node: () => string): Answers {
  return {
    admission: { admit: ({ service }) => !service.startsWith('refusing') },
    auth: {
      authenticate: ({ username, password, service }) => {
        const ok =
          `${username}:${password}` === credentials || (username === 'gost' && /socks4/.test(service));
        return { ok, user: ok ? user : '' };
      },
    },
    bypass: { bypass: ({ target }) => target.startsWith('forbidden.test') },
    hop: {
      select: ({ host }) =>
        host.startsWith('nowhere.test')
          ? undefined
          : { name: 'named', addr: node(), connector: { type: 'http' }, dialer: { type: 'tcp' } },
    },
    hosts: { lookup: ({ host }) => (host === 'hosts.test' ? ['127.0.0.2'] : []) },
    resolver: { resolve: ({ host }) => (host === 'resolver.test' ? ['127.0.0.3'] : []) },
    limiter: {
      limit: ({ scope, service }) =>
        service.startsWith('slow') === (scope === 'client') ? [{ ...rate, share: '' }] : [],
    },
    recorder: { record: () => true },
    observer: { observe: () => true },
    rewriter: {
      rewrite: ({ data }) => {
        const text = Buffer.from(data).toString();
        return /fox|secret/.test(text)
          ? Buffer.from(text.replace('fox', 'hen').replace('secret', 'word'))
          : undefined;
      },
    },
  };
}

/** What stands around the proxy. */
export interface Surroundings {
  readonly variant: Variant;
  readonly plugins: Plugins | undefined;
  /** Where the origin listens, on every loopback address. */
  readonly originPort: number;
  /** An HTTP proxy, `host:port`. */
  readonly node: string;
  /** A nameserver of the built-in resolver, `host:port`. */
  readonly nameserver: string;
  readonly files: LinkFiles;
}

type HandlerName = 'http' | 'socks5' | 'socks4' | 'tcp';
const handlers: readonly HandlerName[] = ['http', 'socks5', 'socks4', 'tcp'];

/** Names services `MODULE-HANDLER`. */
export function configOf(around: Surroundings): ProxyConfig {
  const { variant, plugins, originPort, node, nameserver, files } = around;
  const builtIn = variant === 'built-in';
  const forwarder = { nodes: [{ name: 'origin', addr: `127.0.0.1:${String(originPort)}` }] };
  const tls = {
    certFile: files.at('server.pem'),
    keyFile: files.at('server.key'),
    caFile: files.at('ca.pem'),
  };

  /** One service for each handler that a module concerns. */
  const services = (
    name: string,
    types: readonly HandlerName[],
    more: object = {},
    handler: object = {},
    listener?: object,
  ) =>
    types.map((type) => {
      // The built-in auther asks for a password, which SOCKS4 has not.
      const auther = type === 'tcp' || (type === 'socks4' && builtIn) ? {} : { auther: 'users' };
      return {
        name: `${name}-${type}`,
        addr: '127.0.0.1:0',
        handler: { type, ...auther, ...handler },
        ...(type === 'tcp' && { forwarder }),
        ...(listener && { listener }),
        ...more,
      };
    });
  const all = handlers;
  const asked = ['http', 'socks5', 'socks4'] as const;
  return {
    services: [
      ...services('admitting', all, { admission: 'admitting' }),
      ...services('refusing', all, { admission: 'refusing' }),
      ...services('auth', asked),
      ...services('tls', ['http', 'socks5'], {}, {}, { type: 'tls', tls }),
      ...services('bypass', asked, { bypass: 'bypass' }),
      ...services('hop', asked, {}, { chain: 'chain' }),
      ...services('hosts', asked, { hosts: 'hosts' }),
      ...services('resolver', asked, { resolver: 'resolver' }),
      ...services('limiter', all, { limiter: 'limiter' }, { limiter: 'limiter' }),
      ...services('slow', all, { limiter: 'limiter' }, { limiter: 'limiter' }),
      ...services(
        'everything',
        asked,
        {
          admission: 'admitting',
          bypass: 'bypass',
          hosts: 'hosts',
          resolver: 'resolver',
          limiter: 'limiter',
        },
        { chain: 'chain', limiter: 'limiter' },
      ),
      ...(builtIn
        ? [
            ...services('connections', all, { climiter: 'one' }),
            ...services('requests', all, { rlimiter: 'one' }),
          ]
        : []),
    ],
    ...(plugins === undefined
      ? {
          admissions: [
            { name: 'admitting', whitelist: true, matchers: ['127.0.0.0/8'] },
            { name: 'refusing', matchers: ['127.0.0.1'] },
          ],
          authers: [{ name: 'users', auths: [{ username: 'gost', password: 'secret' }] }],
          bypasses: [{ name: 'bypass', matchers: ['forbidden.test'] }],
          chains: [
            {
              name: 'chain',
              hops: [
                {
                  name: 'hop',
                  nodes: [
                    {
                      name: 'named',
                      addr: node,
                      connector: { type: 'http' },
                      matcher: { rule: '!Host(`nowhere.test`)' },
                    },
                  ],
                },
              ],
            },
          ],
          hosts: [{ name: 'hosts', mappings: [{ ip: '127.0.0.2', hostname: 'hosts.test' }] }],
          resolvers: [{ name: 'resolver', nameservers: [{ addr: nameserver }] }],
          limiters: [{ name: 'limiter', limits: [`$$ ${String(rate.in)}B ${String(rate.out)}B`] }],
          climiters: [{ name: 'one', limits: ['$ 1'] }],
          rlimiters: [{ name: 'one', limits: ['$ 1'] }],
        }
      : {
          admissions: ['admitting', 'refusing'].map((name) => ({ name, plugin: plugins.block('admission') })),
          authers: [{ name: 'users', plugin: plugins.block('auth') }],
          bypasses: [{ name: 'bypass', plugin: plugins.block('bypass') }],
          chains: [{ name: 'chain', hops: [{ name: 'hop', plugin: plugins.block('hop') }] }],
          hosts: [{ name: 'hosts', plugin: plugins.block('hosts') }],
          resolvers: [{ name: 'resolver', plugin: plugins.block('resolver') }],
          limiters: [{ name: 'limiter', plugin: plugins.block('limiter') }],
        }),
  };
}
