import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { formatAddress } from '../../core/address.ts';
import type { Accept, Address, Listening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { createSocketConn } from '../../core/socket-conn.ts';
import { socketOptions } from './options.ts';
import type { TcpListenerOptions } from './options.ts';

/** Connections that the kernel may hold until they are accepted; it has its own, often lower, limit. Go's default on Linux. */
const backlog = 4096;

/**
 * Listens. An empty host means every address, IPv6 and IPv4. Closing stops accepting and resolves once the port is
 * free; connections live on. Rejects with ProxyError `addressInUse` or `listenFailed`.
 */
export function listenTcp(
  at: Address,
  accept: Accept,
  problem: (error: ProxyError) => void,
  options: TcpListenerOptions = {},
): Promise<Listening> {
  const server = createServer({ ...socketOptions(options), pauseOnConnect: true }, (socket) => {
    // Reset before it was accepted: nobody can be asked who it was, and the system may show its end as a half-closed one.
    if (socket.remoteAddress === undefined) socket.destroy();
    else accept(createSocketConn(socket, { side: 'client' }));
  });
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      reject(listenError(at, error));
    };
    server.once('error', failed);
    server.listen({ port: at.port, ...(at.host !== '' && { host: at.host }), backlog }, () => {
      server.off('error', failed).on('error', (cause: Error) => {
        problem(
          new ProxyError('internal', 'self', `a connection could not be accepted: ${cause.message}`, {
            cause,
          }),
        );
      });
      const { address: host, port } = server.address() as AddressInfo;
      resolve({ address: { host, port }, close: () => close() });
    });
  });

  function close(): Promise<void> {
    // Not `server.close(callback)`: that one waits for the connections too. The port is free at once.
    if (server.listening) server.close();
    return Promise.resolve();
  }
}

function listenError(at: Address, cause: NodeJS.ErrnoException): ProxyError {
  const where = at.host === '' ? `:${String(at.port)}` : formatAddress(at);
  if (cause.code === 'EADDRINUSE') {
    return new ProxyError('addressInUse', 'self', `${where} is in use by another program`, { cause });
  }
  const reasons: Readonly<Record<string, string>> = {
    EACCES: 'permission denied; ports below 1024 usually need a privilege',
    EADDRNOTAVAIL: 'this machine has no such address',
    ENOTFOUND: 'there is no such name',
  };
  const reason = reasons[cause.code ?? ''] ?? cause.message;
  return new ProxyError('listenFailed', 'self', `cannot listen on ${where}: ${reason}`, { cause });
}
