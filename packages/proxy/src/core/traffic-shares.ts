import type { Rate } from '@sallyport/plugin';
import type { Buckets } from './metered-conn.ts';
import type { Bucket, Meter } from './meter.ts';

/** The two buckets of one name: everybody who was answered with it draws on them. */
export interface Share {
  /** The buckets of the directions that have a limit. */
  readonly in: Bucket | undefined;
  readonly out: Bucket | undefined;
}

/** The buckets of a service by their names. */
export interface Shares {
  /**
   * The share of that name, held to this rate from now on: what is in its buckets stays. Each call needs its `release`. Throws
   * ProxyError `internal` when the meter is full; nothing has been acquired then.
   */
  acquire(name: string, rate: Rate): Share;
  /** The last one to release a share frees its buckets. */
  release(share: Share): void;
}

interface CountedShare extends Share {
  readonly name: string;
  in: Bucket | undefined;
  out: Bucket | undefined;
  uses: number;
}

/**
 * Makes an empty table. `changed` is called when a share that is in use gets a bucket or loses one, so that whoever draws on
 * it has to look again; a new rate alone needs nobody's care.
 */
export function createShares(meter: Meter, now: () => number, changed: () => void): Shares {
  const byName = new Map<string, CountedShare>();

  const hold = (share: CountedShare, direction: 'in' | 'out', rate: Rate): void => {
    const before = share[direction];
    const ratePerSecond = Number(rate[direction]);
    const burst = rate.burst === undefined ? undefined : Number(rate.burst);
    if (!(ratePerSecond > 0)) {
      before?.free();
      share[direction] = undefined;
    } else if (before === undefined) share[direction] = meter.bucket({ ratePerSecond, burst });
    else before.setRate({ ratePerSecond, burst }, now());
    if (share.uses > 0 && before !== share[direction]) changed();
  };
  const drop = (share: CountedShare): void => {
    byName.delete(share.name);
    share.in?.free();
    share.out?.free();
    share.in = share.out = undefined;
  };

  return {
    acquire(name, rate) {
      const share = byName.get(name) ?? { name, in: undefined, out: undefined, uses: 0 };
      try {
        hold(share, 'in', rate);
        hold(share, 'out', rate);
      } catch (error) {
        if (share.uses === 0) drop(share);
        throw error;
      }
      share.uses++;
      byName.set(name, share);
      return share;
    },
    release(released) {
      const share = released as CountedShare;
      if (--share.uses === 0) drop(share);
    },
  };
}

/** What somebody draws on who has all of these shares. */
export function bucketsOf(shares: Iterable<Share>): Buckets {
  const buckets = { in: new Set<Bucket>(), out: new Set<Bucket>() };
  for (const share of shares) {
    if (share.in !== undefined) buckets.in.add(share.in);
    if (share.out !== undefined) buckets.out.add(share.out);
  }
  return { in: [...buckets.in], out: [...buckets.out] };
}
