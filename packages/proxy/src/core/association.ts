import { isIP } from 'node:net';
import { canonicalTarget, formatAddress } from './address.ts';
import type { Address } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import { ProxyError } from './errors.ts';

/** What an association asks about each peer, once. */
export interface AssociationRules {
  /** Rejects with ProxyError where datagrams may not go there or come from there. */
  check(peer: Address): Promise<void>;
  /** What the peer's name stands for. Rejects with ProxyError. */
  resolve(peer: Address): Promise<Address>;
  /** Whether an address that a name turned out to have may be sent to, and heard. */
  refuses(address: Address): ProxyError | undefined;
}

/** What waits for one peer while it is asked about, and for all together; the rest is dropped, as a network would. */
const maxWaiting = { datagrams: 16, bytes: 256 * 1024 };

/** Peers that are remembered; of more the one that was used longest ago is asked about again. */
const maxPeers = 1024;

/** A decision about a peer counts for so long. A client that keeps sending is asked about again now and then. */
const decisionMs = 60_000;

/** That nobody could be asked is no decision, and is found out again soon; but not for each datagram. */
const failureMs = 1000;

type Pass = (data: Buffer, peer: Address) => void;

interface Peer {
  /** Its address, once it is known; null: there is nothing for it or from it. */
  to: Address | null | undefined;
  until: number;
  readonly waiting: Buffer[];
  /** Of one that may answer: what the client calls it, by which it was decided about. */
  readonly asked?: Address;
}

type Ask = (address: Address, before: Peer | undefined) => Promise<Address>;

/**
 * Datagrams between a client and any peer, where each peer is asked about once: what comes meanwhile waits, what is
 * refused is dropped, in both directions. Whoever was sent to may answer. Where only a node at the end of a chain knows
 * what a name stands for, anybody may answer from the name's port whom no rule about addresses refuses. Closing it closes
 * `under`.
 */
export function associate(under: Datagrams, rules: AssociationRules, now = Date.now): Datagrams {
  return new Association(under, rules, now);
}

class Association implements Datagrams {
  readonly kind = 'datagrams';
  readonly closed: Promise<void>;
  readonly #under: Datagrams;
  readonly #rules: AssociationRules;
  readonly #now: () => number;
  /** By what the client calls them. */
  readonly #outward = new Map<string, Peer>();
  /** By the address that they send from. */
  readonly #inward = new Map<string, Peer>();
  /** By port, until when a name there may answer that has no address here. */
  readonly #named = new Map<number, number>();
  #waitingBytes = 0;
  #deliver: Pass | undefined;

  constructor(under: Datagrams, rules: AssociationRules, now: () => number) {
    this.#under = under;
    this.#rules = rules;
    this.#now = now;
    this.closed = under.closed;
    under.receive((data, peer) => {
      const state = this.#known(this.#inward, peer, this.#mayCome, this.#toClient);
      this.#handOver(state, data, this.#toClient);
    });
  }

  get local(): Address {
    return this.#under.local;
  }

  get remote(): Address {
    return this.#under.remote;
  }

  receive(each: Pass): void {
    this.#deliver = each;
  }

  send(data: Uint8Array, peer: Address = this.remote): boolean {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    return this.#handOver(this.#known(this.#outward, peer, this.#mayGo, this.#toPeer), bytes, this.#toPeer);
  }

  close(): void {
    this.#under.close();
  }

  readonly #toPeer = (data: Buffer, peer: Address): boolean => this.#under.send(data, peer);

  readonly #toClient = (data: Buffer, peer: Address): boolean => {
    this.#deliver?.(data, peer);
    return true;
  };

  /** Where datagrams to the peer go. */
  readonly #mayGo: Ask = async (peer) => {
    const { check, resolve, refuses } = this.#rules;
    const target = canonicalTarget(peer);
    await check(target);
    const to = await resolve(target);
    const refused = to.host === target.host ? undefined : refuses(to);
    if (refused !== undefined) throw refused;
    const until = this.#now() + decisionMs;
    // Answers come from there, and have been decided about with it, whatever was said of the address alone.
    if (isIP(to.host) !== 0)
      this.#remember(this.#inward, formatAddress(to), { to, until, waiting: [], asked: target });
    else this.#named.set(to.port, until);
    if (this.#named.size > maxPeers) this.#named.delete(this.#named.keys().next().value!);
    return to;
  };

  /** Whether the client may hear of the peer. */
  readonly #mayCome: Ask = async (peer, before) => {
    const from = canonicalTarget(peer);
    if (before?.asked !== undefined) {
      const to = await this.#mayGo(before.asked, undefined);
      if (to.host === from.host && to.port === from.port) return from;
    }
    const answersUntil = this.#named.get(from.port) ?? 0;
    if (answersUntil <= this.#now()) await this.#rules.check(from);
    else {
      const refused = this.#rules.refuses(from);
      if (refused !== undefined) throw refused;
    }
    return from;
  };

  /** The peer's state, asked about now where that has to be. */
  #known(
    table: Map<string, Peer>,
    address: Address,
    ask: Ask,
    pass: (data: Buffer, peer: Address) => boolean,
  ): Peer {
    const key = formatAddress(address);
    const found = table.get(key);
    if (found !== undefined && found.until > this.#now()) {
      // Last used is last in the map.
      table.delete(key);
      table.set(key, found);
      return found;
    }
    const peer: Peer = { to: undefined, until: Infinity, waiting: [] };
    this.#remember(table, key, peer);
    ask(address, found).then(
      (to) => {
        peer.to = to;
        peer.until = this.#now() + decisionMs;
        for (const data of this.#waited(peer)) pass(data, to);
      },
      (error: unknown) => {
        // Why is told where the decision was made.
        peer.to = null;
        const isDecided =
          error instanceof ProxyError && (error.code === 'forbidden' || error.at === 'client');
        peer.until = this.#now() + (isDecided ? decisionMs : failureMs);
        this.#waited(peer);
      },
    );
    return peer;
  }

  #remember(table: Map<string, Peer>, key: string, peer: Peer): void {
    table.delete(key);
    table.set(key, peer);
    if (table.size > maxPeers) table.delete(table.keys().next().value!);
  }

  #handOver(peer: Peer, data: Buffer, pass: (data: Buffer, peer: Address) => boolean): boolean {
    if (peer.to === null) return false;
    if (peer.to !== undefined) return pass(data, peer.to);
    const bytes = this.#waitingBytes + data.length;
    if (peer.waiting.length >= maxWaiting.datagrams || bytes > maxWaiting.bytes) return false;
    this.#waitingBytes = bytes;
    // Whoever gave it may use the memory again.
    peer.waiting.push(Buffer.from(data));
    return true;
  }

  #waited(peer: Peer): Buffer[] {
    const waited = peer.waiting.splice(0);
    for (const { length } of waited) this.#waitingBytes -= length;
    return waited;
  }
}
