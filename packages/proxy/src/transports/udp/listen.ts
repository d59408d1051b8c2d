import type { Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { formatAddress } from '../../core/address.ts';
import type { Accept, Address, Listening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { UdpListenerOptions } from './options.ts';
import { createPeers } from './peers.ts';
import { openSocket } from './socket.ts';

/** What may wait in the system until it is looked at. */
const receiveBufferBytes = 1024 * 1024;

/** Dropped datagrams are counted, and told at most so often. */
const tellDropsMs = 10_000;

/**
 * Binds, and accepts each source address as one end, which ends when nothing has come from it or gone to it for `ttl`. An
 * empty host means every address, IPv6 and IPv4. Closing takes no new peers; those that are there live on, and share the
 * port: `close` resolves when the last has ended and the port is free. Rejects with ProxyError `addressInUse` or
 * `listenFailed`.
 */
export async function listenUdp(
  at: Address,
  accept: Accept,
  problem: (error: ProxyError) => void,
  options: UdpListenerOptions,
): Promise<Listening> {
  const socket = await bind(at);
  const { address: host, port } = socket.address();
  const local = { host, port };
  let isClosing = false;
  let drops = 0;
  let telling: NodeJS.Timeout | undefined;
  const tell = (why: string) => {
    const count = drops;
    drops = 0;
    const message = `${formatAddress(local)}: ${String(count)} datagrams were dropped, the last because ${why}`;
    problem(new ProxyError('tooManyRequests', 'client', message));
  };
  const dropped = (why: string) => {
    drops++;
    telling ??= setTimeout(() => {
      telling = undefined;
      tell(why);
    }, tellDropsMs).unref();
  };
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      clearTimeout(telling);
      resolve();
    });
  });
  const closeWhenEmpty = () => {
    if (isClosing && peers.size === 0) socket.close();
  };
  const peers = createPeers(socket, { ...options, local, accept, dropped, empty: closeWhenEmpty });
  socket.on('message', peers.take);
  socket.on('error', (cause) => {
    problem(new ProxyError('internal', 'self', `${formatAddress(local)}: ${cause.message}`, { cause }));
  });
  return {
    address: local,
    close() {
      if (!isClosing) {
        isClosing = true;
        peers.stop();
        closeWhenEmpty();
      }
      return closed;
    },
  };
}

async function bind(at: Address): Promise<Socket> {
  try {
    if (at.host === '') return await bindTo({ host: '::', port: at.port });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    // A system without IPv6.
    if (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL') throw listenError(at, cause);
  }
  try {
    const host = at.host === '' ? '0.0.0.0' : at.host;
    const address = isIP(host) === 0 ? (await lookup(host)).address : host;
    return await bindTo({ host: address, port: at.port });
  } catch (cause) {
    throw listenError(at, cause);
  }
}

function bindTo({ host, port }: Address): Promise<Socket> {
  const socket = openSocket(host);
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      socket.close();
      reject(error);
    };
    socket.once('error', failed);
    socket.bind({ address: host, port }, () => {
      socket.off('error', failed);
      makeRoom(socket);
      resolve(socket);
    });
  });
}

/** All peers share the socket's room in the system, and the usual two hundred kilobytes are one burst of one of them. */
function makeRoom(socket: Socket): void {
  try {
    // Linux gives as much of it as net.core.rmem_max allows.
    socket.setRecvBufferSize(receiveBufferBytes);
  } catch {
    // Systems that allow less say so, and the socket has the room that it had.
  }
}

function listenError(at: Address, error: unknown): ProxyError {
  const cause = error as NodeJS.ErrnoException;
  const where = at.host === '' ? `:${String(at.port)}` : formatAddress(at);
  if (cause.code === 'EADDRINUSE')
    return new ProxyError('addressInUse', 'self', `UDP ${where} is in use by another program`, { cause });
  const reasons: Readonly<Record<string, string>> = {
    EACCES: 'permission denied; ports below 1024 usually need a privilege',
    EADDRNOTAVAIL: 'this machine has no such address',
    ENOTFOUND: 'there is no such name',
  };
  const reason = reasons[cause.code ?? ''] ?? cause.message;
  return new ProxyError('listenFailed', 'self', `cannot listen on UDP ${where}: ${reason}`, { cause });
}
