import { canonicalTarget, formatAddress } from './address.ts';
import type { Address } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import type { ProxyError } from './errors.ts';

/** What an association asks about each peer, once. */
export interface AssociationRules {
  /** Rejects with ProxyError where datagrams may not go there or come from there. */
  check(peer: Address): Promise<void>;
  /** What the peer's name stands for. Rejects with ProxyError. */
  resolve(peer: Address): Promise<Address>;
  /** Whether an address that a name turned out to have may be sent to. */
  refuses(address: Address): ProxyError | undefined;
}

/** Datagrams that wait for one peer while it is asked about; later ones are dropped, as a network would. */
const maxWaiting = 16;

/** Peers that are remembered; of more the one that was used longest ago is asked about again. */
const maxPeers = 1024;

/** A decision about a peer counts for so long. A client that keeps sending is asked about again now and then. */
const decisionMs = 60_000;

interface Peer {
  /** Where to, once it is known; null: nowhere. */
  to: Address | null | undefined;
  until: number;
  readonly waiting: Buffer[];
}

/**
 * Datagrams between a client and any peer, where each peer is asked about once: what is sent meanwhile waits, what is
 * refused is dropped, in both directions. Closing it closes `under`.
 */
export function associate(under: Datagrams, rules: AssociationRules, now = Date.now): Datagrams {
  const outward = new Map<string, Peer>();
  const inward = new Map<string, Peer>();
  let deliver: ((data: Buffer, peer: Address) => void) | undefined;

  /** The peer's state, asked about now where that has to be. */
  const known = (
    table: Map<string, Peer>,
    address: Address,
    ask: (address: Address) => Promise<Address>,
    pass: (data: Buffer, to: Address) => void,
  ): Peer => {
    const key = formatAddress(address);
    const found = table.get(key);
    if (found !== undefined && found.until > now()) {
      // Last used is last in the map.
      table.delete(key);
      table.set(key, found);
      return found;
    }
    const peer: Peer = { to: undefined, until: now() + decisionMs, waiting: [] };
    table.delete(key);
    table.set(key, peer);
    if (table.size > maxPeers) table.delete(table.keys().next().value!);
    ask(address).then(
      (to) => {
        peer.to = to;
        for (const data of peer.waiting.splice(0)) pass(data, to);
      },
      () => {
        // Why is told where the decision was made.
        peer.to = null;
        peer.waiting.length = 0;
      },
    );
    return peer;
  };
  const handOver = (peer: Peer, data: Buffer, pass: (data: Buffer, to: Address) => void): boolean => {
    if (peer.to === null) return false;
    if (peer.to !== undefined) {
      pass(data, peer.to);
      return true;
    }
    if (peer.waiting.length >= maxWaiting) return false;
    // Whoever gave it may use the memory again.
    peer.waiting.push(Buffer.from(data));
    return true;
  };

  const send = (data: Buffer, to: Address) => under.send(data, to);
  const ask = async (peer: Address): Promise<Address> => {
    const target = canonicalTarget(peer);
    await rules.check(target);
    const to = await rules.resolve(target);
    const refused = to.host === target.host ? undefined : rules.refuses(to);
    if (refused !== undefined) throw refused;
    // Answers come from there, and have been decided about with it.
    const key = formatAddress(to);
    if (!inward.has(key)) inward.set(key, { to, until: now() + decisionMs, waiting: [] });
    if (inward.size > maxPeers) inward.delete(inward.keys().next().value!);
    return to;
  };
  const askInward = async (peer: Address): Promise<Address> => {
    await rules.check(peer);
    return peer;
  };
  under.receive((data, peer) => {
    const state = known(inward, peer, askInward, (bytes, from) => deliver?.(bytes, from));
    handOver(state, data, (bytes, from) => deliver?.(bytes, from));
  });
  return {
    kind: 'datagrams',
    local: under.local,
    remote: under.remote,
    closed: under.closed,
    receive(each) {
      deliver = each;
    },
    send(data, peer = under.remote) {
      const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
      let state: Peer;
      try {
        state = known(outward, peer, ask, send);
      } catch {
        // Not an address at all; there is nobody to send it to.
        return false;
      }
      return handOver(state, bytes, send);
    },
    close: () => under.close(),
  };
}
