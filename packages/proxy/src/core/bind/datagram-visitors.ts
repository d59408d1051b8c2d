import type { Address, Conn } from '../conn.ts';
import { byAddress, createDatagramPeers } from '../datagram-peers.ts';
import type { DatagramPeers } from '../datagram-peers.ts';
import type { ProxyError } from '../errors.ts';
import type { Session } from '../session.ts';
import { plainHost } from '../socket-conn.ts';
import { createUdpTunnel } from '../udp-tunnel.ts';
import { listenGranted } from './listen-granted.ts';

/** What the protocol says of a client that is listened for. */
export interface DatagramVisitorsOptions {
  /** As {@link Session.bind} takes it. */
  readonly address: Address;
  /** Tells the client where is listened. What it rejects with ends everything. */
  readonly granted: (bound: Address) => Promise<void>;
}

/**
 * As {@link serveStreamVisitors}, of datagrams: each peer is a visitor with a session of its own, and its datagrams stand in the
 * client's connection in the frames of GOST's UDP tunnel, with the peer's address. What the client sends to anybody who has not
 * come, or has gone, is dropped and counted; with GOST it would be sent.
 */
export async function serveDatagramVisitors(
  conn: Conn,
  session: Session,
  { address, granted }: DatagramVisitorsOptions,
): Promise<ProxyError | undefined> {
  const { listening, begin } = await listenGranted(
    session,
    { network: 'udp', address },
    granted,
    (peers: DatagramPeers<Address>, who) => peers.open(who),
  );
  let broken: ProxyError | undefined;
  const tunnel = createUdpTunnel(conn, 'client', (error) => (broken = error));
  const peers = createDatagramPeers({
    ...byAddress,
    local: listening.address,
    send: (data, to: Address) => tunnel.send(data, to),
    dropped: () => {
      session.countDropped();
    },
    // How long silence may last is known to who listens.
    ttlMs: Infinity,
  });
  tunnel.receive((data, { host, port }) => {
    peers.take(data, { host: plainHost(host), port });
  });
  begin(peers);
  const goOn = session.onStopping(() => {
    void listening.close().then(() => {
      tunnel.close();
    });
  });
  await tunnel.closed;
  goOn();
  peers.close();
  await listening.close();
  return broken;
}
