import { defineContract, type Method } from '../contract.ts';
import { Bypass, type BypassReply, type BypassRequest } from '../gen/bypass.ts';
import { keyOf } from './cache-key.ts';
import { yesOrNo } from './checked.ts';

/** Which target, for whom. */
export interface BypassAsk {
  /** `host:port`, resolved at a hop or node; the bare name for a DNS query. */
  readonly target: string;
  /** The user's id, empty for an unknown user. */
  readonly user: string;
  /** `tcp` or `udp`. */
  readonly network: string;
  /** At a hop or node: the target as it was asked for. Otherwise empty. */
  readonly host: string;
  /** Path and query of the HTTP request, where one was seen. */
  readonly path: string;
  /** Empty at a hop or node. */
  readonly service: string;
}

const bypassMethod: Method<BypassAsk, boolean, BypassRequest, BypassReply> = {
  ...Bypass.methods.Bypass,
  wire: {
    request: ({ target, user, network, host, path, service }) => {
      return { addr: target, client: user, network, host, path, service };
    },
    ask: ({ addr, client, network, host, path, service }) => {
      return { target: addr, user: client, network, host, path, service };
    },
    answer: ({ ok }) => ok,
    reply: (ok) => ({ ok: yesOrNo(ok, 'bypass') }),
  },
  http: {
    verb: 'POST',
    request: ['service', 'network', 'addr', 'client', 'host', 'path'],
    reply: ['ok'],
    required: ['ok'],
  },
  cacheKey: ({ target, user, network, host, path, service }) =>
    keyOf(target, user, network, host, path, service),
  negative: (passedBy) => passedBy,
  coalesce: true,
  idempotent: true,
  timeoutMs: 1_000,
  onError: 'refuse',
  allow: { reply: false },
};

/** Is this target to be passed by? True refuses at a service and leaves the hop out at a hop or node. */
export const bypass = defineContract({
  kind: 'bypass',
  section: 'bypasses',
  service: Bypass.typeName,
  methods: { bypass: bypassMethod },
  combine: 'bypass',
});
