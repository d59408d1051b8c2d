import { randomUUID } from 'node:crypto';
import type { Accept, Address, Conn, RemoteListening } from '../../core/conn.ts';
import { muxSettings } from '../../core/mux/options.ts';
import type { MuxSettings } from '../../core/mux/settings.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { askRelay } from '../../core/relay-messages/ask.ts';
import { receiveVisitors } from '../../core/relay-messages/visitors.ts';
import type { BindRequest, Context } from '../../core/way.ts';
import { parseIp } from '../../wire/ip.ts';
import type { ConnectorMetadata } from './options.ts';
import { sourceOf, tunnelRequest } from './request.ts';

/** GOST's, of both ends of a tunnel: one stream may have a megabyte under way. */
const maxStreamBytes = 1024 * 1024;

/** The tunnels of connectors whose configuration names none. */
const random = new WeakMap<object, string>();

/**
 * Registers a connector of a tunnel at a node: whoever visits the tunnel there is given to `accept`, with its own address as
 * `remote`, and what it wants as `wanted`. The host of the request is the name that the tunnel shall be public under; an
 * empty one leaves it to the node, and what it answers is the listener's address. The node says when a visitor that sends
 * datagrams is gone: `peerTtlMs` changes nothing. Rejects as {@link Connector.bind}.
 */
export async function registerTunnel(
  node: Conn,
  { network, address, problem }: BindRequest,
  accept: Accept,
  options: ConnectorOptions,
  { signal }: Context,
): Promise<RemoteListening> {
  const metadata = options.metadata as ConnectorMetadata;
  const tunnel = metadata.tunnelId ?? randomTunnel(metadata);
  const target = address.host === '' ? { ...address, host: '0.0.0.0' } : address;
  const source = sourceOf(node.local);
  const request = tunnelRequest({ command: 'bind', network, tunnel, source, target }, options);
  const { features } = await askRelay(
    node,
    request,
    { what: `the tunnel ${tunnel}`, verb: 'open' },
    options,
    {
      signal,
      timeoutMs: metadata.connectTimeoutMs,
    },
  );
  const answered = features.find((feature) => feature.type === 'addr')?.address ?? target;
  return receiveVisitors(node, {
    network,
    address: answered,
    name: nameOf(tunnel, network, answered),
    settings: settingsOf(metadata),
    accept,
    problem,
  });
}

/** The mux of a tunnel, on either side. */
export function settingsOf(metadata: ConnectorMetadata): MuxSettings {
  return {
    ...muxSettings(metadata, 2),
    maxStreamBytes: metadata.muxMaxStreamBytes || maxStreamBytes,
  };
}

/** One that nobody else has. It stays that of the connector, so that it is the same tunnel when the connection was lost. */
function randomTunnel(connector: object): string {
  let tunnel = random.get(connector);
  if (tunnel === undefined) {
    tunnel = randomUUID();
    random.set(connector, tunnel);
  }
  return tunnel;
}

/** For the log: the tunnel, and the name that it is public under where the node has said one. */
function nameOf(tunnel: string, network: 'tcp' | 'udp', { host }: Address): string {
  const what = network === 'tcp' ? `tunnel ${tunnel}` : `tunnel ${tunnel} for datagrams`;
  return parseIp(host) === undefined ? `${what} as ${host}` : what;
}
