// What every module is asked and answers in these suites, in our words and as the wire's ProtoJSON: the reference's table
// filled with values, written by hand so that a mistake in a contract cannot hide in its own test.
import type { ModuleKind } from '@sallyport/plugin';

/** A message as ProtoJSON: 64-bit integers are text, bytes are base64, every field is there. */
export type WireJson = Readonly<Record<string, unknown>>;

export interface InteropCase {
  readonly title: string;
  readonly kind: ModuleKind;
  /** The method's name in our contract. */
  readonly name: string;
  /** The method's path on the wire. */
  readonly method: string;
  readonly ask: object;
  readonly request: WireJson;
  readonly answer: unknown;
  /** What a peer sends for the answer, and what our server sends unless `served` is given. */
  readonly reply: WireJson;
  readonly served?: WireJson;
}

const base64 = (text: string | Uint8Array) => Buffer.from(text).toString('base64');
const text = 'Grüße, 世界 \u{1f680} <&>"\\';
const client = '[2001:db8::1]:40000';
const large = Buffer.alloc(700_000, 'large bodies cross every flow-control window; ');

const services = [
  { id: 'id-1', name: text, node: 'node-1', network: 'tcp', address: '192.0.2.1:1' },
  { id: 'id-2', name: 'b', node: '', network: 'udp', address: '[2001:db8::2]:2' },
];
const service = services[0]!;
const noService = { id: '', name: '', node: '', network: '', address: '' };
const node = { name: 'node', addr: '192.0.2.1:8443', connector: { type: 'http' }, metadata: { text, n: 1 } };
const metadata = { a: [1, 2, 3], direction: 'response', uri: `/${text}` };

const changes = (['register', 'renew', 'deregister'] as const).flatMap((name): InteropCase[] => {
  const method = `/proto.SD/${name[0]!.toUpperCase()}${name.slice(1)}`;
  const rest = { kind: 'sd' as const, name, method, answer: undefined, reply: { ok: true } };
  return [
    { ...rest, title: 'every field', ask: service, request: { service } },
    { ...rest, title: 'empty fields', ask: noService, request: { service: noService } },
  ];
});

/** A question about bodies or records has data and metadata, which is JSON inside bytes. */
const dataCases = (kind: 'recorder' | 'rewriter', name: string, method: string): InteropCase[] => {
  const say = (body: Uint8Array | undefined) =>
    kind === 'recorder'
      ? { answer: true, reply: { ok: true } }
      : { answer: body, reply: { ok: true, data: body === undefined ? '' : base64(body) } };
  return [
    {
      ...{ title: 'every field', kind, name, method },
      ask: { data: Buffer.from([0, 255, 128, 10]), metadata },
      request: { data: base64(Buffer.from([0, 255, 128, 10])), metadata: base64(goJson(metadata)) },
      ...say(Buffer.from([254, 0, 1])),
    },
    {
      ...{ title: 'no data, no metadata', kind, name, method },
      ask: { data: Buffer.alloc(0), metadata: null },
      request: { data: '', metadata: base64('null') },
      ...say(undefined),
    },
    {
      ...{ title: '700,000 bytes', kind, name, method },
      ask: { data: large, metadata: null },
      request: { data: base64(large), metadata: base64('null') },
      ...say(large.subarray(1)),
    },
  ];
};

/** Go escapes these three in JSON. Keys are given in their order already. */
function goJson(value: unknown): string {
  const escapes: Record<string, string> = { '<': '\\u003c', '>': '\\u003e', '&': '\\u0026' };
  return JSON.stringify(value).replace(/[<>&]/g, (one) => escapes[one]!);
}

