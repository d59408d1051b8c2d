import type { Address, Conn } from '../conn.ts';
import type { Datagrams } from '../datagrams.ts';
import { createFramedDatagrams } from '../framed-datagrams.ts';
import { formatRelayDatagram, parseRelayDatagram } from '../../wire/relay.ts';

/** The datagrams of one peer in a connection, which from now on belongs to them. */
export function createRelayDatagrams(conn: Conn, peer: Address): Datagrams {
  return createFramedDatagrams(conn, {
    parse(bytes) {
      const parsed = parseRelayDatagram(bytes);
      return parsed && { message: { address: peer, data: parsed.message }, length: parsed.length };
    },
    format: (data) => formatRelayDatagram(data),
    remote: peer,
  });
}
