import type { RemoteInfo, Socket } from 'node:dgram';
import type { Accept, Address } from '../../core/conn.ts';
import { createDatagramInbox } from '../../core/datagrams.ts';
import type { DatagramInbox, Datagrams } from '../../core/datagrams.ts';
import { maxDatagramBytes, maxUnsentBytes } from './options.ts';
import type { UdpListenerOptions } from './options.ts';
import { plainAddress } from './socket.ts';

const defaultTtlMs = 5000;
const defaultBacklog = 1024;

/** Peers of one listener at once. Source addresses can be forged, so that a table without an end would have none. */
const maxPeers = 65_536;

/** What {@link createPeers} is told. */
export interface PeersOptions extends UdpListenerOptions {
  readonly local: Address;
  readonly accept: Accept;
  /** Told that a datagram was dropped, and why. */
  readonly dropped: (why: string) => void;
  /** Told when the last peer has ended. */
  readonly empty: () => void;
}

/** The peers of one listener: each source address is one end. */
export interface Peers {
  readonly size: number;
  take(data: Buffer, from: RemoteInfo): void;
  /** New peers are dropped from now on. */
  stop(): void;
}

/** Sorts a socket's datagrams by where they are from. */
export function createPeers(socket: Socket, options: PeersOptions): Peers {
  const { local, accept, dropped, empty } = options;
  const ttlMs = options.ttlMs || defaultTtlMs;
  const backlog = options.backlog || defaultBacklog;
  const maxBytes = options.readBufferSize || Infinity;
  const peers = new Map<string, Peer>();
  let waiting = 0;
  let isStopped = false;
  let sweeping: NodeJS.Timeout | undefined;
  const sweep = () => {
    const now = Date.now();
    for (const peer of peers.values()) if (now - peer.lastMs >= ttlMs) peer.close();
  };
  const add = (key: string, from: RemoteInfo): Peer => {
    const peer = new Peer(socket, local, from, {
      received: () => waiting--,
      closed: () => {
        peers.delete(key);
        if (peers.size > 0) return;
        clearInterval(sweeping);
        sweeping = undefined;
        empty();
      },
    });
    waiting++;
    peers.set(key, peer);
    // One timer for all of them; a session lives up to a quarter longer than it has to.
    sweeping ??= setInterval(sweep, Math.max(ttlMs / 4, 5));
    return peer;
  };
  return {
    get size() {
      return peers.size;
    },
    take(data, from) {
      const key = `${from.address} ${String(from.port)}`;
      let peer = peers.get(key);
      if (data.length > maxBytes) {
        dropped(`longer than ${String(maxBytes)} bytes`);
        return;
      }
      if (peer === undefined) {
        if (isStopped) return;
        if (peers.size >= maxPeers) {
          dropped(`${String(maxPeers)} peers are being served`);
          return;
        }
        if (waiting >= backlog) {
          dropped(`${String(backlog)} peers wait to be served`);
          return;
        }
        peer = add(key, from);
        peer.deliver(data);
        accept(peer);
      } else if (!peer.deliver(data)) dropped('a peer that waits to be served sends too much');
    },
    stop() {
      isStopped = true;
    },
  };
}

class Peer implements Datagrams {
  readonly kind = 'datagrams';
  readonly local: Address;
  readonly remote: Address;
  readonly closed: Promise<void>;
  /** When something last came or went. */
  lastMs = Date.now();
  readonly #socket: Socket;
  readonly #from: RemoteInfo;
  readonly #inbox: DatagramInbox = createDatagramInbox();
  readonly #told: { received(): void; closed(): void };
  #isReceived = false;
  #isClosed = false;
  #resolveClosed!: () => void;

  constructor(socket: Socket, local: Address, from: RemoteInfo, told: { received(): void; closed(): void }) {
    this.#socket = socket;
    this.#from = from;
    this.#told = told;
    this.local = local;
    this.remote = plainAddress(from);
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
  }

  deliver(data: Buffer): boolean {
    this.lastMs = Date.now();
    return this.#inbox.deliver(data, this.remote);
  }

  receive(each: (data: Buffer, peer: Address) => void): void {
    this.#beReceived();
    this.#inbox.receive(each);
  }

  send(data: Uint8Array): boolean {
    if (this.#isClosed || data.length > maxDatagramBytes) return false;
    if (this.#socket.getSendQueueSize() > maxUnsentBytes) return false;
    this.lastMs = Date.now();
    // The system may take it later than we return. A peer that cannot be reached is like one whose network loses things.
    this.#socket.send(Buffer.from(data), this.#from.port, this.#from.address, () => undefined);
    return true;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#beReceived();
    this.#inbox.close();
    this.#told.closed();
    this.#resolveClosed();
  }

  /** It no longer counts among those that wait to be served. */
  #beReceived(): void {
    if (this.#isReceived) return;
    this.#isReceived = true;
    this.#told.received();
  }
}
