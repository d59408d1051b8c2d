import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { Address } from '../../core/conn.ts';

/**
 * A socket that is only ever given IP addresses: Node would ask the resolver for each of them, once a datagram. IPv6 sockets
 * carry IPv4 too unless `ipv6Only` is set.
 */
export function openSocket(host: string, { ipv6Only = false } = {}): Socket {
  const isSix = isIPv6(host);
  return createSocket({
    type: isSix ? 'udp6' : 'udp4',
    // Refused for an IPv4 socket.
    ...(isSix && { ipv6Only }),
    lookup: (address, _options, done) => {
      done(null, address, isIPv6(address) ? 6 : 4);
    },
  });
}

/** A peer as everybody else knows it: an IPv6 socket names IPv4 peers by their mapped address. */
export function plainAddress({
  address,
  port,
}: {
  readonly address: string;
  readonly port: number;
}): Address {
  return { host: address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, ''), port };
}
