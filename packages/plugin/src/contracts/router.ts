import { defineContract, type Method } from '../contract.ts';
import { Router, type GetRouteReply, type GetRouteRequest } from '../gen/router.ts';
import { keyOf } from './cache-key.ts';

/** A packet's destination, in which private network. */
export interface RouterAsk {
  /** An IP address. */
  readonly destination: string;
  /** The router's UUID; empty for a TUN service. */
  readonly router: string;
}

/** A route. */
export interface Route {
  /** The network that it is good for, in CIDR notation, or one address. Never empty. */
  readonly network: string;
  /** The site's name, or the address, that packets are handed to. */
  readonly gateway: string;
}

const getRoute: Method<RouterAsk, Route | undefined, GetRouteRequest, GetRouteReply> = {
  ...Router.methods.GetRoute,
  wire: {
    request: ({ destination, router: id }) => ({ dst: destination, id }),
    ask: ({ dst, id }) => ({ destination: dst, router: id }),
    answer: ({ dst, gateway }) => (dst === '' ? undefined : { network: dst, gateway }),
    reply: (route) => ({ dst: route?.network ?? '', gateway: route?.gateway ?? '' }),
  },
  http: { verb: 'GET', request: ['dst', 'id?'], reply: ['dst', 'gateway'], alias: { dst: 'net' } },
  cacheKey: ({ destination, router: id }) => keyOf(destination, id),
  negative: (route) => route === undefined,
  coalesce: true,
  idempotent: true,
  timeoutMs: 1_000,
  onError: 'none',
  allow: { reply: undefined },
};

/** Where do this network's packets go? `undefined` is no route: the packet is dropped. */
export const router = defineContract({
  kind: 'router',
  section: 'routers',
  service: Router.typeName,
  methods: { getRoute },
  combine: 'one',
});
