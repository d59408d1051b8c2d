import type { ConnLimiter } from '../../core/limits.ts';
import { ipOfPeer } from '../../core/match/ip.ts';
import { createLimitRules } from '../../core/match/limit-rules.ts';

/** The lines of a connection limiter: `KEY N`. */
export interface ConnLimits {
  /** Default none. */
  readonly limits?: readonly string[];
}

/** A {@link ConnLimiter} whose limits can change while connections are open. */
export interface ListConnLimiter extends ConnLimiter {
  /** From now on these limits count. Open connections stay open and stay counted. Throws TypeError, changing nothing. */
  reconfigure(limits: ConnLimits): void;
}

/**
 * The connection limiter whose limits stand in the configuration. `$ n` is for all connections together; of the lines for
 * an IP the one for that IP, or else the one for the largest network that holds it, or else `$$ n` says how many each IP
 * may have. 0 and less is no limit, as in GOST. Counts are kept only of hosts with open connections. Throws TypeError for a
 * line that cannot be read.
 */
export function createConnLimiter(options: ConnLimits): ListConnLimiter {
  let rules = createLimitRules(options.limits ?? [], readConnLimit);
  // By number where the host is an IP, so that every spelling of it is one host.
  const open = new Map<number | bigint | string, number>();
  let all = 0;
  return {
    enter(host) {
      const ip = ipOfPeer(host);
      const own = ip === undefined ? undefined : (rules.address(ip) ?? rules.network(ip));
      const most = (own ?? rules.each)?.value.count ?? Infinity;
      const key = ip ?? host;
      if (all >= (rules.total?.value.count ?? Infinity) || (open.get(key) ?? 0) >= most) return undefined;
      all++;
      open.set(key, (open.get(key) ?? 0) + 1);
      let left = false;
      return () => {
        if (left) return;
        left = true;
        all--;
        const rest = open.get(key)! - 1;
        if (rest === 0) open.delete(key);
        else open.set(key, rest);
      };
    },
    reconfigure({ limits = [] }) {
      rules = createLimitRules(limits, readConnLimit);
    },
  };
}

/** Reads `N`. Throws TypeError. */
export function readConnLimit(words: readonly string[]): { readonly count: number } | undefined {
  const [count = ''] = words;
  if (words.length !== 1 || !/^[-+]?\d{1,15}$/.test(count)) {
    throw new TypeError('is not `KEY N` with a whole number of connections');
  }
  return Number(count) > 0 ? { count: Number(count) } : undefined;
}
