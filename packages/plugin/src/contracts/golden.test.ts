import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createMethodCodec } from '../codec.ts';
import { decodeMessage, encodeMessage, type MessageType } from '../wire/proto.ts';
import { writeJson, type JsonValue } from '../wire/go-json.ts';
import { contracts, contractOf } from './index.ts';
import type { ModuleKind } from '../contract.ts';

const folder = fileURLToPath(new URL('../../../../../shared/reference/golden/', import.meta.url));
const present = existsSync(folder);

interface Golden {
  readonly module: ModuleKind;
  readonly grpc: readonly { callSite: string; method: string; fields: Record<string, unknown> }[];
  readonly http: readonly {
    callSite: string;
    verb: string;
    query: string;
    body: string;
    decoded?: { data?: unknown; metadata?: unknown };
  }[];
}

/** Placeholders that stand inside texts, filled: a real port or UUID needs no escaping either. */
function filled(text: string): string {
  return text.replace(/<(port|uuid|md5-16|sha256|sid|time)>/g, (_all, name: string) => `1-${name}`);
}

const files: Golden[] = present
  ? readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => JSON.parse(filled(readFileSync(folder + name, 'utf8'))) as Golden)
  : [];

/** The golden files write <n> and <ns> where a number stood: any number will do, so that each is told apart. */
const anyNumber = 9_007_199_254_740_993n;

/** `{decoded: …}` as the bytes that it shows. Objects are JSON inside bytes; "null" is the JSON null. */
function bytesOf(shown: unknown): Buffer {
  if (typeof shown === 'string') return Buffer.from(shown);
  return shown === undefined ? Buffer.alloc(0) : Buffer.from(writeJson(shown as JsonValue));
}

/** Golden fields as the message of our table: proto names in lowerCamelCase, bytes as bytes, null messages as undefined. */
function messageOf(type: MessageType<object>, fields: Record<string, unknown>): Record<string, unknown> {
  const message: Record<string, unknown> = {};
  const named = new Map(
    Object.entries(fields).map(([name, value]) => [
      name.replace(/_([a-z])/g, (_all, letter: string) => letter.toUpperCase()),
      value,
    ]),
  );
  for (const field of type.fields) {
    expect(named.has(field.name), `${type.typeName}.${field.name}`).toBe(true);
    const one = (value: unknown): unknown => {
      if (value === null) return undefined;
      if (field.type === 'bytes') return bytesOf((value as { decoded: unknown }).decoded);
      if (typeof field.type !== 'string') return messageOf(field.type, value as Record<string, unknown>);
      return field.type === 'uint64' || field.type === 'int64' ? anyNumber : value;
    };
    const value = named.get(field.name);
    message[field.name] = field.repeated ? (value as unknown[]).map(one) : one(value);
  }
  expect([...named.keys()].filter((name) => !(name in message))).toEqual([]);
  return message;
}

/** The verbatim body with its placeholders filled: numbers, and the base64 of what is shown beside it. */
function bodyOf(request: Golden['http'][number]): string {
  return request.body
    .replaceAll('"<n>"', String(anyNumber))
    .replace('<base64 of data>', () => bytesOf(request.decoded?.data).toString('base64'))
    .replace('<base64 of metadata>', () => bytesOf(request.decoded?.metadata).toString('base64'));
}

function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, one: unknown) => (typeof one === 'bigint' ? `${one}n` : one)),
  ) as unknown;
}

