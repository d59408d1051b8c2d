import type { Http1RequestHead } from '@sallyport/plugin/wire';
import { canonicalTarget, parseAuthority } from '../../core/address.ts';
import type { Address } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';

/** What a request line asks a proxy for. */
export interface RequestTarget {
  readonly kind: 'tunnel' | 'forward';
  /** Canonical. */
  readonly address: Address;
  /** What the origin is asked for, as it was written; empty for a tunnel. */
  readonly path: string;
  /** The `Host` that the origin is sent. */
  readonly host: string;
}

/**
 * Reads what a request to a proxy asks for (RFC 9112, section 3.2): `CONNECT host:port`, or any other method with
 * `http://host[:port]/path`. Throws ProxyError with status 400 for what is no such target, and 501 for another scheme.
 */
export function requestTarget({
  method,
  target,
}: Pick<Http1RequestHead, 'method' | 'target'>): RequestTarget {
  if (method === 'CONNECT') {
    const address = canonicalTarget(parseAuthority(target));
    return { kind: 'tunnel', address, path: '', host: '' };
  }
  const match = /^([A-Za-z][A-Za-z\d+.-]*):\/\/([^/?#]*)([^#]*)(#?)/.exec(target);
  if (match === null) {
    throw refuse(
      'malformedRequest',
      400,
      'this is a proxy: it is asked for "http://host/path" or CONNECT "host:port", not for a path alone',
    );
  }
  const [, scheme, authority, rest, fragment] = match;
  if (scheme!.toLowerCase() !== 'http') {
    const hint = scheme!.toLowerCase() === 'https' ? '; ask for a tunnel with CONNECT' : '';
    throw refuse('unsupported', 501, `the scheme ${scheme!.slice(0, 20)} is not forwarded${hint}`);
  }
  if (fragment !== '') throw refuse('malformedRequest', 400, 'a request target has no fragment (#)');
  const address = canonicalTarget(parseAuthority(authority!, 80));
  // Section 3.2.4: a client that means the server itself leaves the path out.
  const path = rest === '' ? (method === 'OPTIONS' ? '*' : '/') : rest!.startsWith('?') ? `/${rest!}` : rest!;
  const name = address.host.includes(':') ? `[${address.host}]` : address.host;
  return {
    kind: 'forward',
    address,
    path,
    host: address.port === 80 ? name : `${name}:${String(address.port)}`,
  };
}

function refuse(code: 'malformedRequest' | 'unsupported', status: number, message: string): ProxyError {
  return new ProxyError(code, 'client', message, { status });
}
