import { isIPv6 } from 'node:net';
import type { Endpoint } from './endpoint.ts';
import { PluginError } from '../errors.ts';
import type { PluginErrorCode } from '../errors.ts';

/** Where a socket error happened, as far as its words and its code depend on it. */
export interface SocketErrorPlace {
  /** `connect`: no byte of a call was written. `call`: a call was under way. */
  readonly during: 'connect' | 'call';
  /** As in PluginErrorInfo; always true for `connect`. */
  readonly unsent?: boolean;
}

/** The address that an endpoint's socket goes to, as a person would write it: `h:80`, `[::1]:80`, `unix:/p.sock`. */
export function formatAddress(connect: Endpoint['connect']): string {
  if ('path' in connect) return `unix:${connect.path}`;
  return isIPv6(connect.host) ? `[${connect.host}]:${connect.port}` : `${connect.host}:${connect.port}`;
}

/**
 * Makes an error of `node:net`, `node:tls` or the system into a PluginError whose message is a plain sentence. The
 * code is `unreachable`; `unauthenticated` where the server refuses our certificate; `overloaded` where this process
 * has no descriptor left.
 */
export function socketError(endpoint: Endpoint, cause: unknown, place: SocketErrorPlace): PluginError {
  const { code, message } = explain(endpoint, firstOf(cause), place);
  const unsent = place.during === 'connect' || (place.unsent ?? false);
  return new PluginError(code, message, { cause, endpoint: endpoint.url, unsent });
}

/** What Node puts on its errors, besides the message. */
interface SystemError {
  readonly code?: string;
  readonly message: string;
  /** OpenSSL's own words; the message has its file names and line numbers around them. */
  readonly reason?: string;
  readonly cert?: { readonly subjectaltname?: string; readonly subject?: { readonly CN?: string } };
}

/** A name with several addresses fails with one error for each of them; the first says enough. */
function firstOf(error: unknown): SystemError {
  if (error instanceof AggregateError && error.errors[0] instanceof Error)
    return error.errors[0] as SystemError;
  return error instanceof Error ? (error as SystemError) : { message: String(error) };
}

interface Explanation {
  readonly code: PluginErrorCode;
  readonly message: string;
}

function explain(endpoint: Endpoint, error: SystemError, place: SocketErrorPlace): Explanation {
  const at = formatAddress(endpoint.connect);
  const say = (message: string, code: PluginErrorCode = 'unreachable'): Explanation => ({ code, message });
  const isPath = 'path' in endpoint.connect;
  const name = 'host' in endpoint.connect ? endpoint.connect.host : '';
  switch (error.code) {
    case 'ECONNREFUSED':
      return say(`nothing listens at ${at} (connection refused)`);
    case 'ENOTFOUND':
      return say(`there is no such name: ${name}`);
    case 'EAI_AGAIN':
      return say(`the name ${name} could not be looked up: no DNS server answered`);
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EADDRNOTAVAIL':
      return say(`there is no route to ${at}`);
    case 'ETIMEDOUT':
      return say(`${at} did not answer`);
    case 'ENOENT':
      return say(isPath ? `there is no socket at ${at}` : error.message);
    case 'EACCES':
    case 'EPERM':
      return say(`this process may not connect to ${at} (permission denied)`);
    case 'EMFILE':
    case 'ENFILE':
      return say(`no connection to ${at} could be opened: too many open files (see ulimit -n)`, 'overloaded');
    case 'ECONNRESET':
    case 'ECONNABORTED':
    case 'EPIPE':
      return say(
        place.during === 'connect'
          ? `${at} closed the connection at once`
          : `${at} closed the connection during the call`,
      );
    default:
      return explainTls(at, error) ?? say(`the connection to ${at} failed: ${error.message}`);
  }
}

/**
 * What went wrong in a TLS handshake with the server at `at`, as a plain sentence that names the setting which changes it.
 * For whoever does the handshake himself; {@link socketError} says the same of an endpoint.
 */
