import { createServer, STATUS_CODES } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { formatAddress } from '../../core/address.ts';
import type { Accept, Address, Conn, Listening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { createLayerHandshakes } from '../../core/layer-handshakes.ts';
import type { Way } from '../../core/way.ts';
import { clientAddress, createTrusts } from './client-address.ts';
import { HalfOpenWebSocket } from './half-open-web-socket.ts';
import { defaultPath, libraryOptions } from './options.ts';
import type { WsListenerOptions } from './options.ts';
import { WsConn } from './ws-conn.ts';

/** A request's head that is longer is refused; Node's default. */
const maxHeadBytes = 16 * 1024;

/**
 * Listens on the way below and answers WebSocket handshakes beside its accept loop. A request for another path is answered
 * 404 and one that asks for no WebSocket 400, as in GOST. `close` resolves when the handshakes that are under way have come
 * to their end, accepted or not. Rejects as the way below does.
 */
export async function listenWs(
  under: Way,
  at: Address,
  accept: Accept,
  problem: (error: ProxyError) => void,
  options: WsListenerOptions,
): Promise<Listening> {
  if (under.listen === undefined)
    throw new ProxyError(
      'unsupported',
      'self',
      'what is below this WebSocket listener cannot be listened on',
    );
  const upgrades = createUpgrades(options);
  const handshakes = createLayerHandshakes({
    what: 'WebSocket',
    timeoutMs: options.handshakeTimeoutMs || options.readHeaderTimeoutMs,
    maxPending: options.backlog,
    accept,
    problem,
  });
  const listening = await under.listen(
    at,
    (end) => {
      if (end.kind === 'stream') handshakes.begin(end, () => upgrades.serve(end));
      else {
        end.close();
        problem(new ProxyError('unsupported', 'self', 'WebSocket cannot be spoken over datagrams'));
      }
    },
    problem,
  );
  return {
    address: listening.address,
    async close() {
      await listening.close();
      await handshakes.idle();
    },
  };
}

/** A connection whose request has not been answered yet. */
interface Waiting {
  readonly under: Conn;
  resolve(conn: Conn): void;
  /** Why it will not become a WebSocket; told when the answer has gone. */
  reason?: ProxyError;
}

/** Node's HTTP server and the library's WebSocket server, neither of which listens. */
function createUpgrades(options: WsListenerOptions) {
  const { requestPath: path = defaultPath, header = [] } = options;
  const trusts = createTrusts(options.trustedProxies ?? []);
  const waiting = new WeakMap<Duplex, Waiting>();
  const http = createServer({ maxHeaderSize: maxHeadBytes });
  const sockets = new WebSocketServer({
    ...libraryOptions(options),
    noServer: true,
    clientTracking: false,
    WebSocket: HalfOpenWebSocket,
    // GOST agrees to no subprotocol.
    handleProtocols: () => false,
  });
  sockets.on('headers', (lines) => {
    for (const [name, value] of header) lines.push(`${name}: ${value}`);
  });

  const refuse = (carrier: Duplex, status: number, why: string) => {
    const one = waiting.get(carrier);
    if (one !== undefined)
      one.reason ??= new ProxyError(
        'malformedRequest',
        'client',
        `${formatAddress(one.under.remote)} ${why}`,
      );
    if (!carrier.writable) return;
    const body = `${STATUS_CODES[status] ?? ''}\n`;
    carrier.end(
      `HTTP/1.1 ${String(status)} ${STATUS_CODES[status] ?? ''}\r\nConnection: close\r\n` +
        `Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${String(body.length)}\r\n` +
        `${status === 400 ? 'Sec-WebSocket-Version: 13\r\n' : ''}\r\n${body}`,
      // A client that does not half-close in return is not waited for.
      () => carrier.destroy(),
    );
  };
  const isOurs = ({ url = '' }: IncomingMessage) => {
    const [asked = ''] = url.split('?', 1);
    // Go's multiplexer takes a pattern that ends in a slash for everything below it.
    return path.endsWith('/') ? asked.startsWith(path) : asked === path;
  };

  http.on('request', (request: IncomingMessage) => {
    if (isOurs(request)) refuse(request.socket, 400, 'asked for no WebSocket');
    else refuse(request.socket, 404, 'asked for another path than that of the WebSocket');
  });
  http.on('clientError', (error: Error, carrier: Duplex) => {
    refuse(carrier, 400, `does not speak HTTP: ${error.message}`);
  });
  http.on('upgrade', (request: IncomingMessage, carrier: Duplex, head: Buffer) => {
    const one = waiting.get(carrier);
    if (one === undefined) carrier.destroy();
    else if (!isOurs(request)) refuse(carrier, 404, 'asked for another path than that of the WebSocket');
    else {
      one.reason = new ProxyError(
        'malformedRequest',
        'client',
        `${formatAddress(one.under.remote)} did not ask for a WebSocket rightly`,
      );
      sockets.handleUpgrade(request, carrier, head, (ws) => {
        waiting.delete(carrier);
        const { under, resolve } = one;
        const who = clientAddress(under.remote, request.headers, trusts);
        resolve(new WsConn(ws, { side: 'client', carrier, under, ...who }));
      });
    }
  });

  return {
    serve(under: Conn): Promise<Conn> {
      return new Promise((resolve, reject) => {
        const carrier = under.detach?.() ?? under.stream;
        const one: Waiting = { under, resolve };
        waiting.set(carrier, one);
        carrier.once('close', () => {
          const who = formatAddress(under.remote);
          reject(
            one.reason ??
              new ProxyError('clientClosed', 'client', `${who} hung up during the WebSocket handshake`),
          );
        });
        http.emit('connection', carrier);
        // It comes paused.
        carrier.resume();
      });
    },
  };
}
