import { isIP } from 'node:net';
import { formatAddress } from '../../core/address.ts';
import { plainHost } from '../../core/bind/bind-address.ts';
import { acceptBoundDatagrams } from '../../core/bind/bound-datagrams.ts';
import { acceptBoundStreams } from '../../core/bind/bound-streams.ts';
import type { VisitorHead } from '../../core/bind/bound-streams.ts';
import type { Accept, Address, Conn, RemoteListening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { muxSettings } from '../../core/mux/options.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { askRelay } from '../../core/relay-messages/ask.ts';
import type { BindRequest, Context } from '../../core/way.ts';
import { malformed } from '../../wire/fault.ts';
import { parseRelayResponse, relayCommands, relayStatus, relayUdpFlag } from '../../wire/relay.ts';
import type { RelayResponse } from '../../wire/relay.ts';
import { relayNetworks } from '../../wire/relay-features.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import type { Parsed } from '../../wire/wire-reader.ts';
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
  const { network, address, peerTtlMs } = request;
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
  const bound = addressesOf(answer)[0] ?? address;
  const where = { node: options.node, bound, accept };
  return udp
    ? acceptBoundDatagrams(node, { ...where, peerTtlMs })
    : acceptBoundStreams(node, { ...where, mux: muxSettings(metadata, 1), parse: parseHead });
}

function parseHead(bytes: Buffer): Parsed<VisitorHead> | undefined {
  const parsed = parseRelayResponse(bytes);
  if (parsed === undefined) return undefined;
  const { message, length } = parsed;
  if (message.status !== relayStatus.ok)
    throw malformed('upstream', `a stream begins with the status ${String(message.status)}`);
  const [visitor, wanted] = addressesOf(message);
  // Of somebody with another name than an address nobody could say who it is.
  if (visitor === undefined || isIP(visitor.host) === 0)
    throw malformed('upstream', 'a stream does not say whose it is');
  return {
    message: {
      visitor: { ...visitor, host: plainHost(visitor.host) },
      ...(wanted !== undefined && { wanted }),
    },
    length,
  };
}

/** GOST's order: who comes, and where it wants to go. */
function addressesOf({ features }: RelayResponse): Address[] {
  return features.flatMap((feature) => (feature.type === 'addr' ? [feature.address] : []));
}
