import { tellLocal } from '../../core/local-event.ts';
import { createDomainSet, parseDomainRule } from '../../core/match/domain-set.ts';
import { formatIp, parseIp } from '../../core/match/ip.ts';
import type { Ip } from '../../core/match/ip.ts';
import { ruleError, trimRule } from '../../core/match/rule-error.ts';
import type { PolicyOf } from '../../core/policies.ts';

/** One line of a hosts file: an address and the names that have it. */
export interface HostMapping {
  /** IPv4 or IPv6. */
  readonly ip: string;
  /** `example.com`: that name; `.example.com`: it and all below it; `.`: every name that no other mapping is for. */
  readonly hostname: string;
  /** More of the same. */
  readonly aliases?: readonly string[];
}

interface Fixed {
  readonly rule: string;
  readonly ips: Ip[];
}

/**
 * The host mapper whose mappings stand in the configuration. The closest mapping counts: the name itself, then `.name`,
 * then each parent's, then `.`; a name's addresses are all that mappings of the same spelling give it, in the order of the
 * file. Where the closest one has no address of the wanted family the answer is empty, as in GOST. Unlike GOST's, aliases
 * count and capitals do not. Throws TypeError for a mapping that cannot be read.
 */
export function listHosts({
  mappings = [],
}: {
  readonly mappings?: readonly HostMapping[];
}): PolicyOf<'hosts'> {
  const fixed = new Map<string, Fixed>();
  const names = createDomainSet<Fixed>();
  for (const { ip: address, hostname, aliases = [] } of mappings) {
    const ip = parseHostAddress(address);
    for (const written of [hostname, ...aliases]) {
      const rule = parseHostName(written);
      let entry = fixed.get(rule);
      if (entry === undefined) {
        entry = { rule, ips: [] };
        fixed.set(rule, entry);
        if (rule !== '.') {
          const { scope, name } = parseDomainRule(rule);
          names.add(scope, name, undefined, entry);
        }
      }
      if (!entry.ips.includes(ip)) entry.ips.push(ip);
    }
  }
  const everyName = fixed.get('.');
  return {
    lookup({ host, network }, call) {
      const lower = host.toLowerCase();
      const found = names.find(lower.endsWith('.') ? lower.slice(0, -1) : lower, 0) ?? everyName;
      const ips = (found?.ips ?? []).filter((ip) => isOf(network, ip)).map(formatIp);
      tellLocal(call, 'hosts', 'lookup', found && `matches ${found.rule}`);
      return ips;
    },
  };
}

function isOf(network: string, ip: Ip): boolean {
  if (network === 'ip4') return typeof ip === 'number';
  return network !== 'ip6' || typeof ip === 'bigint';
}

/** Reads a mapping's address. Throws TypeError for anything else. */
export function parseHostAddress(text: string): Ip {
  const ip = parseIp(trimRule(text));
  if (ip === undefined) throw ruleError(text, 'is no IP address');
  return ip;
}

/** The one spelling of a mapping's name: canonical as targets are, with the leading dot. Throws TypeError. */
export function parseHostName(text: string): string {
  const written = trimRule(text);
  if (written === '.') return '.';
  try {
    const { scope, name } = parseDomainRule(written);
    return scope === 'suffix' ? `.${name}` : name;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const hint = written.startsWith('*.') ? `; write \`${written.slice(1)}\` for all names below` : '';
    throw ruleError(text, `${error.message}${hint}`, error.cause);
  }
}
