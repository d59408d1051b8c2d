import { canonicalTarget } from '../../core/address.ts';
import { ProxyError } from '../../core/errors.ts';
import { networkOfOne, networksOfRange, parseIp, parseNetwork } from '../../core/match/ip.ts';
import type { IpNetwork } from '../../core/match/ip.ts';
import { ruleError, trimRule } from '../../core/match/rule-error.ts';

/** One rule, read: the networks that it is about, or a name that stands for addresses. */
export type AdmissionRule =
  | { readonly kind: 'networks'; readonly networks: readonly IpNetwork[] }
  | { readonly kind: 'name'; readonly name: string };

/**
 * Reads one rule about clients: an address, a network, a host name, and beyond GOST a range `a-b`. Throws TypeError that
 * names the rule and says what is wrong, where GOST drops it.
 */
export function parseAdmissionRule(text: string): AdmissionRule {
  const rule = trimRule(text);
  if (/[*?]/.test(rule))
    throw ruleError(rule, 'is a pattern, and clients are known by address; write a network');
  const network = parseNetwork(rule);
  if (network !== undefined) return { kind: 'networks', networks: [network] };
  if (rule.includes('/')) throw ruleError(rule, 'is no network such as `10.0.0.0/8`');
  const ip = parseIp(rule);
  if (ip !== undefined) return { kind: 'networks', networks: [networkOfOne(ip)] };
  const [first, last, ...more] = rule.split('-').map((part) => part.trim());
  const from = parseIp(first!);
  if (from !== undefined && last !== undefined) {
    const to = more.length === 0 ? parseIp(last) : undefined;
    const networks = to === undefined ? undefined : networksOfRange(from, to);
    if (networks !== undefined) return { kind: 'networks', networks };
    throw ruleError(rule, 'is no range such as `10.0.0.1-10.0.0.9`');
  }
  try {
    return { kind: 'name', name: canonicalTarget({ host: rule, port: 1 }).host };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    throw ruleError(
      rule,
      'is neither an address, a network, a range nor a host name (a rule takes no port)',
      error,
    );
  }
}
