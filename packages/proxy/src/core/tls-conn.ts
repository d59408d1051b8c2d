import { isIP } from 'node:net';
import { checkServerIdentity, connect } from 'node:tls';
import type { Server, TLSSocket } from 'node:tls';
import { explainTlsFailure, notTlsMessage } from '@sallyport/plugin/wire';
import type { Address, Conn, PeerTls } from './conn.ts';
import { formatAddress } from './address.ts';
import { ProxyError } from './errors.ts';
import { createSocketConn } from './socket-conn.ts';
import { clientContextOf, tlsServerOf, UnknownServerName } from './tls-contexts.ts';
import type { ClientTls, ServerTls } from './tls.ts';

/**
 * Answers a client's TLS handshake over a connection, which belongs to the new one from now on: the caller sets a deadline
 * and resets it when that has passed or this rejects. Rejects with ProxyError, always the client's fault but for
 * `listenFailed`: `clientClosed`, `malformedRequest` (what came is no TLS), `unsupported` (no version, cipher or protocol
 * in common), `wrongCredentials` (its certificate is missing or not accepted), `forbidden` (it named another server).
 */
export function serveTls(under: Conn, tls: ServerTls): Promise<Conn> {
  return new Promise((resolve, reject) => {
    const server = tlsServerOf(tls);
    const from = formatAddress(under.remote);
    const carrier = carrierOf(under);
    // Who half-closes in the middle of a handshake will not finish it.
    carrier.allowHalfOpen = false;
    const emit = (event: string, ...values: unknown[]): boolean => {
      if (event === 'secureConnection') {
        const socket = values[0] as TLSSocket;
        carrier.allowHalfOpen = socket.allowHalfOpen = true;
        const facts = peerTls(socket, tls.ca !== undefined);
        const { local, remote, via } = under;
        resolve(createSocketConn(socket, { side: 'client', tls: facts, local, remote, via, under }));
      } else if (event === 'tlsClientError') {
        const [error, socket] = values as [Error, TLSSocket];
        reject(clientFault(from, error, socket, tls));
      }
      return true;
    };
    // Node's server does the handshake and tells its listeners; seen through this object, it tells of this one alone.
    const view = Object.create(server, { emit: { value: emit } }) as Server;
    void under.closed.then(() => reject(hungUp(from)));
    for (const accept of server.listeners('connection')) accept.call(view, carrier);
  });
}

/**
 * Shakes hands with a TLS server over a connection, which belongs to the new one from now on: the caller sets a deadline,
 * and resets it when that has passed or this rejects. `to` is whom the certificate must be for where `tls.serverName` is
 * absent. Rejects with ProxyError `dialFailed`, whose message says what is wrong and which setting changes it.
 */
export function connectTls(under: Conn, to: Address, tls: ClientTls): Promise<Conn> {
  return new Promise((resolve, reject) => {
    const at = formatAddress(to);
    const wanted = tls.serverName === undefined || tls.serverName === '' ? to.host : tls.serverName;
    const fail = (message: string, cause?: unknown) => {
      reject(new ProxyError('dialFailed', 'upstream', message, { cause, retryable: true }));
    };
    const secureContext = clientContextOf(tls);
    const socket = connect({
      socket: carrierOf(under),
      secureContext,
      // RFC 6066, section 3: an IP address is no server name.
      servername: isIP(wanted) === 0 && !wanted.includes('/') ? wanted : '',
      checkServerIdentity: (_host, certificate) => checkServerIdentity(wanted, certificate),
      rejectUnauthorized: tls.verify !== false,
      ...(tls.alpn !== undefined && { ALPNProtocols: [...tls.alpn] }),
    });
    const failed = (cause: Error & { code?: string }) => {
      // A server that does not know what to make of a ClientHello usually just hangs up.
      const hasHungUp = cause.code === 'ECONNRESET' || cause.code === 'EPIPE';
      if (hasHungUp && socket.bytesRead === 0) fail(notTlsMessage(at), cause);
      else fail(explainTlsFailure(at, cause), cause);
    };
    socket.once('error', failed);
    socket.once('close', () => fail(notTlsMessage(at)));
    socket.once('secureConnect', () => {
      const { local, remote } = under;
      const facts = peerTls(socket, tls.verify !== false);
      resolve(createSocketConn(socket, { side: 'upstream', tls: facts, local, remote, under }));
      socket.off('error', failed);
    });
  });
}

