import { defineContract, type Int64, type Method } from '../contract.ts';
import { Limiter, type LimitReply, type LimitRequest } from '../gen/limiter.ts';
import { addressKey, keyOf } from './cache-key.ts';

/** Whose traffic is to be limited. */
export interface LimiterAsk {
  /** `service`, `conn` or `client`: all connections of the service together, this connection, or this user. */
  readonly scope: string;
  readonly service: string;
  /** `tcp` or `udp`. */
  readonly network: string;
  /** `host:port`; only for scope `client`, where it is known. */
  readonly target: string;
  /** The user's id, or the tunnel's UUID; only for scope `client`. */
  readonly user: string;
  /** The client's source address, `ip:port`; empty for scope `service`. */
  readonly client: string;
}

/** One pair of rates in bytes a second, 0 for no limit, and the bucket that they fill. */
export interface Rate {
  /** What is read from the client. */
  readonly in: Int64;
  /** What is written to the client. */
  readonly out: Int64;
  /** Bytes that may go at once; absent: as much as one second's. No plugin can say it. */
  readonly burst?: Int64;
  /** Who shares the bucket: `$` all of the service, `$$` this connection alone, else an IP, a network or a user's id. */
  readonly share: string;
}

const limit: Method<LimiterAsk, readonly Rate[], LimitRequest, LimitReply> = {
  ...Limiter.methods.Limit,
  wire: {
    request: ({ scope, service, network, target, user, client }) => {
      return { network, addr: target, client: user, src: client, service, scope };
    },
    ask: ({ network, addr, client, src, service, scope }) => {
      return { scope, service, network, target: addr, user: client, client: src };
    },
    answer: (reply, { scope, user }) => {
      const share = scope === 'service' ? '$' : scope === 'conn' ? '$$' : user;
      return [{ in: orUnlimited(reply.in), out: orUnlimited(reply.out), share }];
    },
    // The wire holds one pair: the tightest of each, which the buckets together would come to.
    reply: (rates) => ({
      in: tightest(rates.map((rate) => rate.in)),
      out: tightest(rates.map((rate) => rate.out)),
    }),
  },
  http: {
    verb: 'POST',
    request: ['service', 'scope', 'network', 'addr', 'client', 'src'],
    reply: ['in', 'out'],
  },
  cacheKey: ({ scope, service, network, target, user, client }) =>
    keyOf(scope, service, network, target, user, addressKey(client)),
  coalesce: false,
  idempotent: true,
  timeoutMs: 1_000,
  onError: 'lastGood',
  allow: { reply: [] },
};

/** GOST takes 0 and everything below it for "no limit"; here it is 0 alone. */
function orUnlimited(rate: Int64): Int64 {
  return rate > 0 ? rate : 0;
}

function tightest(rates: readonly Int64[]): Int64 {
  return rates.filter((rate) => rate > 0).reduce<Int64>((a, b) => (a === 0 || b < a ? b : a), 0);
}

/** How fast? A plugin answers one rate; an empty list is no limit. */
export const limiter = defineContract({
  kind: 'limiter',
  section: 'limiters',
  service: Limiter.typeName,
  methods: { limit },
  combine: 'one',
});
