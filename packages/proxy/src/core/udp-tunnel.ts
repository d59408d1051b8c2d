import { formatSocks5Frame, parseSocks5Frame } from '../wire/socks5-udp.ts';
import type { Conn } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import type { ProxyError } from './errors.ts';
import { createFramedDatagrams } from './framed-datagrams.ts';

/**
 * Datagrams in the frames of GOST's UDP tunnel over a connection, which from now on belongs to them. `side` is who is at the
 * other end. It closes when the peer half-closes, or breaks the framing, of which `broken` is told. An empty datagram is
 * dropped, because GOST could not read on after it.
 */
export function createUdpTunnel(
  conn: Conn,
  side: 'client' | 'upstream',
  broken?: (error: ProxyError) => void,
): Datagrams {
  return createFramedDatagrams(conn, {
    parse: (bytes) => parseSocks5Frame(bytes, side),
    format: (data, peer) =>
      data.length === 0 || peer === undefined ? undefined : formatSocks5Frame({ address: peer, data }),
    ...(broken !== undefined && { broken }),
  });
}
