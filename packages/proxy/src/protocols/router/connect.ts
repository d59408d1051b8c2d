import { isIP } from 'node:net';
import type { Address, Conn } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { askRelay } from '../../core/relay-messages/ask.ts';
import type { Context, Way } from '../../core/way.ts';
import { relayCommands } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { relayNetworks } from '../../wire/relay-features.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import type { ConnectorMetadata } from './options.ts';
import { createSitePackets } from './site-packets.ts';

/**
 * Joins a router's network as the gateway that `gateway` names; its port says nothing. What is sent and received then are IP
 * packets. Rejects as {@link Connector.connectDatagrams}.
 */
export async function joinRouter(
  node: Conn,
  gateway: Address,
  options: ConnectorOptions,
  { signal }: Context,
): Promise<Datagrams> {
  const { connectTimeoutMs, routerId } = options.metadata as unknown as ConnectorMetadata;
  const asked = { what: `${routerId} as ${gateway.host}`, verb: 'let us join' };
  await askRelay(node, requestOf(node, gateway, options), asked, options, {
    signal,
    timeoutMs: connectTimeoutMs,
  });
  return createSitePackets(node, gateway);
}

/** Rejects: a router carries packets between sites, and no connections. */
export function connectRouter(node: Conn): Promise<Conn> {
  node.reset();
  const message = 'a router carries IP packets and no connections; a service with listener `tun` can use it';
  return Promise.reject(new ProxyError('unsupported', 'self', message));
}

/** Rejects: a site is one gateway. */
export function associateRouter(node: Conn, _under: Way): Promise<Datagrams> {
  node.reset();
  const message = 'a router carries the packets of one gateway, and no datagrams to any peer';
  return Promise.reject(new ProxyError('unsupported', 'self', message));
}

/** As GOST writes it: who, the network, where from, the gateway, the router. */
function requestOf(node: Conn, gateway: Address, { metadata, auth }: ConnectorOptions): RelayRequest {
  const { routerId } = metadata as unknown as ConnectorMetadata;
  const { local } = node;
  const features: RelayFeature[] = [
    { type: 'network', network: relayNetworks.ip },
    { type: 'addr', address: isIP(local.host) === 0 ? { host: '0.0.0.0', port: 0 } : local },
    { type: 'addr', address: { host: gateway.host, port: gateway.port } },
    { type: 'tunnel', id: routerId, flags: 0, weight: 0 },
  ];
  if (auth !== undefined) {
    const { username, password } = auth;
    features.unshift({ type: 'userAuth', username, password });
  }
  return { command: relayCommands.associate, flags: 0, features };
}
