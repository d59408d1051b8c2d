// One GOST with a service for each module that an ordinary proxy asks, and what our modules answer.
import type { LinkFiles } from '../common/links.ts';
import type { Answers, PluginServers } from './plugin-servers.ts';
import type { ProxyConfig } from './programs.ts';
import type { Origin } from './traffic.ts';

/** Who is let in. */
export const credentials = 'gost:secret';
/** The id under which our auther knows them. */
export const user = 'id-of-gost';

/** Rates in bytes a second, of which one second's worth may go at once. */
export const rate = { in: 150_000, out: 100_000 };

/** Our answers. Names and addresses in them are those that the tests below ask for. */
export function answers(nodeAddress: () => string): Answers {
  return {
    admission: { admit: ({ service }) => service !== 'admission-no' },
    auth: {
      authenticate: ({ username, password }) =>
        `${username}:${password}` === credentials ? { ok: true, user } : { ok: false, user: '' },
    },
    bypass: { bypass: ({ target }) => target.startsWith('forbidden.test') },
    hop: {
      select: ({ host }) =>
        host.startsWith('nowhere.test')
          ? undefined
          : { name: 'named', addr: nodeAddress(), connector: { type: 'http' }, dialer: { type: 'tcp' } },
    },
    hosts: { lookup: ({ host }) => (host === 'hosts.test' ? ['127.0.0.2'] : []) },
    resolver: { resolve: ({ host }) => (host === 'resolver.test' ? ['127.0.0.3'] : []) },
    limiter: { limit: ({ scope }) => (scope === 'client' ? [{ ...rate, share: user }] : []) },
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

/** One GOST with a service for each module. */
export function configOf(
  plugins: PluginServers,
  origin: Origin,
  echo: string,
  files: LinkFiles,
): ProxyConfig {
  const service = (name: string, handler: object, more: object = {}) => {
    return { name, addr: '127.0.0.1:0', handler: { type: 'http', ...handler }, ...more };
  };
  const record = (name: string, kind: string) => {
    return { name: 'recorder', record: `recorder.service.${name}`, metadata: { kind, 'some.key': 7 } };
  };
  const rewrite = [{ type: '*', match: '.*', rewriter: 'rewriter' }];
  return {
    services: [
      service('admission', {}, { admission: 'admission' }),
      service('admission-no', {}, { admission: 'admission' }),
      service('auth', { auther: 'auther' }),
      service('socks5', { type: 'socks5', auther: 'auther' }, { bypass: 'bypass', hosts: 'hosts' }),
      service(
        'udp',
        { type: 'udp' },
        {
          listener: { type: 'udp' },
          admission: 'admission',
          forwarder: { nodes: [{ name: 'n', addr: echo }] },
        },
      ),
      service(
        'auth-mtls',
        { auther: 'auther' },
        {
          listener: {
            type: 'tls',
            tls: {
              certFile: files.at('server.pem'),
              keyFile: files.at('server.key'),
              caFile: files.at('ca.pem'),
            },
          },
        },
      ),
      service('auth-token', { auther: 'wrong-token' }),
      service('bypass', { auther: 'auther' }, { bypass: 'bypass' }),
      service('hop', { auther: 'auther', chain: 'chain' }),
      service('hosts', { auther: 'auther' }, { hosts: 'hosts' }),
      service('resolver', { auther: 'auther' }, { resolver: 'resolver' }),
      service('limiter', { auther: 'auther', limiter: 'limiter' }, { limiter: 'limiter' }),
      service(
        'recorder',
        { auther: 'auther' },
        {
          recorders: [
            record('client.address', 'client'),
            record('router.dial.address', 'dial'),
            record('router.dial.address.error', 'error'),
            record('handler', 'handler'),
          ],
        },
      ),
      service(
        'observer',
        { auther: 'auther', observer: 'observer', metadata: { 'observer.period': '1s' } },
        { observer: 'observer', metadata: { enableStats: true, 'observer.period': '1s' } },
      ),
      service(
        'rewriter',
        { type: 'tcp', metadata: { sniffing: true } },
        {
          forwarder: {
            nodes: [
              {
                name: 'origin',
                addr: `127.0.0.1:${String(origin.port)}`,
                http: { rewriteRequestBody: rewrite, rewriteResponseBody: rewrite },
              },
            ],
          },
        },
      ),
    ],
    admissions: [{ name: 'admission', plugin: plugins.plugin('admission') }],
    authers: [
      { name: 'auther', plugin: plugins.plugin('auth') },
      { name: 'wrong-token', plugin: { ...plugins.plugin('auth'), token: 'wrong' } },
    ],
    bypasses: [{ name: 'bypass', plugin: plugins.plugin('bypass') }],
    chains: [{ name: 'chain', hops: [{ name: 'hop', plugin: plugins.plugin('hop') }] }],
    hosts: [{ name: 'hosts', plugin: plugins.plugin('hosts') }],
    resolvers: [{ name: 'resolver', plugin: plugins.plugin('resolver') }],
    limiters: [{ name: 'limiter', plugin: plugins.plugin('limiter') }],
    recorders: [{ name: 'recorder', plugin: plugins.plugin('recorder') }],
    observers: [{ name: 'observer', plugin: plugins.plugin('observer') }],
    rewriters: [{ name: 'rewriter', plugin: plugins.plugin('rewriter') }],
  };
}