export const interopCases: readonly InteropCase[] = [
  {
    ...{ title: 'every field', kind: 'admission', name: 'admit', method: '/proto.Admission/Admit' },
    ask: { client, service: text, network: 'tcp' },
    request: { addr: client, service: text, network: 'tcp' },
    ...{ answer: true, reply: { ok: true } },
  },
  {
    ...{ title: 'empty fields', kind: 'admission', name: 'admit', method: '/proto.Admission/Admit' },
    ask: { client: '', service: '', network: '' },
    request: { addr: '', service: '', network: '' },
    ...{ answer: false, reply: { ok: false } },
  },
  {
    ...{
      title: 'every field',
      kind: 'auth',
      name: 'authenticate',
      method: '/proto.Authenticator/Authenticate',
    },
    ask: {
      ...{ username: text, password: 'p\u0000\n', client, service: 'service-0' },
      certificate: { commonName: text, names: ['a.example', '', 'spiffe://x/y'], fingerprint: 'ab12' },
    },
    request: {
      ...{ username: text, password: 'p\u0000\n', client, service: 'service-0', clientCn: text },
      ...{ clientSan: ['a.example', '', 'spiffe://x/y'], clientCertFingerprint: 'ab12' },
    },
    ...{ answer: { ok: true, user: text }, reply: { ok: true, id: text } },
  },
  {
    ...{
      title: 'empty fields',
      kind: 'auth',
      name: 'authenticate',
      method: '/proto.Authenticator/Authenticate',
    },
    ask: { username: '', password: '', client: '', service: '', certificate: undefined },
    request: {
      ...{ username: '', password: '', client: '', service: '', clientCn: '' },
      ...{ clientSan: [], clientCertFingerprint: '' },
    },
    ...{ answer: { ok: false, user: '' }, reply: { ok: false, id: '' } },
  },
  {
    ...{ title: 'every field', kind: 'bypass', name: 'bypass', method: '/proto.Bypass/Bypass' },
    ask: { target: 'a.example:443', user: text, network: 'tcp', host: 'b', path: '/p?q=1', service: 's' },
    request: { addr: 'a.example:443', client: text, network: 'tcp', host: 'b', path: '/p?q=1', service: 's' },
    ...{ answer: true, reply: { ok: true } },
  },
  {
    ...{ title: 'every field', kind: 'hop', name: 'select', method: '/proto.Hop/Select' },
    ask: { network: 'tcp', target: 'a:1', host: 'b:2', path: '/c', user: text, client },
    request: { network: 'tcp', addr: 'a:1', host: 'b:2', path: '/c', client: text, src: client },
    ...{ answer: node, reply: { node: base64(goJson(node)) } },
  },
  {
    ...{ title: 'no node', kind: 'hop', name: 'select', method: '/proto.Hop/Select' },
    ask: { network: '', target: '', host: '', path: '', user: '', client: '' },
    request: { network: '', addr: '', host: '', path: '', client: '', src: '' },
    ...{ answer: undefined, reply: { node: '' }, served: { node: base64('{}') } },
  },
  ...(
    [
      ['hosts', 'lookup', '/proto.HostMapper/Lookup'],
      ['resolver', 'resolve', '/proto.Resolver/Resolve'],
    ] as const
  ).flatMap(([kind, name, method]): InteropCase[] => [
    {
      ...{ title: 'every field', kind, name, method },
      ask: { network: 'ip', host: 'a.example', user: text },
      request: { network: 'ip', host: 'a.example', client: text },
      answer: ['192.0.2.1', '2001:db8::1'],
      reply: { ips: ['192.0.2.1', '2001:db8::1'], ok: true },
    },
    {
      ...{ title: 'no address', kind, name, method },
      ask: { network: 'ip6', host: '', user: '' },
      request: { network: 'ip6', host: '', client: '' },
      ...{ answer: [], reply: { ips: [], ok: false } },
    },
  ]),
  {
    ...{ title: 'every field', kind: 'ingress', name: 'getRule', method: '/proto.Ingress/GetRule' },
    ask: { host: 'a.example:443', service: text },
    request: { host: 'a.example:443', service: text },
    ...{ answer: text, reply: { endpoint: text } },
  },
  {
    ...{ title: 'no rule', kind: 'ingress', name: 'getRule', method: '/proto.Ingress/GetRule' },
    ask: { host: '', service: '' },
    request: { host: '', service: '' },
    ...{ answer: undefined, reply: { endpoint: '' } },
  },
  {
    ...{ title: 'every field', kind: 'ingress', name: 'setRule', method: '/proto.Ingress/SetRule' },
    ask: { host: 'a.example', endpoint: '$uuid', service: text },
    request: { host: 'a.example', endpoint: '$uuid', service: text },
    ...{ answer: true, reply: { ok: true } },
  },
  {
    ...{ title: 'every field', kind: 'limiter', name: 'limit', method: '/proto.Limiter/Limit' },
    ask: { scope: 'client', service: 's', network: 'udp', target: 'a:1', user: text, client },
    request: { scope: 'client', service: 's', network: 'udp', addr: 'a:1', client: text, src: client },
    answer: [{ in: 9_223_372_036_854_775_807n, out: 1024, share: text }],
    reply: { in: '9223372036854775807', out: '1024' },
  },
  {
    ...{ title: 'no limit', kind: 'limiter', name: 'limit', method: '/proto.Limiter/Limit' },
    ask: { scope: 'service', service: '', network: '', target: '', user: '', client: '' },
    request: { scope: 'service', service: '', network: '', addr: '', client: '', src: '' },
    answer: [{ in: 0, out: 0, share: '$' }],
    reply: { in: '-1', out: '-9223372036854775808' },
    served: { in: '0', out: '0' },
  },
  {
    ...{ title: 'every field', kind: 'observer', name: 'observe', method: '/proto.Observer/Observe' },
    ask: {
      events: [
        {
          ...{ type: 'stats', kind: 'handler', service: text, user: 'u' },
          stats: {
            ...{
              totalConns: 18_446_744_073_709_551_615n,
              currentConns: 0,
              inputBytes: 9_007_199_254_740_991,
            },
            ...{ outputBytes: 9_007_199_254_740_993n, totalErrs: 1 },
          },
        },
        { type: 'status', kind: 'service', service: 's', user: '', state: 'failed', message: text },
        { type: 'other', name: 'newer', kind: 'k', service: '', user: '' },
      ],
    },
    request: {
      events: [
        {
          ...{ kind: 'handler', service: text, client: 'u', type: 'stats' },
          stats: {
            ...{ totalConns: '18446744073709551615', currentConns: '0', inputBytes: '9007199254740991' },
            ...{ outputBytes: '9007199254740993', totalErrs: '1' },
          },
        },
        {
          ...{ kind: 'service', service: 's', client: '', type: 'status' },
          status: { state: 'failed', msg: text },
        },
        { kind: 'k', service: '', client: '', type: 'newer' },
      ],
    },
    ...{ answer: true, reply: { ok: true } },
  },
  {
    ...{ title: 'no event', kind: 'observer', name: 'observe', method: '/proto.Observer/Observe' },
    ...{ ask: { events: [] }, request: { events: [] } },
    ...{ answer: false, reply: { ok: false } },
  },
  ...dataCases('recorder', 'record', '/proto.Recorder/Record'),
  ...dataCases('rewriter', 'rewrite', '/proto.Rewriter/Rewrite'),
  {
    ...{ title: 'every field', kind: 'router', name: 'getRoute', method: '/proto.Router/GetRoute' },
    ask: { destination: '198.51.100.7', router: text },
    request: { dst: '198.51.100.7', id: text },
    ...{ answer: { network: '198.51.100.0/24', gateway: text } },
    reply: { dst: '198.51.100.0/24', gateway: text },
  },
  {
    ...{ title: 'no route', kind: 'router', name: 'getRoute', method: '/proto.Router/GetRoute' },
    ask: { destination: '', router: '' },
    request: { dst: '', id: '' },
    ...{ answer: undefined, reply: { dst: '', gateway: '' } },
  },
  ...changes,
  {
    ...{ title: 'every field', kind: 'sd', name: 'get', method: '/proto.SD/Get' },
    ...{ ask: { name: text }, request: { name: text } },
    ...{ answer: services, reply: { services } },
  },
  {
    ...{ title: 'no service', kind: 'sd', name: 'get', method: '/proto.SD/Get' },
    ...{ ask: { name: '' }, request: { name: '' } },
    ...{ answer: [], reply: { services: [] } },
  },
];

/** A peer's JSON without the messages that are absent, which some write as null. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, one]) => one !== null)
      .map(([key, one]) => [key, withoutNulls(one)]),
  );
}
