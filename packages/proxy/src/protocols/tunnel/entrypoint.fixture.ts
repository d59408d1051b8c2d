import { formatAddress } from '../../core/address.ts';
import type { Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { startHandler } from '../../core/http/proxy.fixture.ts';
import type { TestParts, TestProxy } from '../../core/http/proxy.fixture.ts';
import { startOrigin } from '../../core/peer.fixture.ts';
import type { Cleanup, TestOrigin } from '../../core/peer.fixture.ts';
import { createRelayDatagrams } from '../../core/relay-messages/datagrams.ts';
import { listIngress } from '../../policies/ingress/list.ts';
import { tcp } from '../../transports/tcp/index.ts';
import { createEntrypoint } from './entrypoint.ts';
import type { EntrypointOptions, Tunnels, Visit } from './tunnels.ts';

/** Tunnels by what they are to a test. */
export const ids = {
  one: '11111111-1111-4111-8111-111111111111',
  two: '22222222-2222-4222-8222-222222222222',
  hidden: '33333333-3333-4333-8333-333333333333',
  /** Nobody serves it. */
  gone: '44444444-4444-4444-8444-444444444444',
  /** Another node serves it. */
  far: '55555555-5555-4555-8555-555555555555',
  public: 'eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee',
} as const;

/** This node, and the one that serves {@link ids.far}. */
export const here = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';
export const elsewhere = 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb';

const rules = [
  { hostname: 'one.test', endpoint: ids.one },
  { hostname: 'also-one.test', endpoint: ids.one },
  { hostname: '*.two.test', endpoint: ids.two },
  { hostname: 'hidden.test', endpoint: `$${ids.hidden}` },
  { hostname: 'gone.test', endpoint: ids.gone },
  { hostname: 'far.test', endpoint: ids.far },
];

/** A service whose listener is an entrypoint, origins in place of connectors, and what was asked of the tunnels. */
export interface EntrypointScene {
  readonly proxy: TestProxy;
  readonly one: TestOrigin;
  readonly two: TestOrigin;
  readonly hidden: TestOrigin;
  readonly far: TestOrigin;
  /** Hosts that an ingress was asked about. */
  readonly asked: string[];
  readonly visits: { readonly id: string; readonly visit: Visit }[];
}

/** What a test says of its entrypoint. */
export type SceneParts = TestParts & {
  readonly entrypoint?: Partial<EntrypointOptions>;
  readonly tunnels?: Partial<Tunnels>;
};

/** Starts it. Where a visit is for datagrams, the origin gets them as the relay protocol frames them. */
export async function startEntrypoint(
  cleanup: Cleanup,
  { entrypoint, tunnels, ...parts }: SceneParts = {},
): Promise<EntrypointScene> {
  const [one, two, hidden, far] = [
    await startOrigin(cleanup),
    await startOrigin(cleanup),
    await startOrigin(cleanup),
    await startOrigin(cleanup),
  ];
  const ports: Readonly<Record<string, number>> = {
    [ids.one]: one.port,
    [ids.two]: two.port,
    [ids.hidden]: hidden.port,
    [ids.far]: far.port,
  };
  const way = tcp.wrap(undefined, { metadata: {} });
  const asked: string[] = [];
  const visits: EntrypointScene['visits'] = [];
  const handlers = listIngress({ rules });
  const all: Tunnels = {
    service: 'test',
    node: here,
    async visit(id, visit, context) {
      visits.push({ id, visit });
      const port = ports[id];
      if (port === undefined) throw new ProxyError('noRoute', 'self', `the tunnel ${id} has no connector`);
      const conn: Conn = await way.dial({ host: '127.0.0.1', port }, context);
      if (id === ids.far) {
        if (visit.request !== undefined) await conn.write(visit.request);
        return { end: conn, where: 'elsewhere', path: [`${elsewhere}@127.0.0.1:${String(port)}`] };
      }
      const end = visit.network === 'udp' ? createRelayDatagrams(conn, visit.target) : conn;
      return { end, where: 'here', path: ['connector@c'] };
    },
    async tunnelOf(host, decider, ingress = handlers) {
      asked.push(host);
      const endpoint = await decider.decide({
        module: 'ingress',
        about: host,
        ask: (call) => ingress.getRule({ host, service: 'test' }, call),
        tell: (answer) => ({ outcome: answer === undefined ? 'no' : 'yes', answer: answer ?? '' }),
      });
      if (endpoint === undefined) return undefined;
      return { id: endpoint.replace('$', ''), isPrivate: endpoint.startsWith('$') };
    },
    ...tunnels,
  };
  const serve = createEntrypoint(all, {
    publicId: ids.public,
    direct: false,
    readTimeoutMs: 5000,
    keepAlive: true,
    ...entrypoint,
  });
  const handler = { metadata: {}, serves: 'stream', handle: serve } as const;
  const proxy = await startHandler(cleanup, handler, parts);
  return { proxy, one, two, hidden, far, asked, visits };
}

/** What the tunnels were asked, in short. */
export function visited({ visits }: EntrypointScene): string[] {
  return visits.map(({ id, visit }) => {
    const name = Object.entries(ids).find(([, known]) => known === id)?.[0] ?? id;
    return `${name} ${visit.network} ${formatAddress(visit.target)}`;
  });
}

/** A request of HTTP. */
export function get(host: string, path = '/', ...fields: string[]): string {
  return [`GET ${path} HTTP/1.1`, `Host: ${host}`, ...fields, '', ''].join('\r\n');
}

/** An answer of HTTP. */
export function ok(body: string, ...fields: string[]): string {
  return ['HTTP/1.1 200 OK', `Content-Length: ${String(body.length)}`, ...fields, '', body].join('\r\n');
}

/** What a client of TLS says first (RFC 8446, section 4.1.2); without a name it names no server. `random`: one byte, 32 times. */
export function clientHello(name?: string, random = 7): Buffer {
  const sized = (bytes: Buffer, length: 1 | 2 | 3) => {
    const size = Buffer.alloc(length);
    size.writeUIntBE(bytes.length, 0, length);
    return Buffer.concat([size, bytes]);
  };
  const host = name === undefined ? undefined : sized(Buffer.from(name), 2);
  const extensions =
    host === undefined
      ? Buffer.alloc(0)
      : Buffer.concat([Buffer.from([0, 0]), sized(sized(Buffer.concat([Buffer.from([0]), host]), 2), 2)]);
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, random),
    Buffer.from([0, 0, 2, 0x13, 1, 1, 0]),
    sized(extensions, 2),
  ]);
  const message = Buffer.concat([Buffer.from([1]), sized(body, 3)]);
  return Buffer.concat([Buffer.from([22, 3, 1]), sized(message, 2)]);
}
