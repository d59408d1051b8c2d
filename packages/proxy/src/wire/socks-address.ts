import { isUtf8 } from 'node:buffer';
import { malformed, notServed, unsayable } from './fault.ts';
import type { WireSide } from './fault.ts';
import { formatIp, parseIp } from './ip.ts';
import type { Parsed } from './wire-reader.ts';

/** A host (a name, or an IP address without brackets) and a port, as the peer wrote them: nothing here is canonical yet. */
export interface SocksAddress {
  readonly host: string;
  readonly port: number;
}

const ipv4 = 1;
const domain = 3;
const ipv6 = 4;

const maxNameBytes = 255;

/** The longest address: kind, length, a name of 255 bytes, port. */
export const maxSocksAddressBytes = 1 + 1 + maxNameBytes + 2;

/**
 * Reads ATYP, address and port (RFC 1928, section 5) from the first byte on; undefined while they are not whole. Port 0 is
 * given as it is: what it means depends on the request. Throws `malformedRequest` or `badUpstreamReply` for an empty
 * name and one that no host can have, `unsupported` for another kind of address that a client asks for.
 */
export function parseSocksAddress(bytes: Buffer, side: WireSide): Parsed<SocksAddress> | undefined {
  const kind = bytes[0];
  if (kind === undefined) return undefined;
  const nameLength = kind === domain ? bytes[1] : 0;
  if (nameLength === undefined) return undefined;
  let from = 1;
  let hostLength: number;
  switch (kind) {
    case ipv4:
      hostLength = 4;
      break;
    case ipv6:
      hostLength = 16;
      break;
    case domain:
      from = 2;
      hostLength = nameLength;
      break;
    default:
      throw notServed(side, `${String(kind)} is no kind of address that SOCKS5 has`);
  }
  if (kind === domain && hostLength === 0) throw malformed(side, 'the name of the host is empty');
  const end = from + hostLength;
  if (bytes.length < end + 2) return undefined;
  const written = bytes.subarray(from, end);
  const host = kind === domain ? parseHostName(written, side) : formatIp(written);
  return { message: { host, port: bytes.readUInt16BE(end) }, length: end + 2 };
}

/** Writes what {@link parseSocksAddress} reads; IP addresses in their own form. Throws `unsupported` for what has none. */
export function formatSocksAddress({ host, port }: SocksAddress): Buffer {
  const ip = parseIp(host);
  const name = ip === undefined ? formatHostName(host) : ip;
  const head = ip === undefined ? [domain, name.length] : [ip.length === 4 ? ipv4 : ipv6];
  return Buffer.concat([Buffer.from(head), name, formatPort(port)]);
}

/**
 * Reads the name of a host. It is UTF-8 without spaces and control characters, which is all that can be said before it is
 * made canonical; some clients leave it to the proxy to encode names in other scripts.
 */
export function parseHostName(bytes: Buffer, side: WireSide): string {
  if (!isUtf8(bytes)) throw malformed(side, 'the name of the host is not UTF-8');
  // Anything else in a name would reach logs and rules first.
  if (bytes.some((byte) => byte <= 0x20 || byte === 0x7f)) {
    throw malformed(side, 'the name of the host holds a space or a control character');
  }
  return bytes.toString();
}

/** Writes the name of a host, at most 255 bytes of UTF-8. Throws `unsupported` for what no name can be. */
export function formatHostName(host: string): Buffer {
  const name = Buffer.from(host);
  if (name.length === 0) throw unsayable('an empty host cannot be asked for');
  if (name.length > maxNameBytes) {
    throw unsayable(`a host of ${String(name.length)} bytes cannot be asked for; SOCKS has room for 255`);
  }
  if (name.some((byte) => byte <= 0x20 || byte === 0x7f) || host.includes('%')) {
    throw unsayable(`the host ${JSON.stringify(host)} cannot be asked for`);
  }
  return name;
}

/** Writes a port, 0 to 65535. Throws `unsupported` for anything else. */
export function formatPort(port: number): Buffer {
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw unsayable(`${String(port)} is no port`);
  return Buffer.from([port >> 8, port & 255]);
}
