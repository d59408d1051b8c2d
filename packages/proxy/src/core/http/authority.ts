import { headerValue } from '@sallyport/plugin/wire';
import type { Http1RequestHead } from '@sallyport/plugin/wire';
import { canonicalTarget, formatAddress, parseAuthority } from '../address.ts';
import type { Address } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import type { Seen } from '../route.ts';

/** Where a request goes that was sent to a server and not to a proxy, as far as it says so. */
export interface RequestAuthority {
  /** Canonical; undefined: it names no host. */
  readonly target: Address | undefined;
  /** The `Host` as it goes on. */
  readonly host: string;
  /** It is written for a proxy: CONNECT, or a target that is a whole URL. */
  readonly isForProxy: boolean;
  readonly seen: Seen;
}

const httpPort = 80;

/**
 * Reads where a request goes: what its target says where that is a URL (RFC 9112, section 3.2.2) or CONNECT's, else its
 * `Host`. Throws ProxyError with status 400 for what no host and port can be, and 501 for another scheme than `http`.
 */
export function requestAuthority({ method, target, headers }: Http1RequestHead): RequestAuthority {
  const isConnect = method === 'CONNECT';
  const url = isConnect ? null : /^([A-Za-z][A-Za-z\d+.-]*):\/\/([^/?#]*)([^#]*)(#?)/.exec(target);
  if (!isConnect && url === null && target !== '*' && !target.startsWith('/')) {
    throw refuse('malformedRequest', 400, 'the request target is neither a path nor a URL');
  }
  if (url !== null && !/^(?:http|ws)$/i.test(url[1]!)) {
    throw refuse('unsupported', 501, `the scheme ${url[1]!.slice(0, 20)} is not forwarded`);
  }
  if (target.includes('#')) throw refuse('malformedRequest', 400, 'a request target has no fragment (#)');
  const written = isConnect ? target : (url?.[2] ?? headerValue(headers, 'host') ?? '');
  const address =
    written === '' ? undefined : canonicalTarget(parseAuthority(written, isConnect ? undefined : httpPort));
  if (address === undefined && (isConnect || url !== null)) {
    throw refuse('malformedRequest', 400, 'the request target names no host');
  }
  const [path, query] = splitTarget(isConnect ? '' : (url?.[3] ?? target));
  return {
    target: address,
    host: written,
    isForProxy: isConnect || url !== null,
    seen: {
      protocol: 'http',
      host: address?.host ?? '',
      authority: address === undefined ? '' : formatAddress(address),
      method,
      path: normalPath(path),
      query,
      headers: pairs(headers),
    },
  };
}

/** Path and query, the latter with its question mark. */
export function splitTarget(target: string): [path: string, query: string] {
  const at = target.indexOf('?');
  return at < 0 ? [target, ''] : [target.slice(0, at), target.slice(at)];
}

/**
 * The one spelling of a path that rules see (RFC 3986, section 6.2.2): letters, digits and `-._~` are never
 * percent-encoded, and `.` and `..` are gone. What is sent on is as it was written.
 */
export function normalPath(path: string): string {
  if (!path.includes('%') && !path.includes('/.')) return path;
  const decoded = path.replace(/%([2-7][\dA-Fa-f])/g, (all, hex: string) => {
    const letter = String.fromCharCode(parseInt(hex, 16));
    return /[\w.~-]/.test(letter) ? letter : all;
  });
  if (!decoded.startsWith('/')) return decoded;
  const kept: string[] = [];
  const segments = decoded.split('/').slice(1);
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1;
    if (segment === '..') kept.pop();
    if (segment !== '.' && segment !== '..') kept.push(segment);
    else if (last) kept.push('');
  }
  return `/${kept.join('/')}`;
}

function pairs(headers: readonly string[]): (readonly [string, string])[] {
  const found: (readonly [string, string])[] = [];
  for (let i = 0; i < headers.length; i += 2) found.push([headers[i]!, headers[i + 1]!]);
  return found;
}

function refuse(code: 'malformedRequest' | 'unsupported', status: number, message: string): ProxyError {
  return new ProxyError(code, 'client', message, { status });
}
