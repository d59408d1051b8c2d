import { isIP } from 'node:net';
import { formatAddress } from '../address.ts';
import type { Accept, Address, Conn, RemoteListening } from '../conn.ts';
import { byAddress, createDatagramPeers } from '../datagram-peers.ts';
import { ProxyError } from '../errors.ts';
import { createUdpTunnel } from '../udp-tunnel.ts';
import { plainHost } from './bind-address.ts';

/** How peers come from a node. */
export interface BoundDatagramsOptions {
  readonly node: Address;
  /** Where the node listens. */
  readonly bound: Address;
  readonly accept: Accept;
  /** As in {@link BindRequest}. */
  readonly peerTtlMs?: number | undefined;
}

/**
 * A listener for datagrams at a node, which brings them in the frames of GOST's UDP tunnel, each with the address of the peer that
 * it is from: each peer is one end, for as long as it is not silent. They all end with the listener, also when it is closed,
 * because the node has no way to know that nobody new is wanted.
 */
export function acceptBoundDatagrams(conn: Conn, options: BoundDatagramsOptions): RemoteListening {
  const { node, bound, accept, peerTtlMs } = options;
  let isClosed = false;
  let broken: ProxyError | undefined;
  const tunnel = createUdpTunnel(conn, 'upstream', (error) => (broken = error));
  const peers = createDatagramPeers({
    ...byAddress,
    local: bound,
    send: (data, to: Address) => tunnel.send(data, to),
    accept,
    // As on any network.
    dropped: () => undefined,
    ...(peerTtlMs !== undefined && { ttlMs: peerTtlMs }),
  });
  tunnel.receive((data, { host, port }) => {
    // Of a peer with another name than its address nobody could say who it is.
    if (isIP(host) !== 0) peers.take(data, { host: plainHost(host), port });
  });
  const lost = new Promise<ProxyError>((resolve) => {
    void tunnel.closed.then(() => {
      peers.close();
      if (isClosed) return;
      const message = `the node ${formatAddress(node)} ended the listener at UDP ${formatAddress(bound)}`;
      resolve(broken ?? new ProxyError('upstreamClosed', 'upstream', message));
    });
  });
  return {
    address: bound,
    lost,
    close() {
      isClosed = true;
      peers.close();
      tunnel.close();
      return Promise.resolve();
    },
  };
}
