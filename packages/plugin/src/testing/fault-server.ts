import { once } from 'node:events';
import * as net from 'node:net';
import * as tls from 'node:tls';
import { gzipSync } from 'node:zlib';
import type { Contract, PluginTransport } from '../contract.ts';
import type { PluginErrorCode } from '../errors.ts';
import { createHandlers } from '../server/handlers.ts';
import type { ServerTls } from '../server/listener.ts';
import { createRoutes } from '../server/routes.ts';
import type { TlsSettings } from '../wire/endpoint.ts';
import { serveH2 } from '../wire/grpc-server.ts';
import { createHttp1Server } from '../wire/http-server.ts';
import { createAuthority } from './certificates.ts';
import type { Authority } from './certificates.ts';
import { echoPlugin } from './echo-plugin.ts';
import type { FaultServer } from './fault.ts';

/** What a fault does with a connection that it accepted, and how it is reached. */
export interface FaultServerOptions {
  onSocket(socket: net.Socket): void;
  /** Present: the server speaks TLS. */
  readonly serverTls?: ServerTls;
  /** What the client is told. */
  readonly tls?: TlsSettings;
  readonly token?: string;
  /** True: the port is closed again before anybody comes. */
  readonly refuses?: boolean;
}

/** One row of a list of faults. */
export interface FaultRow {
  readonly name: string;
  readonly expected: readonly PluginErrorCode[];
  readonly hangs?: boolean;
  readonly methods?: readonly string[];
  /** Asked when the fault starts. */
  options(): FaultServerOptions;
}

/** Opens the server of a fault. */
export async function startFaultServer(options: FaultServerOptions): Promise<FaultServer> {
  const { serverTls, onSocket } = options;
  const sockets = new Set<net.Socket>();
  const accepted = new Set<net.Socket>();
  const onVacant: (() => void)[] = [];
  const accept = (socket: net.Socket): void => {
    // The client's end of a fault may be rude, and that is not looked at here.
    socket.on('error', () => {});
    accepted.add(socket);
    socket.once('close', () => accepted.delete(socket));
    onSocket(socket);
  };
  const server =
    serverTls === undefined
      ? net.createServer({ noDelay: true }, accept)
      : tls.createServer(tlsOptions(serverTls), accept);
  // Of a TLS server these are the connections below.
  server.prependListener('connection', (socket: net.Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0) for (const resolve of onVacant.splice(0)) resolve();
    });
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  if (options.refuses === true) await close();
  return {
    addr: `127.0.0.1:${port}`,
    tls: options.tls,
    token: options.token,
    get openSockets() {
      return sockets.size;
    },
    async vacant() {
      // Who does not read does not see the other end go.
      for (const socket of accepted) socket.resume();
      if (sockets.size > 0) await new Promise<void>((resolve) => onVacant.push(resolve));
    },
    close,
  };
}

function tlsOptions({ cert, key, ca }: ServerTls): tls.TlsOptions {
  const asks = ca === undefined ? {} : { ca: [...[ca].flat()], requestCert: true, rejectUnauthorized: true };
  return { cert, key, ALPNProtocols: ['h2', 'http/1.1'], ...asks };
}

/** Serves a contract as it should be, so that a fault of what lies around it is the only one. */
export function serveWell(
  contract: Contract,
  transport: PluginTransport,
  token?: string,
): (socket: net.Socket) => void {
  const handlers = createHandlers(createRoutes([echoPlugin(contract).module]), {
    token,
    hasTls: false,
    addr: () => '',
    isStopping: () => false,
    onError: () => {},
  });
  if (transport === 'grpc') return (socket) => void serveH2(socket, handlers);
  const server = createHttp1Server({ handler: handlers.http });
  return (socket) => server.handleSocket(socket);
}

let known: { readonly authority: Authority; readonly stranger: Authority } | undefined;

/** The authority that clients are told to trust, and one that nobody trusts. Made once, as keys take time. */
export function authorities(): { readonly authority: Authority; readonly stranger: Authority } {
  known ??= { authority: createAuthority(), stranger: createAuthority('Nobody trusts this authority') };
  return known;
}

/** Writes a piece every 20 ms until the connection closes. */
export function trickle(socket: net.Socket, piece: () => Uint8Array | string): void {
  const timer = setInterval(() => socket.write(piece()), 20);
  socket.once('close', () => clearInterval(timer));
}

/** Writes a piece over and over, as fast as the connection takes it, until it closes. */
export function flood(socket: net.Socket, piece: Uint8Array | string): void {
  const go = (): void => {
    if (socket.destroyed) return;
    if (socket.write(piece)) setImmediate(go);
    else socket.once('drain', go);
  };
  go();
}

/** Writes, and resets the connection. */
export function resetAfter(socket: net.Socket, bytes: Uint8Array | string): void {
  // A TLS socket cannot be reset; none is here.
  socket.write(bytes, () => setImmediate(() => socket.resetAndDestroy()));
}

let madeBomb: Buffer | undefined;

/** 20 KB that unpack to 20 MB. */
export function bomb(): Buffer {
  madeBomb ??= gzipSync(Buffer.alloc(20_000_000, ' '));
  return madeBomb;
}
