/** What a connection's first bytes look like. `needMore`: what there is may still become several of them. */
export type Sniffed = 'tls' | 'http' | 'socks4' | 'socks5' | 'ssh' | 'redis' | 'unknown' | 'needMore';

/** The methods of RFC 9110 and of PATCH (5789) and WebDAV (4918, 3253, 5323), and the preface of HTTP/2 (9113, section 3.4). */
const httpPrefixes = [
  ...['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'],
  ...['PROPFIND', 'PROPPATCH', 'MKCOL', 'COPY', 'MOVE', 'LOCK', 'UNLOCK', 'REPORT', 'SEARCH'],
].map((method) => `${method} `);

const prefixes: readonly (readonly [string, Sniffed])[] = [
  ...httpPrefixes.map((prefix) => [prefix, 'http'] as const),
  ['PRI * HTTP/2.0\r\n', 'http'],
  ['SSH-2', 'ssh'],
  // A handshake record of TLS 1.0 to 1.3 (RFC 8446, section 5.1), or of SSL 3.
  ...[0, 1, 2, 3, 4].map((minor) => [`\x16\x03${String.fromCharCode(minor)}`, 'tls'] as const),
];

/** No more bytes than these are ever needed: a longer beginning is never `needMore`. */
export const maxSniffedBytes = Math.max(...prefixes.map(([prefix]) => prefix.length));

/** The first byte alone says it: the versions of SOCKS, and the types of a redis message (as in GOST). */
const firstBytes: Readonly<Record<string, Sniffed>> = {
  '\x04': 'socks4',
  '\x05': 'socks5',
  '*': 'redis',
  '+': 'redis',
  '-': 'redis',
  ':': 'redis',
  $: 'redis',
};

/**
 * Says what a client speaks by the first bytes that it sent, as GOST's auto handler and its sniffing do. It never waits for
 * more than {@link maxSniffedBytes}; how long to wait is for the caller, because some clients let the server speak first.
 */
export function sniffProtocol(bytes: Buffer): Sniffed {
  if (bytes.length === 0) return 'needMore';
  const start = bytes.toString('latin1', 0, maxSniffedBytes);
  const first = firstBytes[start.charAt(0)];
  if (first !== undefined) return first;
  let more = false;
  for (const [prefix, protocol] of prefixes) {
    if (start.startsWith(prefix)) return protocol;
    more ||= prefix.startsWith(start);
  }
  return more ? 'needMore' : 'unknown';
}
