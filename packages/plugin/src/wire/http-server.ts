import type * as net from 'node:net';
import { Http1ServerConnection } from './http-server-connection.ts';
import type { ConnectionSettings } from './http-server-connection.ts';
import type { HttpHandler } from './http.ts';

/** What a server needs, and what its clients may cost it. */
export interface Http1ServerOptions {
  readonly handler: HttpHandler;
  /** Called with what a handler threw; the client is told 500 and nothing more. Default: nobody is told. */
  readonly onError?: (error: unknown) => void;
  /** The largest body of a request; a larger one is 413. Default 4 MiB, as gRPC servers take by default. */
  readonly maxBodyBytes?: number;
  /** The longest request line; a longer one is 414. Default 16 KiB. */
  readonly maxRequestLineBytes?: number;
  /** All header fields together; more is 431. Default 64 KiB. */
  readonly maxFieldsBytes?: number;
  /** From a head's first byte (on a new connection: from its start) to its last; then 408. Default 10 s. */
  readonly headTimeoutMs?: number;
  /** From the end of a head to the end of its body; then 408. Default 30 s. */
  readonly bodyTimeoutMs?: number;
  /** How long a client may take to read an answer before it is cut off. Default 30 s. */
  readonly writeTimeoutMs?: number;
  /**
   * How long an unused connection is kept. Default 5 minutes, far longer than usual: GOST keeps its connections for
   * ever, and a call that meets a connection just being closed is a user who is turned away.
   */
  readonly idleMs?: number;
}

/** The HTTP/1 side of a plugin server. It does not listen: sockets are handed to it. */
export interface Http1Server {
  /** Serves a connection, which belongs to the server from now on. `first` are bytes that were read from it already. */
  handleSocket(socket: net.Socket, first?: Buffer): void;
  /**
   * Closes unused connections at once and the others after the answer to the request they are at, which says so; what
   * is left after `drainMs` (default 5 s) is cut off. Resolves when all are closed.
   */
  close(drainMs?: number): Promise<void>;
}

const defaultDrainMs = 5_000;

/**
 * Creates the server of one handler. It reads strictly (see `Http1HeadReader` and `bodyFraming`: what two readers could
 * understand differently is refused and the connection closed), answers the requests of a connection one after the
 * other, and fires a request's signal when its caller has gone. `Content-Length`, `Date` and `Connection` are its own to
 * write; a handler must not give them.
 */
export function createHttp1Server(options: Http1ServerOptions): Http1Server {
  const connections = new Set<Http1ServerConnection>();
  let onAllClosed: (() => void) | undefined;
  let isClosing = false;
  const settings: ConnectionSettings = {
    handler: options.handler,
    onError: options.onError ?? (() => {}),
    maxBodyBytes: options.maxBodyBytes ?? 4 * 1024 * 1024,
    headLimits: {
      maxStartLineBytes: options.maxRequestLineBytes ?? 16 * 1024,
      maxFieldsBytes: options.maxFieldsBytes ?? 64 * 1024,
    },
    headTimeoutMs: options.headTimeoutMs ?? 10_000,
    bodyTimeoutMs: options.bodyTimeoutMs ?? 30_000,
    writeTimeoutMs: options.writeTimeoutMs ?? 30_000,
    idleMs: options.idleMs ?? 300_000,
    onClosed: (connection) => {
      connections.delete(connection);
      if (connections.size === 0) onAllClosed?.();
    },
  };
  return {
    handleSocket: (socket, first) => {
      if (isClosing || socket.destroyed) {
        socket.destroy();
        return;
      }
      const connection = new Http1ServerConnection(socket, settings);
      connections.add(connection);
      connection.start(first);
    },
    close: async (drainMs = defaultDrainMs) => {
      isClosing = true;
      if (connections.size === 0) return;
      const allClosed = new Promise<void>((resolve) => (onAllClosed = resolve));
      for (const connection of [...connections]) connection.drain();
      const timer = setTimeout(() => {
        for (const connection of [...connections]) connection.destroy();
      }, drainMs);
      await allClosed;
      clearTimeout(timer);
    },
  };
}
