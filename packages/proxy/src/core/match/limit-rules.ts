import { createIpSet } from './ip-set.ts';
import { parseIp, parseNetwork } from './ip.ts';
import type { Ip } from './ip.ts';
import { ruleError, trimRule } from './rule-error.ts';

/** One line of a limiter, read: `KEY VALUE …`. */
export interface LimitRule<V> {
  /** `$`, `$$`, an IP address or a network, as written. */
  readonly key: string;
  readonly value: V;
}

/** The lines of a limiter, by whom they speak of. */
export interface LimitRules<V> {
  /** `$`: all together. */
  readonly total: LimitRule<V> | undefined;
  /** `$$`: each one. */
  readonly each: LimitRule<V> | undefined;
  /** The line for this very address. */
  address(ip: Ip): LimitRule<V> | undefined;
  /** The line for a network that holds the address; of several the largest network's, as in GOST. */
  network(ip: Ip): LimitRule<V> | undefined;
}

/** Reads what stands behind the key, one word each; undefined: the line limits nothing. Throws TypeError. */
export type ReadLimit<V> = (words: readonly string[]) => V | undefined;

/**
 * Reads one line. `#` begins a comment. Undefined for a line that limits nothing. Throws TypeError that names the line and
 * says what is wrong, where GOST ignores it, so that a limit that somebody relies on is not there.
 */
export function parseLimitRule<V>(line: string, read: ReadLimit<V>): LimitRule<V> | undefined {
  const [key, ...words] = trimRule(line)
    .replace(/#.*/s, '')
    .split(/\s+/)
    .filter((word) => word !== '');
  if (key === undefined) throw ruleError(line, 'is empty');
  if (key !== '$' && key !== '$$' && parseIp(key) === undefined && parseNetwork(key) === undefined) {
    throw ruleError(line, 'does not begin with `$`, `$$`, an IP address or a network');
  }
  try {
    const value = read(words);
    return value && { key, value };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw ruleError(line, error.message);
  }
}

/** Reads all lines; of several with the same key the last one that limits counts. Throws as {@link parseLimitRule} does. */
export function createLimitRules<V extends object>(
  lines: readonly string[],
  read: ReadLimit<V>,
): LimitRules<V> {
  let total: LimitRule<V> | undefined;
  let each: LimitRule<V> | undefined;
  const addresses = new Map<Ip, LimitRule<V>>();
  const networks = createIpSet<LimitRule<V>>();
  for (const line of lines) {
    const rule = parseLimitRule(line, read);
    if (rule === undefined) continue;
    if (rule.key === '$') total = rule;
    else if (rule.key === '$$') each = rule;
    else {
      const network = parseNetwork(rule.key);
      if (network === undefined) addresses.set(parseIp(rule.key)!, rule);
      else networks.add(network, rule);
    }
  }
  return { total, each, address: (ip) => addresses.get(ip), network: (ip) => networks.broadest(ip) };
}
