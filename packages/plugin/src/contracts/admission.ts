import { defineContract, type Method } from '../contract.ts';
import { Admission, type AdmissionReply, type AdmissionRequest } from '../gen/admission.ts';
import { addressKey, keyOf } from './cache-key.ts';
import { yesOrNo } from './checked.ts';

/** Which address wants to connect, and to what. */
export interface AdmissionAsk {
  /** The client's source address, `ip:port`; the bare ip in a routing rule. */
  readonly client: string;
  /** Empty in a routing rule. */
  readonly service: string;
  /** `tcp` or `udp`; `ip` in a routing rule. */
  readonly network: string;
}

const admit: Method<AdmissionAsk, boolean, AdmissionRequest, AdmissionReply> = {
  ...Admission.methods.Admit,
  wire: {
    request: ({ client, service, network }) => ({ addr: client, service, network }),
    ask: ({ addr, service, network }) => ({ client: addr, service, network }),
    answer: ({ ok }) => ok,
    reply: (ok) => ({ ok: yesOrNo(ok, 'admit') }),
  },
  http: { verb: 'POST', request: ['service', 'network', 'addr'], reply: ['ok'], required: ['ok'] },
  cacheKey: ({ client, service, network }) => keyOf(addressKey(client), service, network),
  negative: (admitted) => !admitted,
  coalesce: true,
  idempotent: true,
  timeoutMs: 1_000,
  onError: 'refuse',
  allow: { reply: true },
};

/** May this address connect at all? Every one of several must say yes. */
export const admission = defineContract({
  kind: 'admission',
  section: 'admissions',
  service: Admission.typeName,
  methods: { admit },
  combine: 'all',
});
