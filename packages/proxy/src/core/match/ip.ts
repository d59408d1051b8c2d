import { isIPv6 } from 'node:net';

/**
 * An IP address as the number that it is: a `number` for IPv4, a `bigint` for IPv6, so that the family shows. IPv4-mapped
 * IPv6 is IPv4 here, as everywhere in the proxy.
 */
export type Ip = number | bigint;

/** The addresses that share the first `length` bits of `base`; all other bits of `base` are 0. */
export interface IpNetwork {
  readonly base: Ip;
  /** 0 to 32, or 0 to 128. */
  readonly length: number;
}

const mappedPrefix = 0xffffn;

/** Reads an address as the standard text forms have it; undefined for everything else, zones (`%eth0`) included. */
export function parseIp(text: string): Ip | undefined {
  const v4 = parseIPv4(text);
  if (v4 !== undefined) return v4;
  // A colon first: most of what is asked about are names.
  if (!text.includes(':') || text.includes('%') || !isIPv6(text)) return undefined;
  const bits = parseIPv6(text);
  return bits >> 32n === mappedPrefix ? Number(bits & 0xffffffffn) : bits;
}

/**
 * The address in what a peer is called: `1.2.3.4:5`, `[::1]:5`, a bare address, with or without a zone. Undefined for
 * anything else, such as the path of a unix socket.
 */
export function ipOfPeer(peer: string): Ip | undefined {
  const bracket = peer.startsWith('[') ? peer.indexOf(']') : -1;
  let host = bracket > 0 ? peer.slice(1, bracket) : peer;
  if (bracket < 0) {
    const colon = peer.indexOf(':');
    if (colon > 0 && peer.indexOf(':', colon + 1) < 0) host = peer.slice(0, colon);
  }
  const zone = host.indexOf('%');
  return parseIp(zone < 0 ? host : host.slice(0, zone));
}

/** The one spelling of an address: RFC 5952 for IPv6. The inverse of {@link parseIp}. */
export function formatIp(ip: Ip): string {
  if (typeof ip === 'number') return [ip >>> 24, (ip >>> 16) & 255, (ip >>> 8) & 255, ip & 255].join('.');
  const hex = ip.toString(16).padStart(32, '0');
  return new URL(`http://[${hex.match(/.{4}/g)!.join(':')}]`).hostname.slice(1, -1);
}

/**
 * Reads `10.0.0.0/8` or `fd00::/8`. Bits behind the length are ignored, as in GOST. A network of IPv4-mapped addresses is
 * one of IPv4. Undefined for what is no network.
 */
export function parseNetwork(text: string): IpNetwork | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const digits = text.slice(slash + 1);
  if (ip === undefined || !/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  let length = Number(digits);
  if (typeof ip === 'number' && text.includes(':')) {
    // Written as ::ffff:a.b.c.d/n: the first 96 bits are those that make it IPv4.
    if (length > 128) return undefined;
    if (length < 96) return networkOf(BigInt(ip) | (mappedPrefix << 32n), length);
    length -= 96;
  }
  return length <= widthOf(ip) ? networkOf(ip, length) : undefined;
}

/** The single address as a network. */
export function networkOfOne(ip: Ip): IpNetwork {
  return { base: ip, length: widthOf(ip) };
}

/**
 * The fewest networks that together are all addresses from `first` to `last`: at most 62 for IPv4 and 254 for IPv6.
 * Undefined when the two are of different families or in the wrong order.
 */
export function networksOfRange(first: Ip, last: Ip): readonly IpNetwork[] | undefined {
  if (typeof first !== typeof last || first > last) return undefined;
  const width = widthOf(first);
  const end = BigInt(last);
  const networks: IpNetwork[] = [];
  for (let at = BigInt(first); at <= end;) {
    // The largest block that begins here and does not reach beyond the end.
    let free = 0;
    while (free < width && ((at >> BigInt(free)) & 1n) === 0n && at + (1n << BigInt(free + 1)) - 1n <= end)
      free++;
    networks.push({ base: typeof first === 'number' ? Number(at) : at, length: width - free });
    at += 1n << BigInt(free);
  }
  return networks;
}

function networkOf(ip: Ip, length: number): IpNetwork {
  if (typeof ip === 'number') return { base: length === 0 ? 0 : (ip & (-1 << (32 - length))) >>> 0, length };
  const free = BigInt(128 - length);
  return { base: (ip >> free) << free, length };
}

function widthOf(ip: Ip): number {
  return typeof ip === 'number' ? 32 : 128;
}

function parseIPv4(text: string): number | undefined {
  if (text.length < 7 || text.length > 15) return undefined;
  let bits = 0;
  let octet = -1;
  let octets = 1;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 46) {
      if (octet < 0 || octets === 4) return undefined;
      bits = bits * 256 + octet;
      octet = -1;
      octets++;
      continue;
    }
    // A leading zero is octal to some and decimal to others, so it is neither.
    if (code < 48 || code > 57 || octet === 0) return undefined;
    octet = Math.max(octet, 0) * 10 + code - 48;
    if (octet > 255) return undefined;
  }
  return octets === 4 && octet >= 0 ? bits * 256 + octet : undefined;
}

/** Of a text that is an IPv6 address. */
function parseIPv6(text: string): bigint {
  let groups = text;
  const dot = text.indexOf('.');
  if (dot >= 0) {
    const colon = text.lastIndexOf(':');
    const v4 = parseIPv4(text.slice(colon + 1))!;
    groups = `${text.slice(0, colon + 1)}${(v4 >>> 16).toString(16)}:${(v4 & 0xffff).toString(16)}`;
  }
  const [head = '', tail] = groups.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = new Array<string>(8 - left.length - right.length).fill('0');
  const all = [...left, ...zeros, ...right];
  return BigInt(`0x${all.map((group) => group.padStart(4, '0')).join('')}`);
}
