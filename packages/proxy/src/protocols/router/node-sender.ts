import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import type { Address } from '../../core/conn.ts';

/** The longest payload that IPv4 carries in one datagram. */
const maxDatagramBytes = 65_507;

/** What may wait in the system's stead while it takes no more; packets beyond are dropped. */
const maxUnsentBytes = 1024 * 1024;

/** Sends packets to other nodes. Whoever made it closes it. */
export interface NodeSender {
  /** One datagram: the head, and the packet that stands in the bytes. False: it was dropped. */
  send(to: Address, head: Buffer, bytes: Buffer, start: number, end: number): boolean;
  close(): void;
}

/**
 * Sends from one socket for each family, which is opened with the first packet. `to` is an IP address. A node that cannot be
 * reached is like one whose network loses things.
 */
export function createNodeSender(): NodeSender {
  const sockets = new Map<boolean, Socket>();
  let isClosed = false;
  const socketOf = (isSix: boolean): Socket => {
    const known = sockets.get(isSix);
    if (known !== undefined) return known;
    const socket = createSocket({
      type: isSix ? 'udp6' : 'udp4',
      // Only ever given addresses; Node would look each of them up, once a packet.
      lookup: (address, _options, done) => {
        done(null, address, isSix ? 6 : 4);
      },
    });
    // Where it cannot be bound or sent from, packets are lost.
    socket.on('error', () => undefined);
    // What may be sent does not keep the program.
    socket.unref();
    sockets.set(isSix, socket);
    return socket;
  };
  const ignore = () => undefined;
  return {
    send({ host, port }, head, bytes, start, end) {
      if (isClosed || head.length + end - start > maxDatagramBytes) return false;
      const socket = socketOf(isIPv6(host));
      const queued = socket.getSendQueueSize();
      if (queued > maxUnsentBytes) return false;
      const packet = bytes.subarray(start, end);
      // What the system does not take at once would keep all of the memory that it came in.
      socket.send([head, queued === 0 ? packet : Buffer.from(packet)], port, host, ignore);
      return true;
    },
    close() {
      isClosed = true;
      for (const socket of sockets.values()) socket.close();
      sockets.clear();
    },
  };
}
