import { bindAddress } from '../../core/bind/bind-address.ts';
import { serveDatagramVisitors } from '../../core/bind/datagram-visitors.ts';
import { serveStreamVisitors } from '../../core/bind/stream-visitors.ts';
import type { Address, Conn } from '../../core/conn.ts';
import type { ProxyError } from '../../core/errors.ts';
import { muxSettings } from '../../core/mux/options.ts';
import type { Session } from '../../core/session.ts';
import { formatRelayResponse, relayStatus } from '../../wire/relay.ts';
import type { HandlerMetadata } from './options.ts';

/** What BIND is served with. */
export interface RelayBind {
  readonly network: 'tcp' | 'udp';
  /** As the client wrote it; undefined: it leaves address and port to us. */
  readonly address: Address | undefined;
  readonly metadata: HandlerMetadata;
  /** Told when the client has been told where is listened. */
  readonly granted: () => void;
}

/**
 * Serves BIND of the relay protocol: a socket of this machine for as long as the client's connection lasts. Connections come to the
 * client in streams of a mux, each of which begins with an answer that holds the visitor's address; datagrams come in the frames
 * of GOST's UDP tunnel. Resolves with what broke the client's connection. Rejects with ProxyError `malformedRequest`, and as
 * {@link Session.bind}.
 */
export async function serveRelayBind(
  conn: Conn,
  session: Session,
  { network, address, metadata, granted: told }: RelayBind,
): Promise<ProxyError | undefined> {
  const at = bindAddress(address ?? { host: '', port: 0 });
  const granted = async (bound: Address) => {
    await conn.write(withAddress(bound));
    told();
  };
  if (network === 'udp') return serveDatagramVisitors(conn, session, { address: at, granted });
  return serveStreamVisitors(conn, session, {
    address: at,
    mux: muxSettings(metadata, 1),
    granted,
    headOf: withAddress,
  });
}

function withAddress(address: Address): Buffer {
  return formatRelayResponse(relayStatus.ok, [{ type: 'addr', address }]);
}
