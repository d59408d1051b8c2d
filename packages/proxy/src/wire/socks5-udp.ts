import { malformed, unsayable } from './fault.ts';
import type { WireSide } from './fault.ts';
import { formatSocksAddress, parseSocksAddress } from './socks-address.ts';
import type { SocksAddress } from './socks-address.ts';
import type { Parsed } from './wire-reader.ts';

/** A datagram on its way through a SOCKS5 relay. To the relay `address` is where it goes, from the relay where it came from. */
export interface Socks5Datagram {
  readonly address: SocksAddress;
  readonly data: Buffer;
}

/** A datagram with the header of RFC 1928, section 7. `fragment` other than 0: it is a piece of one, and the caller drops it. */
export interface Socks5UdpDatagram extends Socks5Datagram {
  readonly fragment: number;
}

/** What GOST writes in the place of FRAG in a frame. It does not look at it itself, and older versions write 0. */
const tunnelFlag = 0xff;

const maxDataBytes = 0xffff;

/** Reads a UDP datagram, whole as it came. Throws `malformedRequest` or `badUpstreamReply` for what is no such datagram. */
export function parseSocks5Datagram(bytes: Buffer, side: WireSide): Socks5UdpDatagram {
  const fragment = bytes[2];
  if (fragment === undefined) throw malformed(side, 'the datagram is shorter than its header');
  if (bytes[0] !== 0 || bytes[1] !== 0)
    throw malformed(side, 'the reserved bytes of the datagram are not zero');
  const address = parseSocksAddress(bytes.subarray(3), side);
  if (address === undefined) throw malformed(side, 'the datagram is shorter than its header');
  return { fragment, address: address.message, data: bytes.subarray(3 + address.length) };
}

/** Writes what {@link parseSocks5Datagram} reads, as one piece. How much a datagram can carry is for the socket to say. */
export function formatSocks5Datagram({ address, data }: Socks5Datagram): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0]), formatSocksAddress(address), data]);
}

/**
 * Reads a frame of GOST's UDP tunnel from a stream: RSV is the length of the data, FRAG is 0xFF, then address and data. At
 * most 65,797 bytes. Throws `malformedRequest` or `badUpstreamReply` where the stream is out of step.
 */
export function parseSocks5Frame(bytes: Buffer, side: WireSide): Parsed<Socks5Datagram> | undefined {
  const flag = bytes[2];
  if (flag === undefined) return undefined;
  if (flag !== tunnelFlag && flag !== 0) {
    throw malformed(side, `a frame of the UDP tunnel has the flag ${String(flag)} instead of 255`);
  }
  const address = parseSocksAddress(bytes.subarray(3), side);
  if (address === undefined) return undefined;
  const from = 3 + address.length;
  const length = from + bytes.readUInt16BE(0);
  if (bytes.length < length) return undefined;
  return { message: { address: address.message, data: bytes.subarray(from, length) }, length };
}

/**
 * Writes what {@link parseSocks5Frame} reads. Throws `unsupported` for more than 65,535 bytes, and for none: GOST takes the
 * length 0 for "all that has come", and what follows in the stream would be lost with it.
 */
export function formatSocks5Frame({ address, data }: Socks5Datagram): Buffer {
  if (data.length === 0 || data.length > maxDataBytes) {
    throw unsayable(`a datagram of ${String(data.length)} bytes cannot be sent through a UDP tunnel`);
  }
  const head = Buffer.from([data.length >> 8, data.length & 255, tunnelFlag]);
  return Buffer.concat([head, formatSocksAddress(address), data]);
}
