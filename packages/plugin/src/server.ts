import { createHttp1Server } from './wire/http-server.ts';
import { serveH2 } from './wire/grpc-server.ts';
import type { H2Served } from './wire/grpc-server.ts';
import { createHandlers } from './server/handlers.ts';
import { listen } from './server/listener.ts';
import type { Listener, ServerTls } from './server/listener.ts';
import { createRoutes } from './server/routes.ts';
import type { ServedModule } from './server/routes.ts';

/** How plugins are served. */
export interface ServePluginsOptions {
  /** A TCP port; 0 is one that the system chooses. Either this or `path`. */
  readonly port?: number;
  /**
   * The address to listen on. Default `127.0.0.1`: a plugin decides who gets in, so it is opened to other machines in so
   * many words only (`0.0.0.0`, or `::` for IPv6 too), and then with a token or a client certificate.
   */
  readonly host?: string;
  /** A unix socket. A file that a killed program left behind is replaced. Either this or `port`. */
  readonly path?: string;
  /** What askers must send. Default: nothing is asked for. */
  readonly token?: string;
  /** Present: TLS is spoken, and nothing else. */
  readonly tls?: ServerTls;
  /** The largest request, decoded. Default 4 MiB, as grpc-go's. */
  readonly maxRequestBytes?: number;
  /** Told what an implementation threw, and in which method (`auth.authenticate`). Default: a line on standard error. */
  readonly onError?: (error: unknown, method: string) => void;
}

/** Plugins that are being served. Whoever opened them calls `close`. */
export interface PluginServer {
  /** Where it listens; a port 0 has become the one that the system chose. */
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string };
  /** What a proxy's `addr` says: `127.0.0.1:8000` or `unix:/path`. */
  readonly addr: string;
  /** Takes no more connections and calls, waits at most `drainMs` (default 5 s) for those that run, and closes. */
  close(drainMs?: number): Promise<void>;
}

const defaultDrainMs = 5_000;

/**
 * Serves modules on one port, over gRPC and HTTP/JSON, with and without HTTP/2. Over HTTP each module answers on its usual
 * path (`/auth`), and a module that is alone on `/` too; a plain `GET /` says what is served and how a proxy is told. The
 * standard `grpc.health.v1.Health/Check` is answered. Rejects with the system's error where it cannot listen, and with a
 * TypeError where the options do not fit together.
 */
export async function servePlugins(
  modules: readonly ServedModule[],
  options: ServePluginsOptions,
): Promise<PluginServer> {
  const { port, path, host = '127.0.0.1', token, tls, maxRequestBytes } = options;
  if ((port === undefined) === (path === undefined))
    throw new TypeError('servePlugins needs a port or a path, and not both');
  const { onError = reportError } = options;
  const routes = createRoutes(modules);
  let isStopping = false;
  const handlers = createHandlers(routes, {
    token,
    hasTls: tls !== undefined,
    addr: () => addr,
    isStopping: () => isStopping,
    onError,
  });
  const http1 = createHttp1Server({
    handler: handlers.http,
    onError: (error) => onError(error, 'http'),
    ...(maxRequestBytes === undefined ? {} : { maxBodyBytes: maxRequestBytes }),
  });
  const http2 = new Set<H2Served>();
  const listener = await listen({
    at: path === undefined ? { host, port: port! } : { path },
    tls,
    http1: (socket, first) => http1.handleSocket(socket, first),
    http2: (socket, first) => {
      const served = serveH2(socket, {
        ...handlers,
        first,
        ...(maxRequestBytes === undefined ? {} : { limits: { maxRequestBytes } }),
      });
      http2.add(served);
      void served.closed.then(() => http2.delete(served));
    },
  });
  const address = addressOf(listener);
  const addr = 'path' in address ? `unix:${address.path}` : formatAddr(address);
  return {
    address,
    addr,
    async close(drainMs = defaultDrainMs) {
      isStopping = true;
      await Promise.all([
        listener.close(),
        http1.close(drainMs),
        ...[...http2].map((served) => served.close(drainMs)),
      ]);
    },
  };
}

function addressOf({ address }: Listener): PluginServer['address'] {
  return 'path' in address ? address : { host: address.address, port: address.port };
}

function formatAddr({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
}

/** The only word of a program that has not said where its errors go. */
function reportError(error: unknown, method: string): void {
  console.error(`${method} failed:`, error);
}
