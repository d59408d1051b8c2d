import type { Ip, IpNetwork } from './ip.ts';

/**
 * Networks of IP addresses, each with a value. A lookup is one probe of a hash table for each prefix length that is in
 * use, whatever the number of networks: at most 33 for IPv4 and 129 for IPv6, and two or three in most lists.
 */
export interface IpSet<V> {
  /** How many different networks there are. */
  readonly size: number;
  /** Of two values for the same network the later counts. */
  add(network: IpNetwork, value: V): void;
  /** The value of the smallest network that holds the address. */
  mostSpecific(ip: Ip): V | undefined;
  /** The value of the largest network that holds the address. */
  broadest(ip: Ip): V | undefined;
}

/** An empty {@link IpSet}. Values must not be undefined. */
export function createIpSet<V>(): IpSet<V> {
  const v4 = createTable<V, number>((ip, length) => (length === 0 ? 0 : ip >>> (32 - length)));
  const v6 = createTable<V, bigint>((ip, length) => ip >> shifts[128 - length]!);
  return {
    get size() {
      return v4.size() + v6.size();
    },
    add({ base, length }, value) {
      if (typeof base === 'number') v4.add(base, length, value);
      else v6.add(base, length, value);
    },
    mostSpecific: (ip) => (typeof ip === 'number' ? v4.find(ip, true) : v6.find(ip, true)),
    broadest: (ip) => (typeof ip === 'number' ? v4.find(ip, false) : v6.find(ip, false)),
  };
}

const shifts = Array.from({ length: 129 }, (_, bits) => BigInt(bits));

function createTable<V, Bits>(prefixOf: (ip: Bits, length: number) => Bits) {
  /** Shortest prefix first. */
  const levels: { readonly length: number; readonly values: Map<Bits, V> }[] = [];
  return {
    size: () => levels.reduce((sum, { values }) => sum + values.size, 0),
    add(base: Bits, length: number, value: V): void {
      let at = levels.findIndex((level) => level.length >= length);
      if (at < 0) at = levels.length;
      if (levels[at]?.length !== length) levels.splice(at, 0, { length, values: new Map() });
      levels[at]!.values.set(prefixOf(base, length), value);
    },
    find(ip: Bits, longest: boolean): V | undefined {
      const count = levels.length;
      for (let step = 0; step < count; step++) {
        const { length, values } = levels[longest ? count - 1 - step : step]!;
        const found = values.get(prefixOf(ip, length));
        if (found !== undefined) return found;
      }
      return undefined;
    },
  };
}
