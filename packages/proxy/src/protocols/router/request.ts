import { isIP } from 'node:net';
import { ProxyError } from '../../core/errors.ts';
import { formatIp, parseIp } from '../../wire/ip.ts';
import { relayCommands } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { relayNetworks } from '../../wire/relay-features.ts';

/** What a site asks for: to be the gateway of this name in this router's network. */
export interface Joining {
  /** A UUID in its usual spelling. */
  readonly router: string;
  /** As routes name it: a name as it was written, an address in its one spelling. */
  readonly gateway: string;
  /** GOST's word for what is carried. */
  readonly network: string;
}

/** A name of a gateway in the spelling in which two are compared. GOST compares names letter by letter. */
export function canonicalGateway(written: string): string {
  if (isIP(written) === 0) return written;
  const bytes = parseIp(written);
  return bytes === undefined ? written : formatIp(bytes);
}

/** What a gateway is called towards service discovery and limiters, as GOST calls it. */
export function nameOf(gateway: string, router: string): string {
  return `${gateway}@${router}`;
}

/**
 * Reads what a site asks for: ASSOCIATE with the router's UUID, where it comes from, and as second address its gateway, whose
 * port says nothing. Throws ProxyError `malformedRequest` where it is incomplete or contradicts itself, `unsupported` where it
 * asks for something else.
 */
export function joiningOf({ command, features }: RelayRequest): Joining {
  if (command !== relayCommands.associate) {
    throw new ProxyError('unsupported', 'client', 'a router serves ASSOCIATE, and nothing else');
  }
  const routers = features.flatMap((feature) => (feature.type === 'tunnel' ? [feature.id] : []));
  if (routers.length !== 1) throw malformed(`it names ${String(routers.length)} routers instead of one`);
  // The first is where the site is, which its connection says better.
  const addresses = features.flatMap((feature) => (feature.type === 'addr' ? [feature.address.host] : []));
  if (addresses.length !== 2)
    throw malformed(`it has ${String(addresses.length)} addresses instead of its own and its gateway`);
  const networks = features.flatMap((feature) => (feature.type === 'network' ? [feature.network] : []));
  const [network = relayNetworks.ip, ...more] = networks;
  if (more.length > 0) throw malformed('it names several networks');
  return { router: routers[0]!, gateway: canonicalGateway(addresses[1]!), network: wordOf(network) };
}

/** GOST's connector says `udp` where what dials it does. */
function wordOf(network: number): string {
  if (network === relayNetworks.ip) return 'ip';
  if (network === relayNetworks.udp) return 'udp';
  throw new ProxyError('unsupported', 'client', `a router carries no network ${String(network)}`);
}

function malformed(what: string): ProxyError {
  return new ProxyError('malformedRequest', 'client', `the request joins no network: ${what}`);
}
