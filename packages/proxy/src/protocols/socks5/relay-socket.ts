import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { formatAddress } from '../../core/address.ts';
import type { Address } from '../../core/conn.ts';
import { createDatagramInbox } from '../../core/datagrams.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import { formatSocks5Datagram, parseSocks5Datagram } from '../../wire/socks5-udp.ts';
import type { Socks5UdpDatagram } from '../../wire/socks5-udp.ts';
import { asBuffer } from '../../core/framed-datagrams.ts';

/** What may wait in the system's queue; datagrams beyond are dropped, as a network would. */
const maxQueuedBytes = 1024 * 1024;

/** Ports of a range that are tried before the range counts as full, from a random one on. */
const maxPortsTried = 64;

/** Where a client's datagrams come in. */
export interface RelaySocketOptions {
  /** The IP address to bind. */
  readonly host: string;
  /** The ports to choose from. Absent: the system chooses. */
  readonly ports?: { readonly min: number; readonly max: number };
  /** Datagrams of any other host are dropped, whoever sent them. */
  readonly clientHost: string;
  /** Where the client sends from, if it has said so; answers go there before its first datagram has come. */
  readonly client?: Address;
}

/**
 * Opens the relay's socket for one client (RFC 1928, section 7). Each datagram is given with the address that its header
 * names; what has no such header, or is a fragment, is dropped. Answers go to where the client's last datagram came from:
 * its port may change, as the mappings of a NAT do. Rejects with `addressInUse` or `listenFailed`.
 */
export async function openRelaySocket(options: RelaySocketOptions): Promise<Datagrams> {
  const { host, clientHost } = options;
  const socket = await bind(options);
  const { port } = socket.address();
  const inbox = createDatagramInbox();
  let client = options.client;
  let end!: () => void;
  const closed = new Promise<void>((resolve) => (end = resolve));
  let open = true;
  const close = () => {
    if (!open) return;
    open = false;
    inbox.close();
    socket.close(end);
  };
  socket
    .on('message', (bytes, from) => {
      if (from.address !== clientHost) return;
      const datagram = parse(bytes);
      if (datagram?.fragment !== 0) return;
      client = { host: from.address, port: from.port };
      inbox.deliver(datagram.data, datagram.address);
    })
    // Nothing is known that would make a bound socket fail; if it does, nobody can be served by it any more.
    .on('error', close);
  return {
    kind: 'datagrams',
    local: { host, port },
    remote: client ?? { host: clientHost, port: 0 },
    closed,
    receive: inbox.receive,
    send(data, peer) {
      if (!open || client === undefined || peer === undefined) return false;
      if (socket.getSendQueueSize() > maxQueuedBytes) return false;
      let bytes: Buffer;
      try {
        bytes = formatSocks5Datagram({ address: peer, data: asBuffer(data) });
      } catch (error) {
        if (error instanceof ProxyError) return false;
        throw error;
      }
      // One that does not fit, or that the network has no way for, is lost, as datagrams are.
      socket.send(bytes, client.port, client.host, () => undefined);
      return true;
    },
    close,
  };
}

function parse(bytes: Buffer): Socks5UdpDatagram | undefined {
  try {
    return parseSocks5Datagram(bytes, 'client');
  } catch (error) {
    // One bad datagram is no reason to end what the others are for.
    if (error instanceof ProxyError) return undefined;
    throw error;
  }
}

async function bind({ host, ports }: RelaySocketOptions): Promise<Socket> {
  if (ports === undefined) return bindTo(host, 0);
  const { min, max } = ports;
  const count = max - min + 1;
  if (count < 1) {
    throw new ProxyError('listenFailed', 'self', `udp.bindRange ends (${String(max)}) before it begins`);
  }
  const offset = Math.floor(Math.random() * count);
  let last: unknown;
  for (let tried = 0; tried < Math.min(count, maxPortsTried); tried++) {
    try {
      return await bindTo(host, min + ((offset + tried) % count));
    } catch (error) {
      last = error;
      if ((error as ProxyError).code !== 'addressInUse') break;
    }
  }
  throw last;
}

function bindTo(host: string, port: number): Promise<Socket> {
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4' });
  return new Promise((resolve, reject) => {
    const failed = (cause: NodeJS.ErrnoException) => {
      socket.close();
      const code = cause.code === 'EADDRINUSE' ? 'addressInUse' : 'listenFailed';
      const message = `no socket for datagrams at ${formatAddress({ host, port })}: ${cause.message}`;
      reject(new ProxyError(code, 'self', message, { cause }));
    };
    socket.once('error', failed).bind({ address: host, port, exclusive: true }, () => {
      socket.off('error', failed);
      resolve(socket);
    });
  });
}
