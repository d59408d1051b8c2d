import type { RemoteInfo, Socket } from 'node:dgram';
import type { Accept, Address } from '../../core/conn.ts';
import { createDatagramPeers } from '../../core/datagram-peers.ts';
import type { DatagramPeers } from '../../core/datagram-peers.ts';
import { maxDatagramBytes, maxUnsentBytes } from './options.ts';
import type { UdpListenerOptions } from './options.ts';
import { plainAddress } from './socket.ts';

/** What {@link createPeers} is told. */
export interface PeersOptions extends UdpListenerOptions {
  readonly local: Address;
  readonly accept: Accept;
  /** Told that a datagram was dropped, and why. */
  readonly dropped: (why: string) => void;
  /** Told when the last peer has ended. */
  readonly empty: () => void;
}

/** Sorts a socket's datagrams by where they are from: each source address is one end. */
export function createPeers(socket: Socket, options: PeersOptions): DatagramPeers<RemoteInfo> {
  const { readBufferSize: maxBytes, ...rest } = options;
  return createDatagramPeers({
    ...rest,
    ...(maxBytes !== undefined && { maxBytes }),
    // Plain addresses would be made anew for each datagram.
    keyOf: ({ address, port }: RemoteInfo) => `${address} ${String(port)}`,
    addressOf: plainAddress,
    send(data, to) {
      if (data.length > maxDatagramBytes || socket.getSendQueueSize() > maxUnsentBytes) return false;
      // The system may take it later than we return. A peer that cannot be reached is like one whose network loses things.
      socket.send(Buffer.from(data), to.port, to.address, () => undefined);
      return true;
    },
  });
}
