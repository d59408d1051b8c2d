// A tunnel's node and a router with everything that they ask, as built-in and as plugins, and the nodes beside them.
import type { ProxyConfig } from '../../../../interop/gost/programs.ts';
import type { Variant } from './modules-config.ts';
import type { Answers, Plugins } from './plugins.ts';
import { ids, routerId } from './tunnel-ids.ts';

/** The tunnel whose hosts are private. */
export const privateId = 'd0000000-0000-4000-8000-00000000000d';

/** Which host, or gateway, leads where. */
const rules: Readonly<Record<string, string>> = {
  'web.test': ids.here,
  'plugin.test': ids.here,
  'private.test': `$${privateId}`,
  'away.test': ids.away,
  'taken.test': ids.away,
  'site-a': routerId,
  'site-b': routerId,
  'site-c': routerId,
  'site-x': privateId,
};

/** Which network is behind which gateway. */
export const routes = [
  { dst: '10.2.0.0/16', gateway: 'site-b' },
  { dst: 'fd00:2::/32', gateway: 'site-b' },
  { dst: '10.3.0.0/16', gateway: 'site-far' },
] as const;

/** Where the nodes beside these are; known when they run. */
export interface Beside {
  tunnel: string;
  gateway: string;
}

/** What the plugins answer: the same as the built-ins, and where others are. */
export function answersOf(beside: Beside): Answers {
  const known = new Map(Object.entries(rules));
  const node = 'eeeeeeee-0000-4000-8000-000000000002';
  return {
    ingress: {
      getRule: ({ host }) => known.get(host.replace(/:\d+$/, '')),
      setRule({ host, endpoint }) {
        known.set(host, endpoint);
        return true;
      },
    },
    sd: {
      register: () => undefined,
      renew: () => undefined,
      deregister: () => undefined,
      get({ name }) {
        const [network, address] =
          name === ids.away
            ? ['tcp', beside.tunnel]
            : name === `site-far@${routerId}`
              ? ['udp', beside.gateway]
              : ['', ''];
        return network === '' ? [] : [{ id: ids.away, name, node, network: network!, address: address! }];
      },
    },
    router: {
      getRoute({ destination }) {
        const found = routes.find(({ dst }) => destination.startsWith(dst.slice(0, 5)));
        return found && { network: found.dst, gateway: found.gateway };
      },
    },
  };
}

/** The services are called as those that GOST was asked at; `away-…` are the nodes beside them. */
export function tunnelsConfig(variant: Variant, plugins: Plugins | undefined): ProxyConfig {
  const entrypoint = '127.0.0.1:0';
  const service = (name: string, type: 'tunnel' | 'router', metadata: object) => ({
    ...{ name, addr: '127.0.0.1:0', listener: { type: 'tcp' } },
    handler: { type, metadata: { entrypoint, ...metadata } },
  });
  const listed = Object.entries(rules).map(([hostname, endpoint]) => ({ hostname, endpoint }));
  const sd = variant === 'built-in' ? {} : { sd: 'nodes' };
  return {
    services: [
      service('svc-tun', 'tunnel', {
        ...{ ingress: 'names', 'entrypoint.id': ids.public, 'tunnel.ttl': '1s' },
        ...sd,
      }),
      service('svc-rt', 'router', {
        ...{ ingress: 'names', router: 'routes', 'sd.renewInterval': '1s' },
        ...sd,
      }),
      service('away-tun', 'tunnel', { ingress: 'listed' }),
      service('away-rt', 'router', { router: 'listed' }),
    ],
    ingresses: [
      { name: 'listed', rules: listed },
      { name: 'names', ...(plugins ? { plugin: plugins.block('ingress') } : { rules: listed }) },
    ],
    routers: [
      { name: 'listed', routes },
      { name: 'routes', ...(plugins ? { plugin: plugins.block('router') } : { routes }) },
    ],
    ...(plugins && { sds: [{ name: 'nodes', plugin: plugins.block('sd') }] }),
  };
}
