import { lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Accept, Address, Listening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { createSocketConn } from '../../core/socket-conn.ts';
import { socketPath, unnamed } from './path.ts';

/**
 * Listens on a unix socket. A socket file that a dead program has left is removed; one that somebody listens at, and
 * anything that is no socket, is `addressInUse`. Closing removes the file; connections live on. Rejects with ProxyError
 * `addressInUse` or `listenFailed`.
 */
export async function listenUnix(
  at: Address,
  accept: Accept,
  problem: (error: ProxyError) => void,
): Promise<Listening> {
  const path = socketPath(at);
  try {
    return await listen(path, at, accept, problem);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw listenError(at, cause);
    if (!(await isStale(path))) throw listenError(at, cause);
  }
  try {
    unlinkSync(path);
    return await listen(path, at, accept, problem);
  } catch (cause) {
    throw listenError(at, cause);
  }
}

function listen(
  path: string,
  at: Address,
  accept: Accept,
  problem: (error: ProxyError) => void,
): Promise<Listening> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    accept(createSocketConn(socket, { side: 'client', local: at, remote: unnamed }));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path, backlog: 4096 }, () => {
      server.off('error', reject).on('error', (cause) => {
        const message = `a connection could not be accepted: ${cause.message}`;
        problem(new ProxyError('internal', 'self', message, { cause }));
      });
      resolve({
        address: at,
        close() {
          // Not `server.close(callback)`: that one waits for the connections too.
          if (server.listening) server.close();
          return Promise.resolve();
        },
      });
    });
  });
}

/** True for a socket file that nobody listens at. */
function isStale(path: string): Promise<boolean> {
  try {
    if (!lstatSync(path).isSocket()) return Promise.resolve(false);
  } catch {
    // An abstract socket has no file, and who uses its name is alive.
    return Promise.resolve(false);
  }
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'));
  });
}

function listenError({ host }: Address, error: unknown): ProxyError {
  const cause = error as NodeJS.ErrnoException;
  if (cause.code === 'EADDRINUSE')
    return new ProxyError('addressInUse', 'self', `${host} is in use by another program, or is no socket`, {
      cause,
    });
  const reasons: Readonly<Record<string, string>> = {
    EACCES: 'permission denied',
    ENOENT: 'its folder does not exist',
    ENOTDIR: 'its folder is none',
  };
  const reason = reasons[cause.code ?? ''] ?? cause.message;
  return new ProxyError('listenFailed', 'self', `cannot listen on ${host}: ${reason}`, { cause });
}
