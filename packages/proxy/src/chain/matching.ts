import type { NodeSpec } from './node.ts';
import type { RouteRequest } from '../core/route.ts';

/** Which requests a node is for, as the file says it. */
export interface MatchConfig {
  readonly filter?:
    | {
        readonly host?: string | undefined;
        readonly protocol?: string | undefined;
        readonly path?: string | undefined;
      }
    | undefined;
  readonly matcher?: { readonly rule: string; readonly priority?: number | undefined } | undefined;
}

/** Makes of it what a hop asks. Throws TypeError for a rule that cannot be read. */
export function compileMatch({ filter, matcher }: MatchConfig): Pick<NodeSpec, 'matches' | 'priority'> {
  if (matcher !== undefined) throw new TypeError('`matcher` is not served yet');
  if (filter === undefined) return {};
  return { matches: (request) => matchesFilter(filter, request), priority: 0 };
}

function matchesFilter(
  { host, protocol, path }: NonNullable<MatchConfig['filter']>,
  { seen }: RouteRequest,
): boolean {
  if (protocol && protocol.toLowerCase() !== seen?.protocol) return false;
  if (host && !matchesHost(host.toLowerCase(), seen?.host ?? '')) return false;
  return !path || (seen?.path ?? '').startsWith(path);
}

/** Exact, or `*.example.com` and `.example.com` for every name below it. */
function matchesHost(pattern: string, host: string): boolean {
  if (pattern.startsWith('*.')) return host.endsWith(pattern.slice(1));
  if (pattern.startsWith('.')) return host === pattern.slice(1) || host.endsWith(pattern);
  return host === pattern;
}
