import { formatAddress } from './address.ts';
import type { Accept, Address } from './conn.ts';
import { createDatagramInbox } from './datagrams.ts';
import type { DatagramInbox, Datagrams } from './datagrams.ts';

/** GOST's for UDP listeners. */
const defaultTtlMs = 5000;
const defaultBacklog = 1024;

/** Peers of one place at once. Source addresses can be forged, so that a table without an end would have none. */
const maxPeers = 65_536;

/** What {@link createDatagramPeers} is told. `From` is how the place beneath names a peer. */
export interface DatagramPeersOptions<From> {
  /** The address of the place, as its peers see it. */
  readonly local: Address;
  readonly keyOf: (from: From) => string;
  readonly addressOf: (from: From) => Address;
  /** As {@link Datagrams.send}. */
  readonly send: (data: Uint8Array, to: From) => boolean;
  /** Given each peer that has not been heard of. Absent: only those are served that were opened. */
  readonly accept?: Accept;
  /** Told that a datagram was dropped, and why. Returns at once. */
  readonly dropped: (why: string) => void;
  /** Told when the last peer has ended. */
  readonly empty?: () => void;
  /** Silence after which a peer ends, in milliseconds. Absent or 0: 5,000, as in GOST; Infinity: never. */
  readonly ttlMs?: number;
  /** Peers that may wait to be received. Absent or 0: 1,024. */
  readonly backlog?: number;
  /** Longer datagrams are dropped, in bytes. Absent or 0: none is. */
  readonly maxBytes?: number;
}

/** The peers of one place that datagrams come to and go from: each is an end of its own. */
export interface DatagramPeers<From> {
  readonly size: number;
  /** Gives a datagram to the peer that it is from. */
  take(data: Buffer, from: From): void;
  /** Makes a peer that nothing has come from, in place of one of the same key. Whoever asks for it closes it. */
  open(to: From): Datagrams;
  /** New peers are dropped from now on. */
  stop(): void;
  /** Ends all peers, and {@link stop}. */
  close(): void;
}

/** How peers are told apart whose place knows no more of them than their addresses. */
export const byAddress = {
  keyOf: formatAddress,
  addressOf: (address: Address): Address => address,
} as const;

/** Sorts the datagrams of one place by where they are from. What comes to a peer while nobody receives it waits, within bounds. */
export function createDatagramPeers<From>(options: DatagramPeersOptions<From>): DatagramPeers<From> {
  const { local, keyOf, addressOf, send, accept, dropped, empty } = options;
  const ttlMs = options.ttlMs || defaultTtlMs;
  const backlog = options.backlog || defaultBacklog;
  const maxBytes = options.maxBytes || Infinity;
  const peers = new Map<string, Peer<From>>();
  let waiting = 0;
  let isStopped = false;
  let sweeping: NodeJS.Timeout | undefined;
  const sweep = () => {
    const now = Date.now();
    for (const peer of peers.values()) if (now - peer.lastMs >= ttlMs) peer.close();
  };
  const add = (key: string, from: From): Peer<From> => {
    const peer: Peer<From> = new Peer(
      { local, remote: addressOf(from) },
      { from, send },
      {
        received: () => waiting--,
        closed: () => {
          if (peers.get(key) === peer) peers.delete(key);
          if (peers.size > 0) return;
          clearInterval(sweeping);
          sweeping = undefined;
          empty?.();
        },
      },
    );
    waiting++;
    peers.set(key, peer);
    // One timer for all of them; a peer lives up to a quarter longer than it has to.
    if (ttlMs < Infinity) sweeping ??= setInterval(sweep, Math.max(ttlMs / 4, 5));
    return peer;
  };
  /** A peer that has not been heard of; undefined where it is not served. */
  const meet = (key: string, from: From): Peer<From> | undefined => {
    if (accept === undefined) dropped('nobody has heard of its peer');
    else if (peers.size >= maxPeers) dropped(`${String(maxPeers)} peers are being served`);
    else if (waiting >= backlog) dropped(`${String(backlog)} peers wait to be served`);
    else return add(key, from);
    return undefined;
  };
  return {
    get size() {
      return peers.size;
    },
    take(data, from) {
      const key = keyOf(from);
      const known = peers.get(key);
      if (known === undefined && isStopped) return;
      if (data.length > maxBytes) {
        dropped(`longer than ${String(maxBytes)} bytes`);
        return;
      }
      const peer = known ?? meet(key, from);
      if (peer === undefined) return;
      if (!peer.deliver(data)) dropped('a peer that waits to be served sends too much');
      if (known === undefined) accept?.(peer);
    },
    open(to) {
      const key = keyOf(to);
      peers.get(key)?.close();
      const peer = add(key, to);
      if (isStopped) peer.close();
      return peer;
    },
    stop() {
      isStopped = true;
    },
    close() {
      isStopped = true;
      for (const peer of [...peers.values()]) peer.close();
    },
  };
}

class Peer<From> implements Datagrams {
  readonly kind = 'datagrams';
  readonly local: Address;
  readonly remote: Address;
  readonly closed: Promise<void>;
  /** When something last came or went. */
  lastMs = Date.now();
  readonly #from: From;
  readonly #send: (data: Uint8Array, to: From) => boolean;
  readonly #inbox: DatagramInbox = createDatagramInbox();
  readonly #told: { received(): void; closed(): void };
  #isReceived = false;
  #isClosed = false;
  #resolveClosed!: () => void;

  constructor(
    { local, remote }: { local: Address; remote: Address },
    { from, send }: { from: From; send: (data: Uint8Array, to: From) => boolean },
    told: { received(): void; closed(): void },
  ) {
    this.local = local;
    this.remote = remote;
    this.#from = from;
    this.#send = send;
    this.#told = told;
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
    if (this.#isClosed || !this.#send(data, this.#from)) return false;
    this.lastMs = Date.now();
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
