import type { Rate } from '@sallyport/plugin';
import { tellLocal } from '../../core/local-event.ts';
import { formatIp, ipOfPeer } from '../../core/match/ip.ts';
import { createLimitRules } from '../../core/match/limit-rules.ts';
import type { LimitRule } from '../../core/match/limit-rules.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { readTrafficLimit } from './traffic-limit.ts';
import type { TrafficLimit } from './traffic-limit.ts';

/**
 * The traffic limiter whose limits stand in the configuration, one a line: `KEY IN [OUT] [BURST]`.
 *
 * Scope `service` is answered with `$`, the bucket of all connections together. Scope `conn` is answered with `$$`, a bucket
 * of the connection's own, and with one that all connections of the client's IP share: the line for that IP, and for a
 * direction that it leaves open the line for the largest network that holds it, as in GOST. A network's line is a limit for
 * each of its IPs. Scope `client` has no limit, as in GOST: users are not known here. A line counts as long as it stands in
 * the file, where GOST forgets those for an IP after 15 s of silence.
 *
 * Throws TypeError for a line that cannot be read.
 */
export function listLimiter({ limits = [] }: { readonly limits?: readonly string[] }): PolicyOf<'limiter'> {
  const rules = createLimitRules(limits, readTrafficLimit);
  const total = rules.total && rateOf(rules.total, '$');
  const each = rules.each && rateOf(rules.each, '$$');
  return {
    limit({ scope, client }, call) {
      const rates: Rate[] = [];
      const keys: string[] = [];
      if (scope === 'service') {
        if (total !== undefined) {
          rates.push(total);
          keys.push('$');
        }
      } else if (scope === 'conn') {
        if (each !== undefined) {
          rates.push(each);
          keys.push('$$');
        }
        const ip = ipOfPeer(client);
        if (ip !== undefined) {
          const own = rules.address(ip);
          const open = own === undefined || own.value.in === 0 || own.value.out === 0;
          const network = open ? rules.network(ip) : undefined;
          const shared = own ?? network;
          if (shared !== undefined) {
            rates.push(rateOf(shared, formatIp(ip), network));
            keys.push(own?.key ?? '', network?.key ?? '');
          }
        }
      }
      const named = keys.filter((key) => key !== '');
      tellLocal(call, 'limiter', 'limit', named.length === 0 ? undefined : `matches ${named.join(' and ')}`);
      return rates;
    },
  };
}

/** `otherwise` gives the rate of a direction that the rule leaves open. */
function rateOf(
  { value }: LimitRule<TrafficLimit>,
  share: string,
  otherwise?: LimitRule<TrafficLimit>,
): Rate {
  const rate = {
    in: value.in === 0 ? (otherwise?.value.in ?? 0) : value.in,
    out: value.out === 0 ? (otherwise?.value.out ?? 0) : value.out,
    share,
  };
  return value.burst === undefined ? rate : { ...rate, burst: value.burst };
}
