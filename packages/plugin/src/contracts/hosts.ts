import { defineContract, type Method } from '../contract.ts';
import { HostMapper, type LookupReply, type LookupRequest } from '../gen/hosts.ts';
import { keyOf } from './cache-key.ts';
import { ipsOf } from './checked.ts';

/** Which name, for whom. */
export interface HostsAsk {
  /** `ip`, `ip4` or `ip6`. */
  readonly network: string;
  /** Without a port; may be an IP address already. */
  readonly host: string;
  readonly user: string;
}

const lookup: Method<HostsAsk, readonly string[], LookupRequest, LookupReply> = {
  ...HostMapper.methods.Lookup,
  wire: {
    request: ({ network, host, user }) => ({ network, host, client: user }),
    ask: ({ network, host, client }) => ({ network, host, user: client }),
    // `ok` decides nothing: GOST looks at the addresses alone, and mappers that leave it out work there.
    answer: ({ ips }) => ipsOf(ips),
    reply: (ips) => ({ ips: [...ips], ok: ips.length > 0 }),
  },
  http: { verb: 'POST', request: ['network', 'host', 'client'], reply: ['ips', 'ok'] },
  cacheKey: ({ network, host, user }) => keyOf(network, host, user),
  negative: (ips) => ips.length === 0,
  coalesce: true,
  idempotent: true,
  timeoutMs: 1_000,
  onError: 'refuse',
  // As if no name were fixed: the resolver is asked.
  allow: { reply: [] },
};

/** Has this name a fixed address? The answer holds IP addresses, best first; none means that the name is not fixed. */
export const hosts = defineContract({
  kind: 'hosts',
  section: 'hosts',
  service: HostMapper.typeName,
  methods: { lookup },
  combine: 'first',
});
