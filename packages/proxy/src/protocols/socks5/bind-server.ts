import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { bindAddress } from '../../core/bind/bind-address.ts';
import { serveDatagramVisitors } from '../../core/bind/datagram-visitors.ts';
import { serveStreamVisitors } from '../../core/bind/stream-visitors.ts';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { muxSettings } from '../../core/mux/options.ts';
import type { Session } from '../../core/session.ts';
import { plainHost } from '../../core/socket-conn.ts';
import { formatSocks5Reply, socks5Codes, socks5Commands } from '../../wire/socks5.ts';
import type { Socks5Request } from '../../wire/socks5.ts';
import { serveOneVisitor } from './one-visitor.ts';
import type { HandlerMetadata } from './options.ts';

/** What a bind is served with. */
export interface Socks5Bind {
  /** BIND, MUX-BIND, or UDP-TUN with a port. */
  readonly request: Socks5Request;
  readonly metadata: HandlerMetadata;
  /** Told when the client has been told where is listened. */
  readonly granted: () => void;
}

/**
 * Serves what of SOCKS5 listens at this machine for as long as the client's connection lasts. BIND (RFC 1928, section 4) takes one
 * connection, which goes on in the client's own. GOST's MUX-BIND takes many, each in a stream of a mux that begins with an answer
 * which holds the visitor's address, unless `comp` is true; its UDP-TUN takes datagrams, in frames. Resolves with what broke
 * the client's connection. Rejects with ProxyError `malformedRequest` or `unsupported`, and as {@link Session.bind}.
 */
export async function serveSocks5Bind(
  conn: Conn,
  session: Session,
  { request, metadata, granted: told }: Socks5Bind,
): Promise<ProxyError | undefined> {
  const { command, address } = request;
  const granted = async (bound: Address) => {
    await conn.write(formatSocks5Reply(socks5Codes.succeeded, reachable(bound, conn.local, metadata)));
    told();
  };
  if (command === socks5Commands.udpTunnel)
    return serveDatagramVisitors(conn, session, { address: bindAddress(address), granted });
  if (command === socks5Commands.bind)
    return serveOneVisitor(conn, session, { ...placeOf(address, conn.local), granted });
  return serveStreamVisitors(conn, session, {
    address: bindAddress(address),
    mux: muxSettings(metadata, 1),
    granted,
    headOf: (visitor) =>
      metadata.comp === true ? undefined : formatSocks5Reply(socks5Codes.succeeded, visitor),
  });
}

/** What a client is told: where others reach us, as far as that can be known. */
function reachable(
  { host, port }: Address,
  local: Address,
  { publicAddr }: HandlerMetadata,
): Address | undefined {
  const isAny = host === '0.0.0.0' || host === '::';
  const known = publicAddr ?? (isAny ? local.host : host);
  return { host: isIP(known) === 0 ? host : known, port };
}

/**
 * Where BIND listens, and for whom. By RFC 1928 the address of the request is that of the host which is going to connect; GOST takes
 * it for the one to listen at. What this machine has is the latter, whatever else is the former.
 */
function placeOf(address: Address, local: Address): { address: Address; from?: string } {
  const host = plainHost(address.host);
  if (isIP(host) === 0) {
    const message = `BIND cannot tell who ${JSON.stringify(host)} is; an IP address has to be named`;
    throw new ProxyError('unsupported', 'client', message);
  }
  if (host === '0.0.0.0' || host === '::' || isOurs(host)) return { address: bindAddress(address) };
  return { address: bindAddress({ host: isIP(local.host) === 0 ? '' : local.host, port: 0 }), from: host };
}

function isOurs(host: string): boolean {
  if (host.startsWith('127.')) return true;
  return Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === host));
}
