import { defineContract, type Method } from '../contract.ts';
import { Resolver, type ResolveReply, type ResolveRequest } from '../gen/resolver.ts';
import { keyOf } from './cache-key.ts';
import { ipsOf } from './checked.ts';

/** Which name, for whom. */
export interface ResolverAsk {
  /** `ip`, `ip4` or `ip6`. */
  readonly network: string;
  /** Without a port; may be an IP address already. */
  readonly host: string;
  readonly user: string;
}

const resolve: Method<ResolverAsk, readonly string[], ResolveRequest, ResolveReply> = {
  ...Resolver.methods.Resolve,
  wire: {
    request: ({ network, host, user }) => ({ network, host, client: user }),
    ask: ({ network, host, client }) => ({ network, host, user: client }),
    // A plugin's no counts over both transports; GOST hears it over HTTP only.
    answer: ({ ips, ok }) => (ok ? ipsOf(ips) : []),
    reply: (ips) => ({ ips: [...ips], ok: ips.length > 0 }),
  },
  http: { verb: 'POST', request: ['network', 'host', 'client'], reply: ['ips', 'ok'] },
  cacheKey: ({ network, host, user }) => keyOf(network, host, user),
  negative: (ips) => ips.length === 0,
  coalesce: true,
  idempotent: true,
  timeoutMs: 5_000,
  onError: 'refuse',
};

/** Which addresses has this name? IP addresses, best first; none means that the name cannot be connected to. */
export const resolver = defineContract({
  kind: 'resolver',
  section: 'resolvers',
  service: Resolver.typeName,
  methods: { resolve },
  combine: 'one',
});
