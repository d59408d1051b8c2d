// Configurations of the two ends of tunnels, as docs/tunnels.md has them.
import { tunnels } from './scene.ts';
import type { TunnelName } from './scene.ts';

/** A client's way to its node. */
export interface ClientOptions {
  /** Where a node is; of several the first that can be reached. */
  readonly nodes: readonly string[];
  /** What it publishes: a service each, of the same name. */
  readonly names: readonly TunnelName[];
  /** What the connector is told beside the tunnel. */
  readonly metadata?: object;
  readonly auth?: object;
  /** It asks for the names of the tunnels, so that no rule has to be written. Default false. */
  readonly asks?: boolean;
}

/** Signs of life every second: whoever is not heard of for three is gone. Both ends need it: nobody answers signs of life. */
export const lively = { 'mux.keepaliveInterval': '1s', 'mux.keepaliveTimeout': '3s' };

/** A client that keeps tunnels to services of its machine. */
export function clientConfig({ nodes, names, metadata = {}, auth, asks = false }: ClientOptions): object {
  return {
    services: names.map((name) => {
      const type = name === 'dns' ? 'rudp' : 'rtcp';
      return {
        ...{ name, addr: asks ? `${tunnels[name].host}:0` : ':0' },
        ...{ handler: { type }, metadata: { dialTimeout: '2s' } },
        listener: { type, chain: name },
        forwarder: { nodes: [{ name: 'here', addr: tunnels[name].target }] },
      };
    }),
    chains: names.map((name) => ({ name, hops: [hop(nodes, name, { ...lively, ...metadata }, auth)] })),
  };
}

/** A client that visits tunnels, and lets others of its network do so: at these ports, for those tunnels. */
export function visitorConfig(
  nodes: readonly string[],
  ports: Partial<Record<TunnelName, number>>,
  auth?: object,
): object {
  const names = Object.keys(ports) as TunnelName[];
  return {
    services: names.map((name) => {
      const type = name === 'dns' ? 'udp' : 'tcp';
      return {
        ...{ name, addr: `:${String(ports[name]!)}`, handler: { type, chain: name } },
        listener: { type, ...(type === 'udp' && { metadata: { keepalive: true } }) },
        forwarder: { nodes: [{ name: 'there', addr: `${tunnels[name].host}:1` }] },
      };
    }),
    chains: names.map((name) => ({ name, hops: [hop(nodes, name, {}, auth)] })),
  };
}

function hop(nodes: readonly string[], name: TunnelName, metadata: object, auth?: object): object {
  return {
    selector: { strategy: 'fifo', maxFails: 1, failTimeout: '1s' },
    nodes: nodes.map((addr, index) => ({
      ...{ name: `node${String(index)}`, addr, dialer: { type: 'tcp' } },
      connector: {
        type: 'tunnel',
        ...(auth !== undefined && { auth }),
        metadata: { 'tunnel.id': tunnels[name].id, ...metadata },
      },
    })),
  };
}

/** Rules for these tunnels; those of the second list are private. */
export function rules(open: readonly TunnelName[], hidden: readonly TunnelName[] = []): object[] {
  return [
    ...open.map((name) => ({ hostname: tunnels[name].host, endpoint: tunnels[name].id })),
    ...hidden.map((name) => ({ hostname: tunnels[name].host, endpoint: `$${tunnels[name].id}` })),
  ];
}

/** A node beside others. */
export interface NodeOptions {
  /** `192.0.2.1`: its own. */
  readonly address: string;
  /** Where the plugin server is, and where Redis. */
  readonly plugin: string;
  readonly redis: string;
  /** Which of them keeps what nodes know of each other. */
  readonly sd: 'plugin' | 'redis';
  /** What it does where plugins cannot be asked. Default: the default of each. */
  readonly onError?: 'lastGood';
}

/** What a node tells the others, it tells anew after so long. */
export const renewMs = 1000;

/** A node with an entrypoint at port 80, which shares its tunnels with others. What nobody renews three times is forgotten. */
export function nodeConfig({ address, plugin: addr, redis, sd, onError }: NodeOptions): object {
  const plugin = { type: 'grpc', addr, ...(onError !== undefined && { onError }) };
  const metadata = {
    ...{ ...lively, entrypoint: `${address}:80`, ingress: 'names', sd: 'nodes' },
    'tunnel.ttl': `${String(renewMs)}ms`,
  };
  return {
    services: [
      { name: 'tunnels', addr: ':8443', listener: { type: 'tcp' }, handler: { type: 'tunnel', metadata } },
    ],
    ingresses: [{ name: 'names', plugin }],
    sds: [
      {
        name: 'nodes',
        ...(sd === 'plugin' ? { plugin } : { redis: { addr: redis, ttl: `${String(3 * renewMs)}ms` } }),
      },
    ],
  };
}
