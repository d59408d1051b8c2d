import { formatAddress } from '../../core/address.ts';
import { acceptBoundDatagrams } from '../../core/bind/bound-datagrams.ts';
import type { Accept, Conn, RemoteListening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { muxSettings } from '../../core/mux/options.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { askRelay } from '../../core/relay-messages/ask.ts';
import { receiveVisitors } from '../../core/relay-messages/visitors.ts';
import type { BindRequest, Context } from '../../core/way.ts';
import { relayCommands, relayUdpFlag } from '../../wire/relay.ts';
import { relayNetworks } from '../../wire/relay-features.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import type { ConnectorMetadata } from './options.ts';

/**
 * Asks a relay node to listen in our name; GOST's needs `bind: true`. Visitors come in streams of a mux, peers of datagrams in the
 * frames of GOST's UDP tunnel. Rejects as {@link Connector.bind}; with `unsupported` for datagrams at a port that the node may
 * choose, as nodes of ours take that for datagrams that we want to send.
 */
export async function bindRelay(
  node: Conn,
  request: BindRequest,
  accept: Accept,
  options: ConnectorOptions,
  { signal }: Context,
): Promise<RemoteListening> {
  const { network, address, peerTtlMs, problem } = request;
  const { connectTimeoutMs: timeoutMs, ...metadata } = options.metadata as ConnectorMetadata;
  const udp = network === 'udp';
  if (udp && address.port === 0) {
    node.reset();
    const message =
      'to listen for datagrams at a relay node a port has to be named; it takes 0 for something else';
    throw new ProxyError('unsupported', 'self', message);
  }
  const features: RelayFeature[] = [];
  if (udp) features.push({ type: 'network', network: relayNetworks.udp });
  if (options.auth !== undefined) features.push({ type: 'userAuth', ...options.auth });
  // An empty host is said in a way that every node reads.
  features.push({ type: 'addr', address: address.host === '' ? { ...address, host: '0.0.0.0' } : address });
  const what = `${udp ? 'datagrams' : 'connections'} at ${formatAddress(address)}`;
  const answer = await askRelay(
    node,
    { command: relayCommands.bind, flags: udp ? relayUdpFlag : 0, features },
    { what, verb: 'listen for' },
    options,
    { signal, timeoutMs },
  );
  const bound = answer.features.find((feature) => feature.type === 'addr')?.address ?? address;
  if (udp) return acceptBoundDatagrams(node, { address: bound, accept, peerTtlMs });
  const settings = muxSettings(metadata, 1);
  return receiveVisitors(node, { network, address: bound, settings, accept, problem, holdsPort: true });
}
