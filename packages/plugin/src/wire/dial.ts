import * as net from 'node:net';
import * as tls from 'node:tls';
import { PluginError } from '../errors.ts';
import type { Endpoint, TlsSettings } from './endpoint.ts';
import { formatAddress, notTlsMessage, socketError } from './socket-error.ts';
import { secureContextFor } from './trust.ts';

/** How one connection is opened. */
export interface DialOptions {
  /** ALPN names to offer, best first: `['h2']`. Absent: the extension is not sent. The answer is `alpnProtocol`. */
  readonly alpn?: readonly string[];
  /** Over name lookup, connect and TLS handshake together, in milliseconds. Absent: as long as the system waits. */
  readonly timeoutMs?: number;
  /** Gives up: the socket is destroyed and the promise rejects with `canceled`. */
  readonly signal?: AbortSignal;
  /**
   * Where a plain connection reads to, at once and without `data` events, as `onread` of `node:net` (the cheapest way
   * to read). A TLS connection ignores it and has `data` events.
   */
  readonly onread?: net.OnReadOpts;
}

/**
 * Opens a connection to an endpoint: TCP or a unix socket, and TLS on it where the endpoint has `tls`. The socket is
 * paused (unless `onread` is given), has no delay (Nagle off), and belongs to the caller, who destroys it; it carries an empty `error` listener,
 * so that a break before the caller listens is seen as `close` and not as a crash.
 *
 * Rejects with PluginError only, always `unsent`: `timeout`, `canceled`, `unauthenticated` (our certificate was
 * refused during the handshake; with TLS 1.3 the refusal may come later, as an error of the socket), or `unreachable`
 * with a sentence that says what happened and, for TLS, which setting changes it.
 */
export function dial(endpoint: Endpoint, options: DialOptions = {}): Promise<net.Socket> {
  const { signal, timeoutMs } = options;
  const at = formatAddress(endpoint.connect);
  const fail = (
    code: 'timeout' | 'canceled' | 'unreachable',
    message: string,
    cause?: unknown,
  ): PluginError => new PluginError(code, message, { cause, endpoint: endpoint.url, unsent: true });

  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(fail('canceled', `nobody waits for the connection to ${at} any more`, signal.reason));
      return;
    }
    let context: tls.SecureContext | undefined;
    try {
      if (endpoint.tls !== undefined) context = secureContextFor(endpoint.tls);
    } catch (error) {
      reject(fail('unreachable', error instanceof Error ? error.message : String(error), error));
      return;
    }

    const onread =
      endpoint.tls === undefined && options.onread !== undefined ? { onread: options.onread } : {};
    const raw = net.connect({ ...endpoint.connect, ...onread, noDelay: true });
    let secure: tls.TLSSocket | undefined;
    const current = (): net.Socket => secure ?? raw;

    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      for (const socket of [raw, secure]) {
        socket?.removeListener('error', onError);
        socket?.removeListener('close', onClose);
        socket?.on('error', () => {});
      }
    };
    const giveUp = (error: PluginError): void => {
      settle();
      secure?.destroy();
      raw.destroy();
      reject(error);
    };
    const onAbort = (): void => {
      giveUp(fail('canceled', `nobody waits for the connection to ${at} any more`, signal?.reason));
    };
    const onError = (error: Error & { code?: string }): void => {
      // A server that speaks plain text, and does not know what to make of a ClientHello, usually just hangs up.
      const hungUp = error.code === 'ECONNRESET' || error.code === 'EPIPE';
      if (secure !== undefined && hungUp && raw.bytesRead === 0)
        giveUp(fail('unreachable', notTlsMessage(at), error));
      else giveUp(socketError(endpoint, error, { during: 'connect' }));
    };
    const onClose = (): void => {
      giveUp(
        fail('unreachable', secure === undefined ? `${at} closed the connection at once` : notTlsMessage(at)),
      );
    };
    const succeed = (): void => {
      settle();
      resolve(current());
    };
    const startTls = (settings: TlsSettings): void => {
      const wanted = expectedName(endpoint, settings);
      secure = tls.connect({
        socket: raw,
        secureContext: context,
        // RFC 6066, section 3: an IP address is no server name.
        servername: net.isIP(wanted) === 0 ? wanted : '',
        checkServerIdentity: (_host, certificate) => tls.checkServerIdentity(wanted, certificate),
        rejectUnauthorized: settings.verify !== false,
        ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
      });
      secure.once('secureConnect', succeed);
      secure.on('error', onError);
      secure.on('close', onClose);
    };
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            const what = secure === undefined ? 'accept the connection' : 'finish the TLS handshake';
            giveUp(fail('timeout', `${at} did not ${what} within ${timeoutMs} ms`));
          }, timeoutMs);

    signal?.addEventListener('abort', onAbort, { once: true });
    raw.on('error', onError);
    raw.on('close', onClose);
    raw.once('connect', () => {
      if (endpoint.tls === undefined) succeed();
      else startTls(endpoint.tls);
    });
  });
}

/** The name or address that the certificate must be for. A unix socket has none of its own: `authority` stands for it. */
function expectedName(endpoint: Endpoint, settings: TlsSettings): string {
  if (settings.serverName !== undefined && settings.serverName !== '') return settings.serverName;
  if ('host' in endpoint.connect) return endpoint.connect.host;
  return endpoint.authority.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
