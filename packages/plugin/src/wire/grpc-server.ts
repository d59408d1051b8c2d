import type * as net from 'node:net';
import { ServedStream } from './grpc-server-stream.ts';
import type { ServedConnection } from './grpc-server-stream.ts';
import type { GrpcHandler } from './grpc.ts';
import { H2Connection } from './h2/connection.ts';
import type { ConnectionEnd } from './h2/connection-options.ts';
import { defaultH2Limits } from './h2/limits.ts';
import type { H2Limits } from './h2/limits.ts';
import type { HttpHandler } from './http.ts';

/** How one HTTP/2 connection is served. */
export interface H2ServeOptions {
  /** Takes requests whose content-type is `application/grpc`, with or without `+proto`. */
  readonly grpc: GrpcHandler;
  /** Takes all other requests. */
  readonly http: HttpHandler;
  /** Default {@link defaultH2Limits}. */
  readonly limits?: Partial<H2Limits>;
  /** Bytes that were read from the socket already, to find out that this is HTTP/2. */
  readonly first?: Buffer;
  /** Told once how the connection ended, for a log. */
  readonly onEnd?: (end: ConnectionEnd) => void;
}

/** One HTTP/2 connection that is being served. */
export interface H2Served {
  /** Lets running requests finish, for at most `drainMs`, then closes. Resolves when the socket is closed. Default 0: at once. */
  close(drainMs?: number): Promise<void>;
  /** Resolves when the socket is closed, by whomever. */
  readonly closed: Promise<void>;
}

/**
 * Serves HTTP/2 on a socket that was accepted and whose TLS handshake is done. The socket belongs to it from then on. A peer
 * that breaks the protocol or its limits is disconnected; nothing is thrown.
 */
export function serveH2(socket: net.Socket, options: H2ServeOptions): H2Served {
  const limits: H2Limits = { ...defaultH2Limits, ...options.limits };
  const served: ServedConnection = {
    grpc: options.grpc,
    http: options.http,
    limits,
    remote:
      socket.remoteAddress === undefined ? 'unix' : formatRemote(socket.remoteAddress, socket.remotePort),
    running: 0,
    bufferedBytes: 0,
  };
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const connection: H2Connection = new H2Connection(socket, {
    role: 'server',
    limits,
    streamWindowBytes: Math.min(1024 * 1024, limits.maxRequestBytes + 64 * 1024),
    connectionWindowBytes: 4 * 1024 * 1024,
    events: {
      accept: (stream) => new ServedStream(served, connection, stream),
      closed: (end) => options.onEnd?.(end),
    },
  });
  if (options.first !== undefined && options.first.length > 0) connection.receive(options.first);
  return {
    closed,
    close: (drainMs = 0) => {
      connection.shutdown(drainMs);
      return closed;
    },
  };
}

function formatRemote(address: string, port: number | undefined): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