export function explainTlsFailure(at: string, cause: unknown): string {
  const error = firstOf(cause);
  const hungUp = error.code === 'ECONNRESET' || error.code === 'EPIPE';
  if (hungUp) return `${at} closed the connection during the TLS handshake`;
  return explainTls(at, error)?.message ?? `TLS with ${at} failed: ${error.message}`;
}

const unknownIssuer = new Set([
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'CERT_UNTRUSTED',
]);

/** OpenSSL's words for "these bytes are no TLS record". */
const noTls = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_UNKNOWN_PROTOCOL',
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_RECORD_LAYER_FAILURE',
  'ERR_SSL_DATA_LENGTH_TOO_LONG',
]);

function explainTls(at: string, error: SystemError): Explanation | undefined {
  const code = error.code ?? '';
  const say = (message: string, as: PluginErrorCode = 'unreachable'): Explanation => ({ code: as, message });
  if (noTls.has(code)) return say(notTlsMessage(at));
  if (code === 'CERT_HAS_EXPIRED') return say(`the certificate of ${at} has expired`);
  if (code === 'CERT_NOT_YET_VALID')
    return say(`the certificate of ${at} is not valid yet (is the clock right?)`);
  if (code === 'CERT_REVOKED') return say(`the certificate of ${at} was revoked`);
  if (code === 'INVALID_PURPOSE') {
    return say(`the certificate of ${at} is not one for servers (its key usage does not allow it)`);
  }
  if (code === 'DEPTH_ZERO_SELF_SIGNED_CERT') {
    return say(
      `the certificate of ${at} is self-signed and not trusted; name it with tls.caFile to trust it`,
    );
  }
  if (unknownIssuer.has(code)) {
    return say(`the certificate of ${at} comes from an unknown CA; name that CA with tls.caFile`);
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return say(wrongNameMessage(at, error));
  if (/ALERT_NO_APPLICATION_PROTOCOL$/.test(code)) {
    return say(`${at} speaks TLS, but not the protocol that is needed (ALPN)`);
  }
  if (/ALERT_PROTOCOL_VERSION$|UNSUPPORTED_PROTOCOL$/.test(code)) {
    return say(`${at} speaks only a version of TLS that is too old`);
  }
  if (/ALERT_CERTIFICATE_REQUIRED$/.test(code)) {
    return say(
      `${at} wants a client certificate; give one with tls.certFile and tls.keyFile`,
      'unauthenticated',
    );
  }
  if (
    /ALERT_(BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_\w+|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED)$/.test(code)
  ) {
    return say(
      `${at} does not accept our client certificate, or wants one (tls.certFile, tls.keyFile): ${error.reason ?? error.message}`,
      'unauthenticated',
    );
  }
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_')) {
    return say(`TLS with ${at} failed: ${error.reason ?? error.message}`);
  }
  // What is left are OpenSSL's verification codes, which have no common prefix.
  if (/^[A-Z_]*(CERT|CRL|CA|PATH_LENGTH)[A-Z_]*$/.test(code)) {
    return say(`the certificate of ${at} was not accepted: ${error.message}`);
  }
  return undefined;
}

/** What is said when a peer answers a TLS handshake with something else. */
export function notTlsMessage(at: string): string {
  return (
    `${at} does not speak TLS: remove the tls setting (it was asked for there) if plain text is meant, ` +
    `or give the program at ${at} a certificate and let it serve TLS`
  );
}

function wrongNameMessage(at: string, error: SystemError): string {
  const names = error.cert?.subjectaltname
    ?.split(', ')
    .map((name) => name.replace(/^(DNS|IP Address|URI|email):/, ''));
  const has = names?.join(', ') ?? error.cert?.subject?.CN ?? 'no name';
  const wanted = /(?:Host: |IP: )(\S+?)\.? (?:is not|does not)/.exec(error.message)?.[1];
  const said = wanted === undefined ? 'the expected name' : wanted;
  return `the certificate of ${at} is for ${has}, not for ${said}; tls.serverName sets the name to expect`;
}
