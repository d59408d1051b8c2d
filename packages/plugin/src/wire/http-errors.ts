import { STATUS_CODES } from 'node:http';
import { PluginError } from '../errors.ts';
import type { PluginErrorCode } from '../errors.ts';
import type { Endpoint } from './endpoint.ts';
import type { RawHeaders } from './grpc.ts';
import { formatAddress } from './socket-error.ts';

const maxQuotedLength = 200;

/**
 * The error for an answer whose status is not 200, which is the only one that GOST's plugins give. `headers` are in
 * lower case; `body` is what came of it, and its first words are quoted, as a server that refuses usually says why.
 */
export function statusError(
  endpoint: Endpoint,
  status: number,
  reason: string,
  headers: RawHeaders,
  body: Buffer | undefined,
): PluginError {
  const words = reason === '' ? (STATUS_CODES[status] ?? '') : reason;
  const answered = `${endpoint.url} answered ${quotable(`${status} ${words}`).trim()}`;
  const said = body === undefined ? '' : quotable(body.toString('utf8', 0, 4 * maxQuotedLength));
  const quote = said === '' ? '' : ` (${said})`;
  const { code, advice } = explainStatus(status, headers);
  // Go's and nginx's words for a plain request on a TLS port.
  if (status === 400 && endpoint.tls === undefined && /\bHTTPS (server|port)\b/.test(said)) {
    const message = `${answered}: ${speaksTls(formatAddress(endpoint.connect))}${quote}`;
    return new PluginError(code, message, { endpoint: endpoint.url, httpStatus: status, headers });
  }
  return new PluginError(code, `${answered}${advice}${quote}`, {
    endpoint: endpoint.url,
    httpStatus: status,
    headers,
  });
}

function explainStatus(status: number, headers: RawHeaders): { code: PluginErrorCode; advice: string } {
  switch (status) {
    case 401:
    case 403:
      return { code: 'unauthenticated', advice: ': it does not take the token' };
    case 429:
      return { code: 'overloaded', advice: '' };
    case 502:
    case 503:
    case 504:
      return { code: 'unreachable', advice: '' };
    case 404:
      return { code: 'internal', advice: ': is the path right?' };
    default:
  }
  if (status >= 300 && status < 400) {
    const at = headers.indexOf('location');
    const to = at < 0 ? '' : ` (to ${quotable(headers[at + 1]!)})`;
    return { code: 'badReply', advice: `: redirect not followed${to}` };
  }
  if (status < 300) return { code: 'badReply', advice: ', and only 200 counts as an answer' };
  return { code: 'internal', advice: '' };
}

function speaksTls(at: string): string {
  return `${at} speaks TLS: write https:// in the address, or add the tls setting`;
}

/** One line of what a stranger sent, fit for a log. */
function quotable(text: string): string {
  const line = text.replace(/[\0-\x20\x7f-\x9f\u2028\u2029]+/g, ' ').trim();
  return line.length > maxQuotedLength ? `${line.slice(0, maxQuotedLength)}…` : line;
}

/** The error for bytes that are no HTTP/1 answer; `start` are the first of them, which may tell what is spoken there. */
export function garbageError(endpoint: Endpoint, start: Buffer, why: string, cause: unknown): PluginError {
  const at = formatAddress(endpoint.connect);
  const info = { cause, endpoint: endpoint.url };
  // A TLS alert (RFC 8446, section 5.1).
  if (start[0] === 0x15 && start[1] === 0x03 && endpoint.tls === undefined) {
    return new PluginError('badReply', speaksTls(at), info);
  }
  // A frame header of HTTP/2: SETTINGS or GOAWAY on stream 0 (RFC 9113, section 4.1).
  const type = start[3];
  if (start.length >= 9 && start[0] === 0 && (type === 4 || type === 7) && start.readUInt32BE(5) === 0) {
    const message = `${at} speaks HTTP/2: if it is a gRPC plugin, leave out type: http`;
    return new PluginError('badReply', message, info);
  }
  return new PluginError('badReply', `${at} sent no proper HTTP/1.1 answer: ${why}`, info);
}
