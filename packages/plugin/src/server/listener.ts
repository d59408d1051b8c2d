import { unlink } from 'node:fs/promises';
import * as net from 'node:net';
import * as tls from 'node:tls';

/** Where to listen, and what to hand accepted connections to. */
export interface ListenOptions {
  readonly at: { readonly host: string; readonly port: number } | { readonly path: string };
  readonly tls: ServerTls | undefined;
  /** HTTP/2, with what was read of it already. */
  http2(socket: net.Socket, first: Buffer): void;
  /** HTTP/1, likewise. */
  http1(socket: net.Socket, first: Buffer): void;
}

/** How a server proves itself, and whom it asks to. PEM text. */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
  /** Clients must show a certificate that one of these signed (mTLS). Absent: clients are not asked for one. */
  readonly ca?: string | readonly string[];
}

/** An open listener. */
export interface Listener {
  readonly address: net.AddressInfo | { readonly path: string };
  /** Stops accepting, and drops connections that have not said anything. */
  close(): Promise<void>;
}

/** How every HTTP/2 connection begins (RFC 9113, section 3.4). Its first line is no request that HTTP/1 knows. */
const http2Preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const firstBytesTimeoutMs = 10_000;

/** Listens, and tells HTTP/2 from HTTP/1 by ALPN or by the first bytes. Rejects with the system's error. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const silent = new Set<net.Socket>();
  const accept = (socket: net.Socket): void => {
    // Whoever is handed the socket sees it close; there is nobody to tell about anything else.
    socket.on('error', () => {});
    silent.add(socket);
    const timer = setTimeout(() => socket.destroy(), firstBytesTimeoutMs);
    const settle = (): void => {
      clearTimeout(timer);
      silent.delete(socket);
      socket.removeListener('readable', look);
      socket.removeListener('end', hangUp);
    };
    const hangUp = (): void => {
      socket.destroy();
    };
    let seen: Buffer = Buffer.alloc(0);
    const look = (): void => {
      const bytes = socket.read() as Buffer | null;
      if (bytes === null) return;
      seen = seen.length === 0 ? bytes : Buffer.concat([seen, bytes]);
      const length = Math.min(seen.length, http2Preface.length);
      const isHttp2 = seen.compare(http2Preface, 0, length, 0, length) === 0;
      if (isHttp2 && length < http2Preface.length) return;
      settle();
      if (isHttp2) options.http2(socket, seen);
      else options.http1(socket, seen);
    };
    socket.once('close', settle);
    socket.on('readable', look);
    socket.once('end', hangUp);
  };
  const server =
    options.tls === undefined ? net.createServer({ noDelay: true }, accept) : tlsServer(options.tls, accept);
  await bind(server, options.at);
  const bound = server.address();
  return {
    address: 'path' in options.at || typeof bound === 'string' ? { path: String(bound) } : bound!,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of [...silent]) socket.destroy();
      await closed;
    },
  };
}

function tlsServer(settings: ServerTls, accept: (socket: net.Socket) => void): net.Server {
  const { cert, key, ca } = settings;
  const server = tls.createServer({
    cert,
    key,
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: firstBytesTimeoutMs,
    ...(ca === undefined
      ? {}
      : { ca: typeof ca === 'string' ? ca : [...ca], requestCert: true, rejectUnauthorized: true }),
  });
  server.on('secureConnection', accept);
  // A client that does not get through the handshake is told so by TLS itself.
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  return server;
}

async function bind(server: net.Server, at: ListenOptions['at']): Promise<void> {
  try {
    await listening(server, at);
  } catch (error) {
    const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    if (!taken || !('path' in at) || (await answers(at.path))) throw error;
    // A program that was killed leaves its socket file behind, and nobody listens at it.
    await unlink(at.path);
    await listening(server, at);
  }
}

function listening(server: net.Server, at: ListenOptions['at']): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      server.removeListener('error', onError);
      server.removeListener('listening', onListening);
    };
    const onError = (error: Error): void => {
      settle();
      reject(error);
    };
    const onListening = (): void => {
      settle();
      // What fails later (too many open files) ends an accept, not the server.
      server.on('error', () => {});
      resolve();
    };
    server.on('error', onError);
    server.on('listening', onListening);
    server.listen(at);
  });
}

/** Whether somebody listens at this socket file. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
}
