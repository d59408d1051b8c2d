import { formatAddress } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { shakeUpstream } from '../../core/layer-handshakes.ts';
import type { Context, Way } from '../../core/way.ts';
import { HalfOpenWebSocket } from './half-open-web-socket.ts';
import { defaultPath, libraryOptions } from './options.ts';
import type { WsDialerOptions } from './options.ts';
import { WsConn } from './ws-conn.ts';

/** GOST's. */
const defaultPingMs = 15_000;

/** What a GOST peer sends where its file names none: whoever stands between sees no difference. */
const defaultUserAgent = 'Go-http-client/1.1';

/**
 * Dials the way below and opens a WebSocket over it. Rejects as the way below does, with `dialFailed` where the server
 * does not open one, or with `dialTimeout`.
 */
export async function dialWs(
  under: Way,
  to: Address,
  context: Context,
  options: WsDialerOptions,
): Promise<Conn> {
  const conn = await under.dial(to, context);
  const timeoutMs = options.handshakeTimeoutMs || options.readHeaderTimeoutMs;
  const shaking = { what: 'WebSocket', to, signal: context.signal, timeoutMs };
  return shakeUpstream(conn, shaking, () => open(conn, to, options));
}

function open(under: Conn, to: Address, options: WsDialerOptions): Promise<Conn> {
  const { requestPath: path = defaultPath, header = [], ping = false, pingMs } = options;
  const at = formatAddress(to);
  // A unix socket has no host that a request could name.
  const host = options.host ?? (to.host.startsWith('/') || to.host.startsWith('@') ? 'localhost' : at);
  const headers: Record<string, string> = { Host: host, 'User-Agent': defaultUserAgent };
  for (const [name, value] of header) {
    const same = Object.keys(headers).find((known) => known.toLowerCase() === name.toLowerCase());
    headers[same ?? name] = value;
  }
  return new Promise((resolve, reject) => {
    const fail = (message: string, cause?: unknown) => {
      reject(new ProxyError('dialFailed', 'upstream', message, { cause, retryable: true }));
    };
    const carrier = under.detach?.() ?? under.stream;
    const ws = new HalfOpenWebSocket(`ws://localhost${path}`, [], {
      ...libraryOptions(options),
      headers,
      createConnection: (() => carrier) as never,
      finishRequest(request) {
        // The socket comes paused.
        request.once('socket', (socket) => socket.resume());
        request.end();
      },
    });
    const failed = (cause: Error & { code?: string }) => {
      const hasHungUp = cause.code === 'ECONNRESET' || cause.code === 'EPIPE';
      if (hasHungUp) fail(`${at} closed the connection during the WebSocket handshake`, cause);
      else fail(`${at} opened no WebSocket: ${cause.message}`, cause);
    };
    ws.once('error', failed);
    ws.once('unexpected-response', (request, response) => {
      fail(
        `${at} answered ${String(response.statusCode)} to the WebSocket handshake; are the path (${path}) and the host right?`,
      );
      request.destroy();
    });
    ws.once('open', () => {
      ws.off('error', failed);
      const { remote } = under;
      const every = ping ? { pingMs: pingMs || defaultPingMs } : {};
      resolve(new WsConn(ws, { side: 'upstream', carrier, under, remote, ...every }));
    });
    void under.closed.then(() => fail(`${at} closed the connection during the WebSocket handshake`));
  });
}