describe('golden requests of a real GOST', () => {
  it.skipIf(present)('skipped: ../shared/reference/golden is not beside this repository', () => {});

  it.skipIf(!present)('has a file for every contract', () => {
    expect(files.map(({ module }) => module).sort()).toEqual(contracts.map(({ kind }) => kind));
    expect(files.flatMap(({ grpc, http }) => [...grpc, ...http]).length).toBe(162);
  });

  for (const { module, grpc, http } of files) {
    const contract = contractOf(module);
    const methods = Object.keys(contract.methods).map((name) => ({
      rpc: contract.methods[name]!,
      codec: createMethodCodec(contract, name),
    }));

    describe.each(grpc)(`${module}, gRPC, $callSite`, (golden) => {
      const { rpc, codec } = methods.find((method) => method.codec.grpc.path === golden.method)!;

      it('decodes to an ask that encodes to the same fields', () => {
        const fields = messageOf(rpc.request, golden.fields);
        const sent = encodeMessage(rpc.request, fields);
        const { ask } = codec.grpc.decodeAsk(sent);
        expect(Buffer.from(codec.grpc.encodeAsk(ask))).toEqual(sent);
        expect(plain(decodeMessage(rpc.request, codec.grpc.encodeAsk(ask)))).toEqual(plain(fields));
      });

      it('is the same question as over HTTP, byte for byte', () => {
        const twin = http.find((one) => {
          return one.callSite === golden.callSite && one.verb === rpc.http.verb;
        });
        if (twin === undefined) return expect(golden.callSite).toBe('no request without a twin is known');
        const { ask } = codec.grpc.decodeAsk(
          encodeMessage(rpc.request, messageOf(rpc.request, golden.fields)),
        );
        const { query, body } = codec.http.encodeAsk(ask);
        expect(query).toBe(twin.query);
        expect(body ?? '').toBe(bodyOf(twin));
      });
    });

    it.each(http)(`${module}, HTTP, $callSite`, (golden) => {
      const { codec } = methods.find(({ rpc }) => rpc.http.verb === golden.verb)!;
      const [query, body] = [golden.query, bodyOf(golden)];
      const { ask } = codec.http.decodeAsk(query, Buffer.from(body));
      const again = codec.http.encodeAsk(ask);
      expect(again.query).toBe(query);
      expect(again.body ?? '').toBe(body);
      expect(again.body === undefined).toBe(golden.verb === 'GET');
    });
  }
});

