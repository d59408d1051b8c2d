import { isIP } from 'node:net';
import { formatAddress } from '../address.ts';
import type { Accept, Address, Conn, RemoteListening } from '../conn.ts';
import { byAddress, createDatagramPeers } from '../datagram-peers.ts';
import { ProxyError } from '../errors.ts';
import { plainHost } from '../socket-conn.ts';
import { createUdpTunnel } from '../udp-tunnel.ts';

/** How peers come from a node. */
export interface BoundDatagramsOptions {
  /** Where the node listens: what peers have as their local address. */
  readonly address: Address;
  readonly accept: Accept;
  /** As in {@link BindRequest}. */
  readonly peerTtlMs?: number | undefined;
}

/**
 * A listener for datagrams at a node, which brings them in the frames of GOST's UDP tunnel, each with the address of the peer that
 * it is from: each peer is one end, for as long as it is not silent. They all end with the listener, also when it is closed,
 * because the node has no way to know that nobody new is wanted.
 */
export function acceptBoundDatagrams(node: Conn, options: BoundDatagramsOptions): RemoteListening {
  const { address, accept, peerTtlMs } = options;
  let isClosed = false;
  let broken: ProxyError | undefined;
  const tunnel = createUdpTunnel(node, 'upstream', (error) => (broken = error));
  const peers = createDatagramPeers({
    ...byAddress,
    local: address,
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
      const message = `the node ${formatAddress(node.remote)} does not listen for us any more`;
      const { code, at } = broken ?? { code: 'upstreamClosed', at: 'upstream' };
      const why = broken === undefined ? 'it ended the connection' : broken.message;
      resolve(new ProxyError(code, at, `${message}: ${why}`, { cause: broken, retryable: true }));
    });
  });
  return {
    address,
    lost,
    close() {
      isClosed = true;
      peers.close();
      tunnel.close();
      return Promise.resolve();
    },
  };
}
