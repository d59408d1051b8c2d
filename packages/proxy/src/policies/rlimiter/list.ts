import { performance } from 'node:perf_hooks';
import type { RateLimiter } from '../../core/limits.ts';
import { ipOfPeer } from '../../core/match/ip.ts';
import { createLimitRules } from '../../core/match/limit-rules.ts';

/** The lines of a rate limiter: `KEY N`, N requests a second. */
export interface RateLimits {
  /** Default none. */
  readonly limits?: readonly string[];
}

/** A {@link RateLimiter} whose limits can change while it is in use. */
export interface ListRateLimiter extends RateLimiter {
  /** From now on these limits count; what hosts have used up stays used up. Throws TypeError, changing nothing. */
  reconfigure(limits: RateLimits): void;
  /** How many hosts are remembered. A host is forgotten once that makes no difference, and the oldest of 65,536. */
  readonly remembered: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/**
 * Hosts that are remembered at most. Who has so many addresses that his own is forgotten has as many buckets as that, and
 * is stopped by `$`.
 */
const maxBuckets = 65_536;

/**
 * The rate limiter whose limits stand in the configuration. Each line is a bucket that fills with N tokens a second and
 * holds int(N) + 1, as in GOST. `$` is for all requests together; of the lines for an IP the one for that IP, or else the
 * one for the largest network that holds it, or else `$$` fills the bucket of each IP. 0 and less is no limit. A request
 * that is refused takes no token from anybody. Throws TypeError for a line that cannot be read.
 */
export function createRateLimiter(options: RateLimits): ListRateLimiter {
  let rules = createLimitRules(options.limits ?? [], readRateLimit);
  const total: Bucket = { tokens: Infinity, atMs: 0 };
  // Oldest use first.
  const buckets = new Map<number | bigint | string, Bucket>();

  const rateOf = (key: number | bigint | string): number | undefined => {
    const own = typeof key === 'string' ? undefined : (rules.address(key) ?? rules.network(key));
    return (own ?? rules.each)?.value.perSecond;
  };
  /** Forgets the two oldest hosts if their buckets are full again: then nobody can tell, and the table shrinks as fast as it grows. */
  const forget = (nowMs: number): void => {
    let looked = 0;
    for (const [key, bucket] of buckets) {
      const perSecond = rateOf(key);
      const full = perSecond === undefined || filled(bucket, perSecond, nowMs) >= capacity(perSecond);
      if (!full && buckets.size <= maxBuckets) return;
      buckets.delete(key);
      if (++looked === 2) return;
    }
  };

  return {
    allow(host, nowMs = performance.now()) {
      const key = ipOfPeer(host) ?? host;
      const perSecond = rateOf(key);
      const totalPerSecond = rules.total?.value.perSecond;
      const bucket = buckets.get(key);
      const own =
        perSecond === undefined
          ? Infinity
          : bucket === undefined
            ? capacity(perSecond)
            : filled(bucket, perSecond, nowMs);
      const all = totalPerSecond === undefined ? Infinity : filled(total, totalPerSecond, nowMs);
      const allowed = own >= 1 && all >= 1;
      if (totalPerSecond !== undefined) spend(total, all, allowed, nowMs);
      if (perSecond !== undefined) {
        const used = bucket ?? { tokens: 0, atMs: nowMs };
        spend(used, own, allowed, nowMs);
        // Taken out and put in again, it is the youngest.
        buckets.delete(key);
        buckets.set(key, used);
      }
      forget(nowMs);
      return allowed;
    },
    reconfigure({ limits = [] }) {
      rules = createLimitRules(limits, readRateLimit);
    },
    get remembered() {
      return buckets.size;
    },
  };
}

function capacity(perSecond: number): number {
  return Math.floor(perSecond) + 1;
}

/** What the bucket holds now. A clock that goes backwards adds nothing. */
function filled({ tokens, atMs }: Bucket, perSecond: number, nowMs: number): number {
  return Math.min(capacity(perSecond), tokens + (Math.max(0, nowMs - atMs) / 1000) * perSecond);
}

function spend(bucket: Bucket, held: number, taken: boolean, nowMs: number): void {
  bucket.tokens = taken ? held - 1 : held;
  bucket.atMs = Math.max(bucket.atMs, nowMs);
}

/** Reads `N`, which may have a fraction: `0.5` is one in two seconds. Throws TypeError. */
export function readRateLimit(words: readonly string[]): { readonly perSecond: number } | undefined {
  const [rate = ''] = words;
  if (words.length !== 1 || !/^[-+]?(\d{1,15}(\.\d*)?|\.\d+)$/.test(rate)) {
    throw new TypeError('is not `KEY N` with a number of requests a second');
  }
  return Number(rate) > 0 ? { perSecond: Number(rate) } : undefined;
}
