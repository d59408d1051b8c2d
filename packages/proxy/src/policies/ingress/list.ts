import { tellLocal } from '../../core/local-event.ts';
import { createDomainSet, parseDomainRule } from '../../core/match/domain-set.ts';
import type { DomainScope } from '../../core/match/domain-set.ts';
import { formatIp, parseIp } from '../../core/match/ip.ts';
import { splitPort } from '../../core/match/ports.ts';
import { ruleError, trimRule } from '../../core/match/rule-error.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { parseUuid } from '../../wire/uuid.ts';

/** Which host name leads to which tunnel. */
export interface IngressRule {
  /** `example.com`: that name; `.example.com` or `*.example.com`: it and all below it. */
  readonly hostname: string;
  /** The tunnel's UUID, in any spelling that GOST reads; with `$` in front the tunnel is private. */
  readonly endpoint: string;
}

/** A rule's name, read. */
interface RuleHost {
  readonly scope: DomainScope;
  readonly name: string;
}

/**
 * The ingress whose rules stand in the configuration. The closest rule counts: the name itself, then `.name`, then each
 * parent's; of two for the same name the later, as in GOST. The port of what is asked does not count, and neither do capitals,
 * unlike in GOST. The answer is the endpoint as it was written. Its rules cannot be changed from outside: `setRule` answers
 * false, as GOST's does. Throws TypeError for a rule that cannot be read.
 */
export function listIngress({
  rules = [],
}: {
  readonly rules?: readonly IngressRule[];
}): PolicyOf<'ingress'> {
  const last = new Map<string, RuleHost & { readonly rule: string; readonly endpoint: string }>();
  for (const { hostname, endpoint } of rules) {
    const { scope, name } = parseRuleHost(hostname);
    const rule = scope === 'suffix' ? `.${name}` : name;
    last.set(rule, { scope, name, rule, endpoint: parseEndpoint(endpoint) });
  }
  const names = createDomainSet<{ readonly rule: string; readonly endpoint: string }>();
  for (const one of last.values()) names.add(one.scope, one.name, undefined, one);
  return {
    getRule({ host }, call) {
      const found = names.find(spelled(host), 0);
      tellLocal(call, 'ingress', 'getRule', found && `matches ${found.rule}`);
      return found?.endpoint;
    },
    setRule(_, call) {
      tellLocal(call, 'ingress', 'setRule', 'rules that stand in the configuration are not changed');
      return false;
    },
  };
}

/** What is asked, spelled as rules are. */
function spelled(asked: string): string {
  const { host } = splitPort(asked);
  const lower = host.toLowerCase();
  const ip = parseIp(lower);
  if (ip !== undefined) return formatIp(ip);
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

/**
 * Reads a rule's name and makes it canonical as targets are. A `*` in front is left out, as in GOST. Throws TypeError for what
 * no host can be called.
 */
export function parseRuleHost(text: string): RuleHost {
  const written = trimRule(text);
  const name = written.startsWith('*') ? written.slice(1) : written;
  if (name === '' || name === '.')
    throw ruleError(written, 'stands for no host; a rule names a host, or a domain such as `*.example.com`');
  try {
    return parseDomainRule(name);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const { port } = splitPort(name);
    const hint = port !== undefined && /^\d+$/.test(port) ? '; a rule takes no port' : '';
    throw ruleError(written, `${error.message}${hint}`, error.cause);
  }
}

/** Checks a rule's endpoint, and answers it as it was written. Throws TypeError for what leads to no tunnel. */
export function parseEndpoint(text: string): string {
  const written = trimRule(text);
  const uuid = parseUuid(written.startsWith('$') ? written.slice(1) : written);
  if (uuid === undefined)
    throw ruleError(
      written,
      'is no UUID such as `d3b07384-d9a0-4c9e-8f1b-2f6a1f3c9f10`, with `$` in front for a private tunnel',
    );
  // What GOST makes of an endpoint that it cannot read, too.
  if (uuid.every((byte) => byte === 0)) throw ruleError(written, 'is the UUID that no tunnel has');
  return written;
}
