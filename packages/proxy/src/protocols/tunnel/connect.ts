import { formatAddress } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { askRelay } from '../../core/relay-messages/ask.ts';
import { createRelayDatagrams } from '../../core/relay-messages/datagrams.ts';
import type { Context } from '../../core/way.ts';
import type { ConnectorMetadata } from './options.ts';
import { sourceOf, tunnelRequest } from './request.ts';

/**
 * Visits a tunnel: asks its node for a connection to what the target is at the tunnel's other end. The node's answer is waited
 * for; rejects with ProxyError as {@link Connector.connect}, and with `unsupported` where the file names no tunnel.
 */
export function visitTunnel(
  node: Conn,
  target: Address,
  options: ConnectorOptions,
  context: Context,
): Promise<Conn> {
  return visit(node, 'tcp', target, options, context);
}

/** As {@link visitTunnel}, for the datagrams of one target. */
export async function visitTunnelDatagrams(
  node: Conn,
  target: Address,
  options: ConnectorOptions,
  context: Context,
): Promise<Datagrams> {
  return createRelayDatagrams(await visit(node, 'udp', target, options, context), target);
}

async function visit(
  node: Conn,
  network: 'tcp' | 'udp',
  target: Address,
  options: ConnectorOptions,
  { signal, client }: Context,
): Promise<Conn> {
  const { tunnelId: tunnel, connectTimeoutMs: timeoutMs } = options.metadata as ConnectorMetadata;
  if (tunnel === undefined) {
    node.reset();
    throw new ProxyError(
      'unsupported',
      'self',
      'whoever visits a tunnel has to name it: `tunnel.id` is missing',
    );
  }
  const source = sourceOf(client, node.local);
  const request = tunnelRequest({ command: 'connect', network, tunnel, source, target }, options);
  const what = `${formatAddress(target)} in the tunnel ${tunnel}`;
  await askRelay(node, request, { what }, options, { signal, timeoutMs });
  return node;
}
