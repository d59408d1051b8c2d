import { defineContract, type Method } from '../contract.ts';
import {
  Ingress,
  type GetRuleReply,
  type GetRuleRequest,
  type SetRuleReply,
  type SetRuleRequest,
} from '../gen/ingress.ts';
import { keyOf } from './cache-key.ts';
import { yesOrNo } from './checked.ts';

/** Which host name, at which tunnel service. */
export interface GetRuleAsk {
  /** With its port when the visitor came in through an entrypoint. */
  readonly host: string;
  readonly service: string;
}

/** From now on this host name leads to this tunnel. */
export interface SetRuleAsk {
  readonly host: string;
  /** The tunnel's UUID. */
  readonly endpoint: string;
  readonly service: string;
}

const getRule: Method<GetRuleAsk, string | undefined, GetRuleRequest, GetRuleReply> = {
  ...Ingress.methods.GetRule,
  wire: {
    request: ({ host, service }) => ({ host, service }),
    ask: ({ host, service }) => ({ host, service }),
    answer: ({ endpoint }) => (endpoint === '' ? undefined : endpoint),
    reply: (endpoint) => ({ endpoint: endpoint ?? '' }),
  },
  http: { verb: 'GET', request: ['host', 'service?'], reply: ['endpoint'] },
  cacheKey: ({ host, service }) => keyOf(host, service),
  negative: (endpoint) => endpoint === undefined,
  coalesce: true,
  idempotent: true,
  timeoutMs: 1_000,
  onError: 'none',
  allow: { reply: undefined },
};

const setRule: Method<SetRuleAsk, boolean, SetRuleRequest, SetRuleReply> = {
  ...Ingress.methods.SetRule,
  wire: {
    request: ({ host, endpoint, service }) => ({ host, endpoint, service }),
    ask: ({ host, endpoint, service }) => ({ host, endpoint, service }),
    answer: ({ ok }) => ok,
    reply: (ok) => ({ ok: yesOrNo(ok, 'setRule') }),
  },
  http: { verb: 'PUT', request: ['service', 'host', 'endpoint'], reply: ['ok'] },
  coalesce: false,
  idempotent: true,
  timeoutMs: 5_000,
  onError: 'queue',
  allow: { reply: true },
};

/** Which tunnel serves this host name? The answer is the tunnel's UUID, with `$` in front for a private one. */
export const ingress = defineContract({
  kind: 'ingress',
  section: 'ingresses',
  service: Ingress.typeName,
  methods: { getRule, setRule },
  combine: 'one',
});
