import { canonicalTarget } from '../core/address.ts';
import { ProxyError } from '../core/errors.ts';
import type { RouteRequest } from '../core/route.ts';
import type { RuleTest } from '../core/rules/evaluate.ts';
import { hostOf, pathOf } from '../core/rules/facts.ts';
import type { Rule } from '../core/rules/parse.ts';
import type { NodeSpec } from './node.ts';

/** GOST's older, simpler way to say which requests a node is for. What is left out does not matter. */
export interface NodeFilter {
  readonly host?: HostFilter | undefined;
  /** In lower case, as `readProtocol` has it. */
  readonly protocol?: string | undefined;
  /** How the path begins. */
  readonly path?: string | undefined;
}

/** A host, or with `below` a host and everything below it. */
export interface HostFilter {
  readonly name: string;
  readonly below: boolean;
}

/** Which requests a node is for, as the file says it. */
export interface MatchConfig {
  readonly filter?: NodeFilter | undefined;
  readonly matcher?: { readonly rule?: Rule | undefined; readonly priority?: number | undefined } | undefined;
}

/**
 * Reads the host of a filter: `example.com` alone, or `.example.com` and `*.example.com`, which both mean it and all below
 * it, as in GOST (but not `myexample.com`, which GOST takes for it). Throws TypeError for what is no host name.
 */
export function parseHostFilter(text: string): HostFilter {
  const below = /^[*.]/.test(text);
  const name = text.replace(/^\*?\.?/, '');
  const bare = name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name;
  try {
    return { name: canonicalTarget({ host: bare, port: 1 }).host, below };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    throw new TypeError('is no host name such as `example.com` or `.example.com`, without a port', {
      cause: error,
    });
  }
}

/**
 * Makes of it what a hop asks. As in GOST a rule counts in place of a filter; its priority is the length of its text in
 * bytes where the file says none or 0, so that of two rules the longer is tried first; a node without a rule has priority
 * 0 unless the file says otherwise.
 */
export function compileMatch(
  { filter, matcher }: MatchConfig,
  test: (rule: Rule) => RuleTest,
): Pick<NodeSpec, 'matches' | 'priority'> {
  const { rule, priority = 0 } = matcher ?? {};
  if (rule !== undefined) {
    return { matches: test(rule), priority: priority === 0 ? Buffer.byteLength(rule.text) : priority };
  }
  if (filter === undefined) return { priority };
  return { matches: (request) => matchesFilter(filter, request), priority };
}

function matchesFilter({ host, protocol, path }: NodeFilter, request: RouteRequest): boolean {
  if (protocol !== undefined && protocol !== request.seen?.protocol) return false;
  if (host !== undefined && !matchesHost(host, hostOf(request))) return false;
  return path === undefined || pathOf(request).startsWith(path);
}

function matchesHost({ name, below }: HostFilter, host: string): boolean {
  return host === name || (below && host.endsWith(`.${name}`));
}
