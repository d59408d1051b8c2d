import { isIP, isIPv4 } from 'node:net';
import { domainToASCII, domainToUnicode } from 'node:url';
import type { Address } from './conn.ts';
import { ProxyError } from './errors.ts';

/** The longest name that DNS can hold (RFC 1035, section 2.3.4), as text without the last dot. */
const maxNameLength = 253;

/** `host:port`, with brackets around an IPv6 address. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${String(port)}` : `${host}:${String(port)}`;
}

/** Whether both are spelled alike; of canonical addresses, whether they are one. */
export function isSameAddress(a: Address, b: Address): boolean {
  return a === b || (a.port === b.port && a.host === b.host);
}

/**
 * Reads `host:port` or `[v6]:port` as a client wrote it. Without a port `defaultPort` counts; without either it is a
 * `malformedRequest`. The host is not made canonical: that is {@link canonicalTarget}.
 */
export function parseAuthority(text: string, defaultPort?: number): Address {
  const match = /^(?:\[([^\]]*)\]|([^:[\]@]*))(?::(\d*))?$/.exec(text);
  if (match === null) throw malformed(text, 'is not a host and a port');
  const host = match[1] ?? match[2]!;
  if (match[1] !== undefined && isIP(match[1]) !== 6)
    throw malformed(text, 'holds no IPv6 address in its brackets');
  // "http://host:/" means the default port (RFC 3986, section 3.2.3).
  if (match[3] === undefined || match[3] === '') {
    if (defaultPort === undefined) throw malformed(text, 'names no port');
    return { host, port: defaultPort };
  }
  // Nine digits are far beyond any port and still exact.
  const port = match[3].length > 9 ? NaN : Number(match[3]);
  if (!(port >= 1 && port <= 65535)) throw malformed(text, 'has no valid port');
  return { host, port };
}

/**
 * The one spelling of a target: what every rule sees, and exactly what is dialled. IPv4-mapped IPv6 becomes IPv4, IPv6 is
 * shortened (RFC 5952), names are lower-cased and IDNA-mapped, the last dot goes, `0.0.0.0` and `::` become this host's
 * loopback address. Refused as `malformedRequest` are an empty host, other spellings of IPv4 addresses (`0x7f000002`,
 * `2130706434`, `127.2`, full-width digits), zones, and what is no host name.
 */
export function canonicalTarget({ host, port }: Address): Address {
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw malformed(host, 'has no valid port');
  return { host: canonicalHost(host), port };
}

function canonicalHost(written: string): string {
  const host = written.endsWith('.') ? written.slice(0, -1) : written;
  if (host === '') throw malformed(written, 'is empty where a host is needed');
  if (isIPv4(host)) return host === '0.0.0.0' ? '127.0.0.1' : host;
  if (host.includes(':')) return canonicalIPv6(host);
  // Looked at first, because the mapping takes the text for a URL's and drops what follows a slash.
  if (!/^[A-Za-z\d._\u0080-\u{10ffff}-]+$/u.test(host)) throw malformed(written, 'is no host name');
  const name = domainToASCII(host);
  // Whether a resolver reads such a name as an address depends on the resolver; so nobody gets to.
  if (/(^|\.)(\d+|0x[\da-f]*)\.?$/i.test(name) || /(^|\.)(\d+|0x[\da-f]*)$/i.test(host)) {
    throw malformed(written, 'is an IPv4 address in another spelling than four decimal numbers');
  }
  if (name.length > maxNameLength || !/^[a-z\d_-]{1,63}(\.[a-z\d_-]{1,63})*$/.test(name)) {
    throw malformed(written, 'is no host name');
  }
  // Newer Nodes let an encoded label pass that stands for nothing; rules that speak of names could not see what it is.
  if (name.includes('xn--') && /(^|\.)xn--/.test(domainToUnicode(name)))
    throw malformed(written, 'is no host name');
  return name;
}

function canonicalIPv6(host: string): string {
  if (host.includes('%')) throw malformed(host, 'has a zone, which is not served');
  if (isIP(host) !== 6) throw malformed(host, 'is no IPv6 address');
  const short = new URL(`http://[${host}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(short);
  if (mapped !== null) {
    const [high, low] = [parseInt(mapped[1]!, 16), parseInt(mapped[2]!, 16)];
    return canonicalHost([high >> 8, high & 255, low >> 8, low & 255].join('.'));
  }
  return short === '::' ? '::1' : short;
}

function malformed(text: string, what: string): ProxyError {
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  return new ProxyError('malformedRequest', 'client', `the target ${JSON.stringify(shown)} ${what}`, {
    status: 400,
  });
}
