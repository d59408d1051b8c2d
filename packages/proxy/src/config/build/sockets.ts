import type { Accept, Listening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { Way } from '../../core/way.ts';

/** A socket that is listened at. Who is told of its connections changes when another configuration takes it over. */
interface Socket {
  readonly listening: Listening;
  /** What it was opened with, as text. */
  readonly settings: string;
  readonly told: { accept: Accept; problem: (error: ProxyError) => void };
}

/**
 * The sockets that the services of one configuration listen at. The next configuration takes over those whose address it
 * listens at too, so that a reload refuses nobody: the socket stays open, and from one connection to the next somebody else
 * serves it. Layers above it (TLS, WebSocket) are each configuration's own.
 */
export interface Sockets {
  /**
   * The lowest way of a service's listener. Its `listen` opens a socket, or, where the sockets before have one at that
   * address, lays claim to it; `settings` are what sockets of this type are opened with.
   */
  over(of: { readonly service: string; readonly type: string; readonly settings: unknown }, base: Way): Way;
  /** Takes over what was laid claim to; until then nothing has changed for the sockets before. Calls nothing else. */
  take(): void;
  /** Sockets that are ours, by type and address. */
  readonly open: Map<string, Socket>;
}

/** `warn` is told of settings of a socket that is taken over and that count only once it is opened anew. */
export function createSockets(before: Sockets | undefined, warn: (text: string) => void): Sockets {
  const open = new Map<string, Socket>();
  const claims = new Map<string, { readonly socket: Socket; take(): void }>();
  let previous = before;
  return {
    open,
    over({ service, type, settings }, base) {
      const { listen } = base;
      if (listen === undefined) return base;
      const written = JSON.stringify(settings);
      return {
        ...base,
        async listen(at, accept, problem) {
          // A port that the system chose belongs to whoever had it.
          const key = `${type} ${at.host} ${at.port === 0 ? service : String(at.port)}`;
          const known = previous?.open.get(key);
          if (known !== undefined && !claims.has(key)) {
            claims.set(key, {
              socket: known,
              take() {
                known.told.accept = accept;
                known.told.problem = problem;
                if (known.settings !== written)
                  warn(
                    `${service} goes on listening at the socket that it has; what is new of its keep-alive, its datagrams or its device counts after a restart`,
                  );
              },
            });
            return { address: known.listening.address, close: () => release(key, known) };
          }
          const told = { accept, problem };
          const listening = await listen
            .call(
              base,
              at,
              (end) => {
                told.accept(end);
              },
              (error) => {
                told.problem(error);
              },
            )
            .catch((error: unknown) => {
              throw overlaps(error, type, at.port);
            });
          const socket: Socket = { listening, settings: written, told };
          open.set(key, socket);
          return { address: listening.address, close: () => release(key, socket) };
        },
      };
    },
    take() {
      for (const [key, { socket, take }] of claims) {
        take();
        previous?.open.delete(key);
        open.set(key, socket);
      }
      claims.clear();
      previous = undefined;
    },
  };

  /** Closes what is ours; what is not yet, or no longer, is somebody else's. */
  async function release(key: string, socket: Socket): Promise<void> {
    if (claims.get(key)?.socket === socket) claims.delete(key);
    if (open.get(key) !== socket) return;
    open.delete(key);
    await socket.listening.close();
  }

  /** An address that is in use may be in use by ourselves: `:8080` and `127.0.0.1:8080` exclude each other. */
  function overlaps(error: unknown, type: string, port: number): unknown {
    if (!(error instanceof ProxyError) || error.code !== 'addressInUse' || port === 0) return error;
    const ours = [...(previous?.open ?? [])].some(
      ([key, { listening }]) => key.startsWith(`${type} `) && listening.address.port === port,
    );
    if (!ours) return error;
    return new ProxyError(
      'addressInUse',
      'self',
      `port ${String(port)} is still listened at, at another address, by the configuration that runs; such a change needs a restart`,
      { cause: error },
    );
  }
}
