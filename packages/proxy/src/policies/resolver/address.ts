import { isIP } from 'node:net';
import { canonicalTarget, formatAddress } from '../../core/address.ts';
import { ProxyError } from '../../core/errors.ts';
import { didYouMean } from '../../schema/nearest.ts';

/** How a nameserver is spoken to. `dot` in a file is another word for `tls`. */
export type NameserverScheme = 'udp' | 'tcp' | 'tls' | 'https';

/** Where a nameserver is. */
export interface NameserverAddress {
  readonly scheme: NameserverScheme;
  /** Without brackets, in the one spelling that {@link canonicalTarget} makes of it. */
  readonly host: string;
  readonly port: number;
  /** `https` only: path and query. */
  readonly path: string;
  /** For people: `tls://dns.example:853`. Never holds the query, which may be a credential. */
  readonly text: string;
}

/**
 * The port where none is written. GOST takes 53 for all of them, where nothing speaks TLS; these are the ports of RFC 7858,
 * section 3.1 and RFC 8484. Who writes 53 gets 53.
 */
const defaultPorts = { udp: 53, tcp: 53, tls: 853, https: 443 } as const;

const schemes = ['udp', 'tcp', 'tls', 'dot', 'https'] as const;

/**
 * Reads GOST's `addr` of a nameserver: `1.1.1.1`, `1.1.1.1:53`, `[::1]:53`, `::1`, `udp://…` (which is meant without a
 * scheme), `tcp://…`, `tls://…` or `dot://…`, and `https://host/path`. Throws TypeError with a sentence about what is
 * wrong, which never repeats what may be a credential.
 */
export function parseNameserver(written: string): NameserverAddress {
  const match = /^(?:([A-Za-z][A-Za-z\d+.-]*):\/\/)?([^/?#]*)([^#]*)(#.*)?$/.exec(written.trim());
  if (match === null) throw new TypeError('is no address');
  const [, word = 'udp', authority, path, fragment] = match as unknown as [string, ...(string | undefined)[]];
  const scheme = schemeOf(word.toLowerCase());
  if (authority!.includes('@')) {
    throw new TypeError('holds credentials, which no nameserver is asked with here');
  }
  if (scheme !== 'https' && path !== '' && path !== '/') {
    throw new TypeError(`has a path, which only https:// has`);
  }
  if (fragment !== undefined) throw new TypeError('has a fragment (`#…`), which is never sent');
  // A path goes into the request as it is.
  if (!/^[\x21-\x7e]*$/.test(path!)) throw new TypeError('has a path with characters that a URL cannot hold');
  const { host, port } = hostAndPort(authority!, defaultPorts[scheme]);
  const whole = scheme === 'https' && !path!.startsWith('/') ? `/${path!}` : path!;
  const at =
    scheme === 'https' && port === 443
      ? formatAddress({ host, port }).slice(0, -4)
      : formatAddress({ host, port });
  const shown = scheme === 'https' ? whole.replace(/\?.*$/, '') : '';
  return { scheme, host, port, path: scheme === 'https' ? whole : '', text: `${scheme}://${at}${shown}` };
}

function schemeOf(word: string): NameserverScheme {
  const found = schemes.find((candidate) => candidate === word);
  if (found !== undefined) return found === 'dot' ? 'tls' : found;
  throw new TypeError(`has an unknown scheme${didYouMean(word, schemes)}; served: ${schemes.join(', ')}`);
}

function hostAndPort(authority: string, defaultPort: number): { host: string; port: number } {
  // An IPv6 address without brackets can only be meant without a port.
  const match =
    isIP(authority) === 6
      ? [authority, authority]
      : /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(authority);
  if (match === null)
    throw new TypeError('is no host and port; write `1.1.1.1:53`, `[::1]:53` or `tls://name`');
  const host = match[1] ?? match[2]!;
  if (authority.startsWith('[') && isIP(host) !== 6)
    throw new TypeError('holds no IPv6 address in its brackets');
  if (host === '') throw new TypeError('names no host');
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  if (port < 1 || port > 65535) throw new TypeError('has a port that is not between 1 and 65535');
  try {
    return canonicalTarget({ host, port });
  } catch (cause) {
    if (!(cause instanceof ProxyError)) throw cause;
    throw new TypeError('names a host that is neither a name nor an address', { cause });
  }
}
