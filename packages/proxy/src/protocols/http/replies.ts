import { STATUS_CODES } from 'node:http';
import { formatHead } from '@sallyport/plugin/wire';
import type { ProxyError, ProxyErrorCode } from '../../core/errors.ts';

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
  noRoute: 502,
  nameNotFound: 502,
  dialFailed: 502,
  dialTimeout: 504,
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
function explain(error: ProxyError): string {
  switch (error.code) {
    case 'wrongCredentials':
    case 'couldNotAsk':
      return 'This proxy wants a user name and a password that it knows.';
    case 'internal':
      return 'The proxy failed; its log says more.';
    default:
      return `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`;
  }
}

/**
 * A whole reply of the proxy's own: a status, and for `HEAD` no more; else a short text for people, with the session's
 * id, under which the log says more. `close` announces that the connection ends.
 */
export function errorReply(
  error: ProxyError,
  status: number,
  session: string,
  { close, method }: { close: boolean; method: string | undefined },
): Buffer {
  const reason = STATUS_CODES[status] ?? 'Error';
  const body = Buffer.from(`${String(status)} ${reason}\n${explain(error)} (session ${session})\n`);
  const head = formatHead(`HTTP/1.1 ${String(status)} ${reason}`, [
    ...(status === 407 ? ['Proxy-Authenticate', 'Basic realm="sallyport", charset="UTF-8"'] : []),
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
