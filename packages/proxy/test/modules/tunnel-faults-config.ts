// One proxy whose tunnels and routers each depend on one plugin behind a gate, and what the plugins answer when they do.
import type { ModuleKind } from '@sallyport/plugin';
import type { ProxyConfig } from '../../../../interop/gost/programs.ts';
import { ids, routerId } from './tunnel-ids.ts';
import type { Answers } from './plugins.ts';

/** Where a plugin stands: one of the services of a row. */
export const places = ['rules', 'nodes', 'routes', 'gateways', 'sites'] as const;
export type Place = (typeof places)[number];

/** Which module it is there. */
export const moduleAt: Readonly<Record<Place, ModuleKind>> = {
  rules: 'ingress',
  nodes: 'sd',
  routes: 'router',
  gateways: 'sd',
  sites: 'ingress',
};

/** What the plugins know; where others are is known only when the proxy runs. */
export interface Elsewhere {
  /** Entrypoint of the node that has the tunnel `away`. */
  tunnel: string;
  /** And of the router where gateways have joined that are not here. */
  gateway: string;
}

/** The gateway that a destination is behind. */
export function gatewayOf(destination: string): string {
  return `behind-${destination}`;
}

/** The destination that is a row's alone. */
export function destinationOf(row: number): string {
  return `10.2.${String(row >> 8)}.${String(row & 255)}`;
}

/** What plugins answer that can be asked. */
export function tunnelAnswers(elsewhere: Elsewhere): Answers {
  const node = 'eeeeeeee-0000-4000-8000-000000000002';
  return {
    ingress: {
      getRule: ({ host }) =>
        host.startsWith('web.test') ? ids.here : /^(site|behind)-/.test(host) ? routerId : undefined,
      setRule: () => true,
    },
    sd: {
      register: () => undefined,
      renew: () => undefined,
      deregister: () => undefined,
      get({ name }) {
        if (name === ids.away)
          return [{ id: ids.away, name, node, network: 'tcp', address: elsewhere.tunnel }];
        if (name.startsWith('behind-'))
          return [{ id: ids.away, name, node, network: 'udp', address: elsewhere.gateway }];
        return [];
      },
    },
    router: { getRoute: ({ destination }) => ({ network: destination, gateway: gatewayOf(destination) }) },
  };
}

/** Services are called `PLACE-ROW`; `away-tunnels` and `away-routes` are nodes that no plugin is asked for. */
export function tunnelFaultsConfig(
  rows: readonly { id: string; place: Place; block: object }[],
): ProxyConfig {
  const of = (place: Place) => rows.filter((row) => row.place === place);
  const plugins = (kind: ModuleKind) =>
    rows
      .filter(({ place }) => moduleAt[place] === kind)
      .map(({ id, block }) => ({ name: id, plugin: block }));
  const service = (name: string, type: 'tunnel' | 'router', metadata: object) => ({
    ...{ name, addr: '127.0.0.1:0', handler: { type, metadata }, listener: { type: 'tcp' } },
  });
  const entrypoint = '127.0.0.1:0';
  const rules = Object.entries({ 'here.test': ids.here, 'away.test': ids.away }).map(
    ([hostname, endpoint]) => ({ hostname, endpoint }),
  );
  return {
    services: [
      service('away-tunnels', 'tunnel', { entrypoint, ingress: 'rules', 'entrypoint.id': ids.public }),
      service('away-routes', 'router', { entrypoint, router: 'routes' }),
      ...of('rules').map(({ id }) =>
        service(id, 'tunnel', { entrypoint, ingress: id, 'entrypoint.id': ids.public }),
      ),
      ...of('nodes').map(({ id }) =>
        service(id, 'tunnel', { entrypoint, ingress: 'rules', sd: id, 'tunnel.ttl': '1s' }),
      ),
      ...of('routes').map(({ id }) => service(id, 'router', { router: id })),
      ...of('gateways').map(({ id }) =>
        service(id, 'router', { entrypoint, router: 'routes', sd: id, 'sd.renewInterval': '1s' }),
      ),
      ...of('sites').map(({ id }) => service(id, 'router', { router: 'routes', ingress: id })),
    ],
    ingresses: [{ name: 'rules', rules }, ...plugins('ingress')],
    sds: plugins('sd'),
    routers: [
      {
        name: 'routes',
        routes: rows.map((_row, index) => {
          const destination = destinationOf(index);
          return { dst: `${destination}/32`, gateway: gatewayOf(destination) };
        }),
      },
      ...plugins('router'),
    ],
  };
}
