import { defineContract, type HttpRule, type Method } from '../contract.ts';
import { SD, type GetServiceReply, type GetServiceRequest, type Service } from '../gen/sd.ts';
import { keyOf } from './cache-key.ts';

/** One place where something can be reached. All texts; renewals fill only the first three. */
export interface SdService {
  /** The UUID of the connection that serves. */
  readonly id: string;
  /** What others look for: a tunnel's UUID, or `site@router`. */
  readonly name: string;
  /** The UUID of the machine's handler. */
  readonly node: string;
  /** `tcp` or `udp`. */
  readonly network: string;
  /** `host:port` for visitors. */
  readonly address: string;
}

/** Which name is looked for. */
export interface SdAsk {
  readonly name: string;
}

type Change = Method<SdService, void, { service: Service | undefined }, { ok: boolean }>;

/** Register, Renew and Deregister differ in verb and name alone. That the call succeeded is their whole answer. */
const change = (rpc: 'Register' | 'Renew' | 'Deregister', verb: HttpRule['verb']): Change => ({
  ...SD.methods[rpc],
  wire: {
    request: (service) => ({ service: copyOf(service) }),
    ask: ({ service }) => copyOf(service),
    // Over HTTP the reply has no body that counts, and GOST does not look at `ok` over gRPC either.
    answer: () => undefined,
    reply: () => ({ ok: true }),
  },
  http: {
    verb,
    body: 'service',
    request: ['id', 'name', 'node', 'network', 'address'],
    reply: ['ok'],
    statusOnly: true,
  },
  coalesce: false,
  idempotent: true,
  timeoutMs: 5_000,
  onError: 'queue',
  allow: { reply: undefined },
});

const get: Method<SdAsk, readonly SdService[], GetServiceRequest, GetServiceReply> = {
  ...SD.methods.Get,
  wire: {
    request: ({ name }) => ({ name }),
    ask: ({ name }) => ({ name }),
    answer: ({ services }) => services,
    reply: (services) => ({ services: services.map(copyOf) }),
  },
  http: { verb: 'GET', request: ['name'], reply: ['services'] },
  cacheKey: ({ name }) => keyOf(name),
  negative: (services) => services.length === 0,
  coalesce: true,
  idempotent: true,
  timeoutMs: 1_000,
  onError: 'none',
  allow: { reply: [] },
};

function copyOf(service: SdService | undefined): SdService {
  const { id = '', name = '', node = '', network = '', address = '' } = service ?? {};
  return { id, name, node, network, address };
}

/** Where is this service to be found? Proxies on several machines find each other's tunnels and sites here. */
export const sd = defineContract({
  kind: 'sd',
  section: 'sds',
  service: SD.typeName,
  methods: {
    register: change('Register', 'POST'),
    renew: change('Renew', 'PUT'),
    deregister: change('Deregister', 'DELETE'),
    get,
  },
  combine: 'one',
});
