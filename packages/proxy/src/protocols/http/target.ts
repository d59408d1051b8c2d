import { crc32 } from 'node:zlib';
import { headerValue } from '@sallyport/plugin/wire';
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
  return { kind: 'forward', address, path, host: hostOf(address) };
}

/**
 * The same request with the target that its `X-Gost-Target` or else its `Gost-Target` names, for both the address and the
 * `Host`. As in GOST port 80 is meant where none is written, and what is not encoded as GOST does is no name. Throws
 * ProxyError with status 400 where what is named is no host.
 */
export function gostTarget(
  { headers }: Pick<Http1RequestHead, 'headers'>,
  target: RequestTarget,
): RequestTarget {
  const written = ['x-gost-target', 'gost-target'].map((name) => headerValue(headers, name));
  const name = written.map(decodeGostTarget).find((one) => one !== undefined);
  if (name === undefined) return target;
  const address = canonicalTarget(parseAuthority(name, 80));
  return { ...target, address, host: target.kind === 'tunnel' ? '' : hostOf(address) };
}

/** Base64url of the name's CRC-32, big-endian, and of the name in base64url once more (GOST v2 has it so). */
function decodeGostTarget(written = ''): string | undefined {
  if (!/^[\w-]{6,}$/.test(written)) return undefined;
  const bytes = Buffer.from(written, 'base64url');
  const inner = bytes.toString('latin1', 4);
  const name = Buffer.from(/^[\w-]+$/.test(inner) ? inner : '', 'base64url');
  return name.length > 0 && crc32(name) === bytes.readUInt32BE(0) ? name.toString() : undefined;
}

function hostOf({ host, port }: Address): string {
  const name = host.includes(':') ? `[${host}]` : host;
  return port === 80 ? name : `${name}:${String(port)}`;
}

function refuse(code: 'malformedRequest' | 'unsupported', status: number, message: string): ProxyError {
  return new ProxyError(code, 'client', message, { status });
}
