import { formatIp } from './ip.ts';

/** What the head of an IP packet says of who sent it and where it goes. */
export interface IpPacket {
  readonly version: 4 | 6;
  /** Addresses as RFC 5952 and four decimal numbers have them; an IPv4-mapped one stays what it is. */
  readonly source: string;
  readonly destination: string;
}

/**
 * A destination as a table's key, so that looking one up costs nothing that has to be collected: an IPv4 address is a number
 * from 0 to 2^32 - 1, an IPv6 address its 16 bytes as Latin-1 text.
 */
export type DestinationKey = number | string;

const ipv4HeadBytes = 20;
const ipv6HeadBytes = 40;

/** Reads the head of one whole packet; undefined for what {@link isIpPacket} says no to. */
export function parseIpPacket(bytes: Buffer): IpPacket | undefined {
  if (!isIpPacket(bytes, 0, bytes.length)) return undefined;
  return bytes[0]! >> 4 === 4
    ? { version: 4, source: formatIp(bytes.subarray(12, 16)), destination: formatIp(bytes.subarray(16, 20)) }
    : { version: 6, source: formatIp(bytes.subarray(8, 24)), destination: formatIp(bytes.subarray(24, 40)) };
}

/**
 * Whether the bytes from `from` to `to` are one IPv4 packet (RFC 791, section 3.1) or one IPv6 packet (RFC 8200, section 3) as
 * long as its head says. Jumbograms (RFC 2675) are none: they do not fit any frame.
 */
export function isIpPacket(bytes: Buffer, from: number, to: number): boolean {
  const length = to - from;
  if (length < ipv4HeadBytes) return false;
  const first = bytes[from]!;
  switch (first >> 4) {
    case 4: {
      const headBytes = (first & 15) * 4;
      return headBytes >= ipv4HeadBytes && headBytes <= length && bytes.readUInt16BE(from + 2) === length;
    }
    case 6:
      return length >= ipv6HeadBytes && bytes.readUInt16BE(from + 4) === length - ipv6HeadBytes;
    default:
      return false;
  }
}

/** Where the packet that begins at `from` goes. Only for what {@link isIpPacket} says yes to. */
export function destinationKey(bytes: Buffer, from: number): DestinationKey {
  return bytes[from]! >> 4 === 4
    ? bytes.readUInt32BE(from + 16)
    : bytes.toString('latin1', from + 24, from + ipv6HeadBytes);
}

/**
 * Whether packets to this destination are for the sender's own link, and routed by nobody: 224.0.0.0/24 (RFC 5771, section 4),
 * 255.255.255.255 (RFC 919), ff01::/16 and ff02::/16 whatever their flags (RFC 4291, section 2.7). Systems send them unasked.
 */
export function staysOnLink(key: DestinationKey): boolean {
  if (typeof key === 'number') return key >>> 8 === 0xe0_0000 || key === 0xffff_ffff;
  if (key.charCodeAt(0) !== 0xff) return false;
  const scope = key.charCodeAt(1) & 15;
  return scope === 1 || scope === 2;
}

/** The address that a key stands for, as text. */
export function formatDestinationKey(key: DestinationKey): string {
  if (typeof key === 'string') return formatIp(Buffer.from(key, 'latin1'));
  return `${String(key >>> 24)}.${String((key >>> 16) & 255)}.${String((key >>> 8) & 255)}.${String(key & 255)}`;
}

/**
 * A number that the packets of one conversation share: made of both addresses. Only for what {@link isIpPacket} says yes to.
 * Ports have no part in it, because fragments (RFC 791, section 2.3) show none.
 */
export function conversationOf(bytes: Buffer, from: number): number {
  const isFour = bytes[from]! >> 4 === 4;
  let mixed = 0;
  const to = from + (isFour ? ipv4HeadBytes : ipv6HeadBytes);
  for (let at = from + (isFour ? 12 : 8); at < to; at += 4)
    mixed = Math.imul(mixed ^ bytes.readInt32BE(at), 0x9e3779b1);
  // The upper bits are the well mixed ones.
  return (mixed ^ (mixed >>> 15)) >>> 0;
}