/** One call site of each method, in our words: a mapping that mixes two names up both ways would pass the tests above. */
const asks: readonly [kind: ModuleKind, method: string, callSite: string, ask: unknown][] = [
  [
    'auth',
    'authenticate',
    'http handler on a tls listener with client certificate',
    {
      username: 'gost',
      password: 'gost',
      client: '127.0.0.1:1-port',
      service: 'svc-mtls',
      certificate: {
        commonName: 'alice',
        names: ['alice.test', 'alice@test.example', 'spiffe://test/alice'],
        fingerprint: '1-sha256',
      },
    },
  ],
  [
    'auth',
    'authenticate',
    'Web API request',
    { username: 'gost', password: 'gost', client: '', service: '@api', certificate: undefined },
  ],
  [
    'admission',
    'admit',
    'tcp listener, one accepted connection',
    { client: '127.0.0.1:1-port', service: 'svc-a', network: 'tcp' },
  ],
  [
    'bypass',
    'bypass',
    'relay handler, CONNECT by a known user',
    {
      target: '127.0.0.1:1-port',
      user: 'id-of-gost',
      network: 'tcp',
      host: '',
      path: '',
      service: 'svc-auth',
    },
  ],
  [
    'hop',
    'select',
    'chain, http handler, CONNECT to a name',
    {
      network: 'tcp',
      target: 'origin.test:1-port',
      host: 'origin.test:1-port',
      path: '',
      user: 'id-of-gost',
      client: '127.0.0.1:1-port',
    },
  ],
  ['hosts', 'lookup', 'dial of the target', { network: 'ip', host: 'origin.test', user: 'id-of-gost' }],
  ['resolver', 'resolve', 'dial of the target', { network: 'ip', host: 'origin.test', user: 'id-of-gost' }],
  ['ingress', 'getRule', 'tunnel entrypoint, HTTP visitor', { host: 'web.test:80', service: 'svc-tun' }],
  [
    'ingress',
    'setRule',
    'tunnel handler, a client registered',
    { host: '1-md5-16', endpoint: '1-uuid', service: 'svc-tun' },
  ],
  [
    'limiter',
    'limit',
    'http handler with handler.limiter (scope client)',
    {
      scope: 'client',
      service: 'svc-lim',
      network: 'tcp',
      target: '127.0.0.1:1-port',
      user: 'id-of-gost',
      client: '127.0.0.1:1-port',
    },
  ],
  [
    'observer',
    'observe',
    'service status ready',
    {
      events: [
        {
          type: 'status',
          kind: 'service',
          service: 'svc-obs',
          user: '',
          state: 'ready',
          message: 'service svc-obs is ready',
        },
      ],
    },
  ],
  [
    'observer',
    'observe',
    'handler stats of a user',
    {
      events: [
        {
          type: 'stats',
          kind: 'handler',
          service: 'svc-obs',
          user: 'id-of-gost',
          stats: {
            totalConns: anyNumber,
            currentConns: anyNumber,
            inputBytes: anyNumber,
            outputBytes: anyNumber,
            totalErrs: anyNumber,
          },
        },
      ],
    },
  ],
  [
    'recorder',
    'record',
    'recorder.service.client.address',
    { data: Buffer.from('127.0.0.1'), metadata: { kind: 'client', 'some.key': 7 } },
  ],
  [
    'recorder',
    'record',
    'recorder.service.client.address, reference without metadata',
    { data: Buffer.from('127.0.0.1'), metadata: null },
  ],
  [
    'rewriter',
    'rewrite',
    'forwarder node, rewriteResponseBody of an event stream, end',
    {
      data: Buffer.alloc(0),
      metadata: { direction: 'response', event_index: 3, sid: '1-sid', sse_phase: 'end', uri: '/sse' },
    },
  ],
  ['router', 'getRoute', 'router handler, IPv4 packet', { destination: '10.2.0.5', router: '1-uuid' }],
  [
    'sd',
    'register',
    'router handler, a site joined',
    { id: '1-uuid', name: 'site-b@1-uuid', node: '1-uuid', network: 'udp', address: '127.0.0.1:1-port' },
  ],
  [
    'sd',
    'renew',
    'tunnel handler, each tunnel.ttl',
    { id: '1-uuid', name: '1-uuid', node: '1-uuid', network: '', address: '' },
  ],
  [
    'sd',
    'deregister',
    'tunnel handler, client gone',
    { id: '1-uuid', name: '1-uuid', node: '1-uuid', network: '', address: '' },
  ],
  ['sd', 'get', 'router handler, gateway on another node', { name: 'site-b@1-uuid' }],
];

describe.skipIf(!present)('golden requests in our words', () => {
  it.each(asks)('%s.%s: %s', (kind, name, callSite, ask) => {
    const contract = contractOf(kind);
    const method = contract.methods[name]!;
    const codec = createMethodCodec(contract, name);
    const file = files.find(({ module }) => module === kind)!;
    const grpc = file.grpc.find((one) => one.callSite === callSite && one.method === codec.grpc.path)!;
    const http = file.http.find((one) => one.callSite === callSite && one.verb === codec.http.verb)!;
    const sent = encodeMessage(method.request, messageOf(method.request, grpc.fields));
    expect(codec.grpc.decodeAsk(sent).ask).toEqual(ask);
    expect(Buffer.from(codec.grpc.encodeAsk(ask))).toEqual(sent);
    expect(codec.http.encodeAsk(ask)).toEqual({
      query: http.query,
      body: http.verb === 'GET' ? undefined : bodyOf(http),
    });
  });

  it('has a row for every method', () => {
    const all = contracts.flatMap(({ kind, methods }) =>
      Object.keys(methods).map((name) => `${kind}.${name}`),
    );
    expect([...new Set(asks.map(([kind, name]) => `${kind}.${name}`))].sort()).toEqual(all.sort());
  });
});
