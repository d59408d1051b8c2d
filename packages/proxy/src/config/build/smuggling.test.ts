import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { smugglingAttempts } from '../../../../plugin/src/wire/http1/http1-smuggling.fixture.ts';
import type { SmugglingAttempt } from '../../../../plugin/src/wire/http1/http1-smuggling.fixture.ts';
import { Cleanup, connectPeer, startOrigin } from '../../core/http/proxy.fixture.ts';
import type { Peer, TestOrigin } from '../../core/http/proxy.fixture.ts';
import { createLog } from '../../log/log.ts';
import { formatFindings } from '../../schema/report.ts';
import { formatSocks4Request } from '../../wire/socks4.ts';
import { formatSocks5Request, socks5Commands } from '../../wire/socks5.ts';
import { loadConfig } from '../load.ts';
import { buildGraph } from './graph.ts';

const cleanup = new Cleanup();
let origin: TestOrigin;
let ports: ReadonlyMap<string, number>;

const sniffing = { sniffing: true };
const services = (to: string) => [
  { name: 'forward', handler: { type: 'forward', metadata: sniffing }, forwarder: { nodes: [{ addr: to }] } },
  { name: 'http', handler: { type: 'http', metadata: sniffing } },
  { name: 'socks4', handler: { type: 'socks4', metadata: sniffing } },
  { name: 'socks5', handler: { type: 'socks5', metadata: sniffing } },
  { name: 'auto', handler: { type: 'auto', metadata: sniffing } },
  { name: 'sni', handler: { type: 'sni' } },
];

/** The services, and a front whose only way leads through one of them. */
async function run(to: string): Promise<ReadonlyMap<string, number>> {
  const start = async (config: object) => {
    const { config: read, report, tls } = await loadConfig([JSON.stringify(config)]);
    expect(formatFindings(report.errors)).toEqual([]);
    const graph = await buildGraph(read!, tls, createLog('fatal', true, { write: () => undefined }));
    cleanup.add(graph, () => graph.close());
    return graph.listening.map(({ service, address }) => [service, address.port] as const);
  };
  const listening = (all: readonly object[]) => all.map((one) => ({ addr: '127.0.0.1:0', ...one }));
  const behind = new Map(await start({ services: listening(services(to)) }));
  const node = { name: 'second', addr: `127.0.0.1:${String(behind.get('http'))}` };
  const front = await start({
    services: listening([{ name: 'chain', handler: { type: 'http', chain: 'second' } }]),
    chains: [{ name: 'second', hops: [{ name: 'second', nodes: [node] }] }],
  });
  return new Map([...behind, ...front]);
}

beforeAll(async () => {
  origin = await startOrigin(cleanup);
  ports = await run(`127.0.0.1:${String(origin.port)}`);
});
afterAll(() => cleanup.run());

/** A way on which requests are looked at. */
interface Way {
  readonly service: string;
  /** Opens what the requests go through. Absent: they are the first that is said. */
  tunnel?(client: Peer): Promise<void>;
  /** True where a request names its target itself, so that it must name the origin. */
  readonly aims?: boolean;
  /** True where a whole URL is wanted in place of a path. */
  readonly isProxy?: boolean;
}

const to = () => ({ host: '127.0.0.1', port: origin.port });

const connect = async (client: Peer) => {
  const target = `127.0.0.1:${String(origin.port)}`;
  client.say(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  expect(await client.head()).toMatch(/^HTTP\/1\.1 200 /);
};

const socks4 = async (client: Peer) => {
  client.say(formatSocks4Request({ command: 1, address: to(), userId: '' }).toString('latin1'));
  await client.take('\0\x5a\0\0\0\0\0\0');
};

const socks5 = async (client: Peer) => {
  client.say('\x05\x01\0');
  await client.take('\x05\0');
  client.say(formatSocks5Request({ command: socks5Commands.connect, address: to() }).toString('latin1'));
  await client.take('\x05\0\0\x01\x7f\0\0\x01');
  // The port.
  await client.take(/^[^]{2}/);
};

const ways: Readonly<Record<string, Way>> = {
  'a forwarder': { service: 'forward' },
  sni: { service: 'sni', aims: true },
  'a tunnel of HTTP': { service: 'http', tunnel: connect },
  'a tunnel of SOCKS4': { service: 'socks4', tunnel: socks4 },
  'a tunnel of SOCKS5': { service: 'socks5', tunnel: socks5 },
  'a tunnel of HTTP, by auto': { service: 'auto', tunnel: connect },
  'two HTTP proxies': { service: 'chain', aims: true, isProxy: true },
  // The first does not look into what it carries.
  'a tunnel through two HTTP proxies, the second of which looks': { service: 'chain', tunnel: connect },
};

/** To whoever takes first bytes for what they are, these are other protocols, which are no requests. */
const isRequest = ({ name }: SmugglingAttempt) => name !== 'a TLS handshake' && name !== 'a SOCKS5 greeting';

/** What is said is aimed at the origin that is there, so that what is refused is refused for its form alone. */
function bytesFor({ bytes }: SmugglingAttempt, { aims = false, isProxy = false }: Way): string {
  const at = `127.0.0.1:${String(origin.port)}`;
  const aimed = aims ? bytes.replaceAll('origin.test', at).replaceAll(`${at}:443`, at) : bytes;
  return isProxy ? aimed.replace(/^((?:\r\n)*GET[ \t]+)\//, `$1http://${at}/`) : aimed;
}

describe.each(Object.entries(ways))(
  'through %s nothing reaches the origin that two readers could understand differently',
  (_title, way) => {
    const rows = smugglingAttempts.filter((row) => way.isProxy === true || isRequest(row));
    test.each(rows)('$name', async (row) => {
      const before = origin.peers.length;
      const client = await connectPeer(cleanup, ports.get(way.service)!);
      await way.tunnel?.(client);
      client.say(bytesFor(row, way));
      const text = await client.all();
      client.socket.destroy();
      expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${String(row.status)} `));
      expect(text.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
      const seen = origin.peers.slice(before);
      // A tunnel leads to the origin before anything is said in it.
      expect(seen).toHaveLength(way.tunnel !== undefined || row.where === 'body' ? 1 : 0);
      for (const peer of seen) {
        const reached = await peer.all();
        // A bad body is seen only after its head has gone on; the origin must then never see an end of it.
        if (row.where !== 'body') expect(reached).toBe('');
        expect(reached.match(/HTTP\/1\.1\r\n/g) ?? []).toHaveLength(row.where === 'body' ? 1 : 0);
        expect(reached).not.toMatch(/\/hidden|\r\n0\r\n/);
      }
    });
  },
);

test.each(Object.entries(ways))('through %s a request in order reaches the origin', async (_title, way) => {
  const before = origin.peers.length;
  const client = await connectPeer(cleanup, ports.get(way.service)!);
  await way.tunnel?.(client);
  const bytes = 'GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n';
  client.say(bytesFor({ name: '', bytes, status: 400, where: 'head' }, way));
  while (origin.peers.length === before) await new Promise(setImmediate);
  const server = origin.peers[before]!;
  expect(await server.head()).toMatch(/^GET \/ HTTP\/1\.1\r\nHost: /);
  server.say('HTTP/1.1 204 No Content\r\n\r\n');
  expect(await client.head()).toMatch(/^HTTP\/1\.1 204 /);
  client.socket.destroy();
});
