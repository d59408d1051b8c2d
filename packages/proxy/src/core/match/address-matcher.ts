import { createDomainSet, parseDomainRule } from './domain-set.ts';
import type { DomainScope } from './domain-set.ts';
import { parseGlob } from './glob.ts';
import type { Glob } from './glob.ts';
import { createIpSet } from './ip-set.ts';
import { formatIp, networkOfOne, networksOfRange, parseIp, parseNetwork } from './ip.ts';
import type { Ip, IpNetwork } from './ip.ts';
import { hasPort, parsePorts, splitPort } from './ports.ts';
import type { PortRange } from './ports.ts';
import { ruleError, trimRule } from './rule-error.ts';

/** Rules about targets, in the language of GOST's bypasses. */
export interface AddressMatcher {
  /** How many rules there are. */
  readonly size: number;
  /** True if any rule is about IP addresses: then what a name resolves to has to be asked about too. */
  readonly speaksOfAddresses: boolean;
  /** Whether any rule matches. The port is 0 where there is none, which only rules without a port match. */
  matches(host: string, port: number): boolean;
  /** The rule that matches, as it was written. */
  find(host: string, port: number): string | undefined;
}

/** One rule, read. */
export type AddressRule =
  | { readonly kind: 'networks'; readonly networks: readonly IpNetwork[] }
  | { readonly kind: 'glob'; readonly glob: Glob }
  | { readonly kind: 'address'; readonly ip: Ip; readonly ports: PortRange }
  | {
      readonly kind: 'domain';
      readonly scope: DomainScope;
      readonly name: string;
      readonly ports: PortRange | undefined;
    };

/**
 * Reads one rule. In this order, as in GOST, it is a network (`10.0.0.0/8`), a pattern if it holds `*` or `?` (see
 * {@link parseGlob}), an address or a range of them (`10.0.0.1-10.0.0.9`), each for every port, or else an address or a
 * name, with or without a port or ports: `1.2.3.4:80`, `[::1]:80`, `example.com` (that name alone), `.example.com:1-1023`
 * (the name and all below it). Throws TypeError that names the rule and says what is wrong, where GOST takes it for a name
 * that nothing is called by.
 */
export function parseAddressRule(text: string): AddressRule {
  const rule = trimRule(text);
  try {
    return parseTrimmed(rule);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw ruleError(rule, error.message, error.cause);
  }
}

function parseTrimmed(rule: string): AddressRule {
  const network = parseNetwork(rule);
  if (network !== undefined) return { kind: 'networks', networks: [network] };
  if (/[*?]/.test(rule)) return { kind: 'glob', glob: parseGlob(rule) };
  if (rule.includes('/')) throw new TypeError('is no network such as `10.0.0.0/8`');
  const single = parseIp(rule);
  if (single !== undefined) return { kind: 'networks', networks: [networkOfOne(asTarget(single))] };
  const [first, last, ...more] = rule.split('-').map((part) => part.trim());
  const from = parseIp(first!);
  if (from !== undefined && last !== undefined) {
    const to = more.length === 0 ? parseIp(last) : undefined;
    const networks = to === undefined ? undefined : networksOfRange(from, to);
    if (networks !== undefined) return { kind: 'networks', networks };
    throw new TypeError('is no range such as `10.0.0.1-10.0.0.9`, which takes no port');
  }
  const { host, port } = splitPort(rule);
  if (host === '') throw new TypeError('names no host before the colon; write `*` for every host');
  const ports = port === undefined ? undefined : parsePorts(port);
  const ip = parseIp(host);
  if (ip === undefined) return { kind: 'domain', ...parseDomainRule(host), ports };
  if (ports === undefined) return { kind: 'networks', networks: [networkOfOne(asTarget(ip))] };
  return { kind: 'address', ip: asTarget(ip), ports };
}

/** A target `0.0.0.0` or `::` is this host's loopback address before any rule sees it, so a rule for it means that too. */
function asTarget(ip: Ip): Ip {
  if (ip === 0) return 0x7f000001;
  return ip === 0n ? 1n : ip;
}

/**
 * Reads all rules; throws as {@link parseAddressRule} does. Whatever the number of rules, a question costs a few probes of
 * hash tables, plus a comparison of beginnings and ends for each pattern that is not `*.name`.
 */
export function createAddressMatcher(rules: readonly string[]): AddressMatcher {
  const networks = createIpSet<string>();
  const domains = createDomainSet<string>();
  const addresses = new Map<Ip, { readonly ports: PortRange; readonly text: string }[]>();
  const globs: { readonly glob: Glob; readonly text: string }[] = [];
  let speaksOfAddresses = false;
  for (const text of rules) {
    const rule = parseAddressRule(text);
    if (rule.kind === 'domain') {
      domains.add(rule.scope, rule.name, rule.ports, text);
    } else if (rule.kind === 'glob') {
      const { glob } = rule;
      speaksOfAddresses ||= glob.speaksOfAddresses;
      if (glob.below === undefined || glob.speaksOfAddresses) globs.push({ glob, text });
      else domains.add('below', glob.below, glob.ports, text);
    } else {
      speaksOfAddresses = true;
      if (rule.kind === 'networks') for (const network of rule.networks) networks.add(network, text);
      else {
        const known = addresses.get(rule.ip);
        if (known === undefined) addresses.set(rule.ip, [{ ports: rule.ports, text }]);
        else known.push({ ports: rule.ports, text });
      }
    }
  }

  const find = (written: string, port: number): string | undefined => {
    let host = written.toLowerCase();
    if (host.endsWith('.')) host = host.slice(0, -1);
    const ip = parseIp(host);
    const found =
      ip === undefined
        ? domains.find(host, port)
        : (networks.mostSpecific(ip) ?? addresses.get(ip)?.find(({ ports }) => hasPort(ports, port))?.text);
    if (found !== undefined || globs.length === 0) return found;
    if (ip !== undefined) host = formatIp(ip);
    return globs.find(({ glob }) => hasPort(glob.ports, port) && glob.matches(host))?.text;
  };
  return {
    size: rules.length,
    speaksOfAddresses,
    find,
    matches: (host, port) => find(host, port) !== undefined,
  };
}
