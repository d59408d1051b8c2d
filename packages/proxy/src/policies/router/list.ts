import type { Route } from '@sallyport/plugin';
import { tellLocal } from '../../core/local-event.ts';
import { createIpSet } from '../../core/match/ip-set.ts';
import { formatIp, networkOfOne, parseIp, parseNetwork } from '../../core/match/ip.ts';
import type { IpNetwork } from '../../core/match/ip.ts';
import { ruleError, trimRule } from '../../core/match/rule-error.ts';
import type { PolicyOf } from '../../core/policies.ts';

/** One route of the file. */
export interface RouteRule {
  /** `10.0.0.0/8`, or one address. */
  readonly dst?: string | undefined;
  /** The same under its older name; it counts where there is no `dst`. */
  readonly net?: string | undefined;
  /** The site's name, or the address, that packets are handed to. */
  readonly gateway: string;
}

/**
 * The router whose routes stand in the configuration, for every private network alike. The smallest network that holds the
 * destination counts, as in every routing table; GOST takes the first of the file. Of two routes for the same network the
 * first counts. The answer's network is as it was written. The system's own routes are not touched, which GOST does where it
 * may. Throws TypeError for a route that cannot be read.
 */
export function listRouter({ routes = [] }: { readonly routes?: readonly RouteRule[] }): PolicyOf<'router'> {
  const networks = createIpSet<Route>();
  const known = new Set<string>();
  for (const { dst, net, gateway } of routes) {
    const written = dst ?? net ?? '';
    const network = parseDestination(written);
    const key = `${formatIp(network.base)}/${String(network.length)}`;
    if (known.has(key)) continue;
    known.add(key);
    if (gateway.trim() === '') throw ruleError(written, 'has no gateway');
    networks.add(network, { network: written.trim(), gateway: gateway.trim() });
  }
  return {
    getRoute({ destination }, call) {
      const ip = parseIp(destination);
      const found = ip === undefined ? undefined : networks.mostSpecific(ip);
      tellLocal(call, 'router', 'getRoute', found && `matches ${found.network}`);
      return found;
    },
  };
}

/** Reads `10.0.0.0/8`, `fd00::/8`, or one address. Throws TypeError for anything else. */
export function parseDestination(text: string): IpNetwork {
  const written = trimRule(text);
  const network = parseNetwork(written);
  if (network !== undefined) return network;
  const ip = parseIp(written);
  if (ip === undefined) throw ruleError(written, 'is neither a network such as `10.0.0.0/8` nor an address');
  return networkOfOne(ip);
}