/** The socket itself where there is one: Node's TLS over a socket is several times faster than over any other stream. */
function carrierOf(under: Conn) {
  return under.detach?.() ?? under.stream;
}

function peerTls(socket: TLSSocket, isVerified: boolean): PeerTls {
  const { servername } = socket as TLSSocket & { servername?: string | false };
  const certificate = socket.getPeerCertificate(false);
  // A peer without a certificate has an empty object.
  const shown = Object.keys(certificate).length > 0 ? certificate : undefined;
  const commonNames: string | string[] = shown?.subject?.CN ?? '';
  return {
    verified: isVerified && shown !== undefined && socket.authorized,
    commonName: typeof commonNames === 'string' ? commonNames : (commonNames.at(-1) ?? ''),
    subjectAltNames: parseAltNames(shown?.subjectaltname ?? ''),
    fingerprint: (shown?.fingerprint256 ?? '').replaceAll(':', '').toLowerCase(),
    ...(typeof servername === 'string' && servername !== '' && { serverName: servername }),
    ...(typeof socket.getProtocol() === 'string' && { protocol: socket.getProtocol()! }),
  };
}

/**
 * The DNS, e-mail and URI names of Node's text of a certificate's alternative names, in their order. Node quotes, as JSON
 * does, a name that could be mistaken for several.
 */
export function parseAltNames(text: string): readonly string[] {
  const names: string[] = [];
  for (const [, kind, quoted, plain] of text.matchAll(/(?:^|, )([^:,"]+):(?:("(?:[^"\\]|\\.)*")|([^,]*))/g)) {
    if (kind !== 'DNS' && kind !== 'email' && kind !== 'URI') continue;
    names.push(quoted === undefined ? (plain ?? '') : unquote(quoted));
  }
  return names;
}

function unquote(quoted: string): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    // Not what Node writes; whatever it is, it is nobody's name.
    return quoted;
  }
}

function hungUp(from: string, cause?: unknown): ProxyError {
  return new ProxyError('clientClosed', 'client', `${from} hung up during the TLS handshake`, { cause });
}

function clientFault(
  from: string,
  cause: Error & { code?: string; reason?: string },
  socket: TLSSocket,
  tls: ServerTls,
) {
  const { code = '', reason = cause.message } = cause;
  const fault = (
    as: 'malformedRequest' | 'unsupported' | 'wrongCredentials' | 'forbidden',
    message: string,
  ) => new ProxyError(as, 'client', `${from} ${message}`, { cause });
  // Node has types for a certificate that was refused only where it is an Error; at a server it is a word.
  const refused = socket.authorizationError as Error | string | null | undefined;
  if (refused !== null && refused !== undefined) {
    const why = typeof refused === 'string' ? refused : refused.message;
    return fault('wrongCredentials', `showed a certificate that is not accepted (${why})`);
  }
  if (cause instanceof UnknownServerName) return fault('forbidden', `was turned away: ${cause.message}`);
  if (code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE')
    return fault('wrongCredentials', 'showed no certificate, and one is needed here');
  // Without a name that is served there is no certificate, and so no way to sign.
  if (/NO_SHARED_CIPHER|NO_SUITABLE/.test(code) && tls.rejectUnknownSNI === true)
    return fault('forbidden', 'was turned away: it named no server, or has no cipher in common with us');
  if (/NO_SHARED_CIPHER|UNSUPPORTED_PROTOCOL|NO_APPLICATION_PROTOCOL|NO_SUITABLE|VERSION_TOO_LOW/.test(code))
    return fault('unsupported', `has no TLS version, cipher or protocol in common with us: ${reason}`);
  if (/_ALERT_/.test(code)) return hungUp(`${from} (${reason})`, cause);
  if (code.startsWith('ERR_SSL_')) return fault('malformedRequest', `does not speak TLS: ${reason}`);
  return hungUp(from, cause);
}
