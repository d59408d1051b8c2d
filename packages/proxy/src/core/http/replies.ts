import { STATUS_CODES } from 'node:http';
import { formatHead } from '@sallyport/plugin/wire';
import type { ProxyError, ProxyErrorCode } from '../errors.ts';

/** The status for each error, unless the error brings its own; undefined: nobody is left to be told. */
const statuses: Readonly<Record<ProxyErrorCode, number | undefined>> = {
  malformedRequest: 400,
  requestTooLarge: 431,
  unsupported: 501,
  handshakeTimeout: 408,
  clientClosed: undefined,
  wrongCredentials: 407,
  couldNotAsk: 407,
  forbidden: 403,
  tooManyRequests: 429,
  noRoute: 503,
  nameNotFound: 502,
  dialFailed: 502,
  dialTimeout: 504,
  upstreamRefused: 502,
  upstreamClosed: 502,
  upstreamTimeout: 504,
  badUpstreamReply: 502,
  idleTimeout: undefined,
  loop: 508,
  addressInUse: 500,
  listenFailed: 500,
  shuttingDown: 503,
  internal: 500,
};

/** The status that says to a client what went wrong, or undefined where it cannot be told. */
export function statusOf(error: ProxyError): number | undefined {
  return error.status ?? statuses[error.code];
}

/** What the client is told besides the status. What is no business of its own stays in the log. */
function explain(error: ProxyError, status: number): string {
  if (status === 407) return 'This proxy wants a user name and a password that it knows.';
  if (status === 401) return 'A user name and a password are wanted here.';
  switch (error.code) {
    case 'couldNotAsk':
      return 'Whoever decides about this could not be asked.';
    case 'internal':
      return 'The proxy failed; its log says more.';
    default:
      return `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`;
  }
}

/** How a proxy's own replies look. */
export interface ReplyOptions {
  /** The connection ends, and that is announced. */
  readonly close: boolean;
  /** Of the request, as far as it could be read. */
  readonly method: string | undefined;
  /** Whose credentials are wanted. Default `sallyport`. */
  readonly realm?: string | undefined;
  /** Further fields. */
  readonly fields?: readonly string[];
}

/**
 * A whole reply of the proxy's own: a status, and for `HEAD` no more; else a short text for people, with the session's
 * id, under which the log says more.
 */
export function errorReply(
  error: ProxyError,
  status: number,
  session: string,
  options: ReplyOptions,
): Buffer {
  const { close, method, realm = 'sallyport', fields = [] } = options;
  const reason = STATUS_CODES[status] ?? 'Error';
  const body = Buffer.from(`${String(status)} ${reason}\n${explain(error, status)} (session ${session})\n`);
  const challenge = `Basic realm="${realm.replace(/["\\]/g, '\\$&')}", charset="UTF-8"`;
  const head = formatHead(`HTTP/1.1 ${String(status)} ${reason}`, [
    ...(status === 407 ? ['Proxy-Authenticate', challenge] : []),
    ...(status === 401 ? ['WWW-Authenticate', challenge] : []),
    ...fields,
    'Content-Type',
    'text/plain; charset=utf-8',
    'Content-Length',
    String(body.length),
    'Cache-Control',
    'no-store',
    ...(close ? ['Connection', 'close'] : []),
  ]);
  return Buffer.concat([Buffer.from(head, 'latin1'), method === 'HEAD' ? Buffer.alloc(0) : body]);
}
