import { connectOver } from '../engine/connected-plugin.ts';
import type { ConnectPluginOptions, ConnectedPlugin, Transports } from '../engine/connected-plugin.ts';
import type { Contract, Implementation, Methods } from '../contract.ts';
import { PluginError } from '../errors.ts';
import { createHandlers } from '../server/handlers.ts';
import { createRoutes, implement } from '../server/routes.ts';
import { pluginErrorCodeOf } from '../wire/grpc-codes.ts';
import { GrpcStatus, grpcStatus } from '../wire/grpc.ts';
import { statusError } from '../wire/http-errors.ts';

/** As for `connectPlugin`, without what says where and how: there is no address and no TLS. */
export interface InMemoryPluginOptions extends Omit<ConnectPluginOptions, 'addr' | 'tls'> {
  /** What the server asks for. Default: nothing. The client sends `token`. */
  readonly serverToken?: string;
  /** Told what the implementation threw, and in which method. Default: nobody is; the asker sees `internal`. */
  readonly onImplementationError?: (error: unknown, method: string) => void;
}

/**
 * A plugin in this process, without a port: every question goes through the real engine and the codecs of the client and
 * the server, over either transport, as bytes, so that what could not be said over the wire cannot be said here. Deadlines
 * and signals hold. There is nothing between the two, so what connections do is not to be seen here; an implementation's
 * `call.remote` is `memory`. Nothing is left open when nothing is asked; `close` is there because a proxy calls it.
 */
export function inMemoryPlugin<M extends Methods>(
  contract: Contract<M>,
  implementation: Implementation<M>,
  { serverToken, onImplementationError: onError = () => {}, ...options }: InMemoryPluginOptions = {},
): ConnectedPlugin<M> {
  const handlers = createHandlers(createRoutes([implement(contract, implementation)]), {
    token: serverToken,
    hasTls: false,
    addr: () => 'memory',
    isStopping: () => false,
    onError,
  });
  const transports: Transports = {
    grpc: ({ endpoint: { url } }) => ({
      call: ({ path, message, metadata = [], timeoutMs, signal }) =>
        within(url, timeoutMs, signal, async (served) => {
          try {
            const reply = await handlers.grpc({
              path,
              message: Buffer.from(message),
              metadata,
              signal: served,
              timeoutMs,
              remote: 'memory',
            });
            const { headers = [], trailers = [] } = reply;
            const bytes = Buffer.from(reply.message);
            return { message: bytes, headers, trailers, ...counted(message.length, bytes.length) };
          } catch (error) {
            if (!(error instanceof GrpcStatus)) throw error;
            const { status } = error;
            throw new PluginError(pluginErrorCodeOf(status), error.message, {
              endpoint: url,
              grpcStatus: status,
            });
          }
        }),
      close: async () => {},
    }),
    http: ({ endpoint }) => ({
      request: ({ verb, path: target, headers, body = '', timeoutMs, signal }) =>
        within(endpoint.url, timeoutMs, signal, async (served) => {
          const [path = '', query = ''] = target.split('?', 2);
          const reply = await handlers.http({
            verb,
            path,
            query,
            headers,
            body: Buffer.from(body),
            signal: served,
            remote: 'memory',
          });
          const bytes = Buffer.from(reply.body);
          const { status, headers: answered = [] } = reply;
          if (status !== 200) throw statusError(endpoint, status, '', answered, bytes);
          return { status, headers: answered, body: bytes, ...counted(body.length, bytes.length) };
        }),
      close: async () => {},
    }),
  };
  return connectOver(transports, contract, { ...options, addr: 'memory:1' });
}

function counted(bytesSent: number, bytesReceived: number) {
  return { bytesSent, bytesReceived };
}

/** Waits for an answer as long as its asker does, and tells whoever answers when that is over. */
async function within<Reply>(
  endpoint: string,
  timeoutMs: number | undefined,
  signal: AbortSignal | undefined,
  answer: (served: AbortSignal) => Promise<Reply>,
): Promise<Reply> {
  const served = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let onAbort = (): void => {};
  const over = new Promise<never>((_resolve, reject) => {
    const giveUp = (code: 'timeout' | 'canceled', message: string, status: number, cause?: unknown): void => {
      reject(new PluginError(code, message, { endpoint, grpcStatus: status, cause }));
      served.abort();
    };
    onAbort = () =>
      giveUp('canceled', 'nobody waits for the answer any more', grpcStatus.cancelled, signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (timeoutMs === undefined) return;
    timer = setTimeout(
      () =>
        giveUp('timeout', `the plugin did not answer within ${timeoutMs} ms`, grpcStatus.deadlineExceeded),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([answer(served.signal), over]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
