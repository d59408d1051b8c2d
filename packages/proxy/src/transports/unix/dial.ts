import { connect } from 'node:net';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { createSocketConn } from '../../core/socket-conn.ts';
import type { Context } from '../../core/way.ts';
import { socketPath, unnamed } from './path.ts';

/**
 * Connects to a unix socket. It answers at once or not at all, unless its backlog is full; then the signal ends the wait.
 * Rejects with ProxyError `dialFailed`, or `clientClosed` when the signal fires.
 */
export async function dialUnix(to: Address, { signal }: Context): Promise<Conn> {
  const path = socketPath(to);
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      socket?.destroy();
      reject(new ProxyError('clientClosed', 'client', 'the client went away while its target was dialled'));
    };
    let socket: ReturnType<typeof connect> | undefined;
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    const opening = (socket = connect({ path, allowHalfOpen: true }));
    const failed = (cause: Error) => {
      signal.removeEventListener('abort', onAbort);
      reject(dialError(to, cause));
    };
    opening.once('error', failed);
    opening.once('connect', () => {
      signal.removeEventListener('abort', onAbort);
      opening.off('error', failed);
      resolve(createSocketConn(opening, { side: 'upstream', local: unnamed, remote: to }));
    });
  });
}

function dialError({ host }: Address, cause: NodeJS.ErrnoException): ProxyError {
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: `there is no socket at ${host}`,
    ENOTSOCK: `${host} is no socket`,
    ECONNREFUSED: `nothing listens at ${host} (connection refused)`,
    EACCES: `this process may not connect to ${host} (permission denied)`,
    EPROTOTYPE: `${host} is no socket for streams`,
  };
  const message = reasons[cause.code ?? ''] ?? `${host} could not be reached: ${cause.message}`;
  return new ProxyError('dialFailed', 'upstream', message, { cause, retryable: true });
}
