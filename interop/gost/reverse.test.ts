// Ports of a server that a client listens at (`rtcp`, `rudp`), by relay and by SOCKS5, over everything that carries a connection: our
// client at GOST's server, GOST's at ours, ours at ours. A row of the table is one combination that must work in all three.
// Each direction is one pair of programs with a service for each row. It needs a built program (`npm run build`).
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import {
  enter,
  exchangeDatagrams,
  startFarEnd,
  untilHeard,
  visitAndBeLeft,
  visitAndBreak,
  visitEcho,
  visitHalfClosed,
} from './far-end.ts';
import type { FarEnd } from './far-end.ts';
import { missingGost, startGost } from './gost.ts';
import { carriers, chainOf, createLinks, ownAddress } from './links.ts';
import type { Carrier, Links } from './links.ts';
import { startPlugins } from './plugin-servers.ts';
import type { PluginServers } from './plugin-servers.ts';
import { closeAll, startSallyport } from './programs.ts';
import type { Proxy, ProxyConfig } from './programs.ts';
import { startEcho, startTurnstile } from './traffic.ts';

const programs = { gost: startGost, sallyport: startSallyport };
type Name = keyof typeof programs;

interface Row {
  /** GOST's name of the server's handler and of the client's connector; `direct`: the client listens itself. */
  readonly protocol: 'relay' | 'socks5' | 'direct';
  /** GOST's name of the server's listener and of the client's dialer. */
  readonly carrier: Carrier;
  readonly network: 'tcp' | 'udp';
  /** The server asks for a user. */
  readonly auth?: true;
  /** Metadata of the handler and of the connector. */
  readonly both?: object;
}

const user = { username: 'gost', password: 'right:/@ü' };
const notls = { notls: true };
const networks = (row: Omit<Row, 'network'>): Row[] => [
  { ...row, network: 'tcp' },
  { ...row, network: 'udp' },
];

const rows: readonly Row[] = [
  ...carriers.flatMap((carrier) => networks({ protocol: 'relay', carrier })),
  // Where a mux carries it, TLS within would make GOST close the connection of all with the first that ends.
  ...carriers.flatMap((carrier) =>
    networks({ protocol: 'socks5', carrier, ...(carrier.startsWith('m') && { both: notls }) }),
  ),
  ...networks({ protocol: 'relay', carrier: 'tcp', auth: true }),
  ...networks({ protocol: 'socks5', carrier: 'tcp', auth: true }),
  ...networks({ protocol: 'socks5', carrier: 'tcp', auth: true, both: notls }),
  // In GOST's JSON a number is no version.
  { protocol: 'relay', carrier: 'tcp', network: 'tcp', both: { 'mux.version': '2' } },
  { protocol: 'relay', carrier: 'tls', network: 'tcp', both: { 'mux.type': 'yamux' } },
  { protocol: 'socks5', carrier: 'tcp', network: 'tcp', both: { 'mux.version': '2', ...notls } },
  { protocol: 'socks5', carrier: 'wss', network: 'tcp', both: { 'mux.type': 'yamux', ...notls } },
  ...networks({ protocol: 'direct', carrier: 'tcp' }),
];

const nameOf = (row: Row) => `row-${String(rows.indexOf(row))}`;
const hasServer = ({ protocol }: Row) => protocol !== 'direct';
const titleOf = ({ protocol, carrier, network, auth, both }: Row) =>
  [
    protocol === 'direct' ? `${network} without a server` : `${network} by ${protocol} over ${carrier}`,
    ...(auth ? ['with a user'] : []),
    ...(both ? [JSON.stringify(both)] : []),
  ].join(', ');

/** The server: a service for each row. */
function serverConfig(links: Links): ProxyConfig {
  return {
    services: rows.filter(hasServer).map((row) => ({
      name: nameOf(row),
      addr: '127.0.0.1:0',
      handler: {
        ...links.server(row.protocol),
        ...(row.auth && { auth: user }),
        metadata: { bind: true, ...(row.protocol === 'socks5' && { udp: true }), ...row.both },
      },
      listener: links.server(row.carrier),
    })),
  };
}

/** What the client's services lead to, where they listen, and at whom. */
interface Ends {
  readonly server: (row: Row) => string;
  readonly farEnd: string;
  readonly echo: string;
  readonly door: (row: Row) => string;
}

/** The client: a service for each row, which asks who visits it. */
function clientConfig(ends: Ends, plugins: PluginServers, links: Links): ProxyConfig {
  return {
    services: rows.map((row) => ({
      name: nameOf(row),
      addr: ends.door(row),
      admission: 'gate',
      handler: { type: `r${row.network}` },
      listener: {
        type: `r${row.network}`,
        ...(hasServer(row) && { chain: nameOf(row) }),
        // A proxy that stops waits for those who still may send.
        ...(row.network === 'udp' && { metadata: { ttl: '1s' } }),
      },
      forwarder: { nodes: [{ name: 'end', addr: row.network === 'udp' ? ends.echo : ends.farEnd }] },
    })),
    chains: rows.filter(hasServer).map((row) =>
      chainOf(nameOf(row), {
        addr: ends.server(row),
        connector: {
          ...links.client(row.protocol),
          ...(row.auth && { auth: user }),
          ...(row.both && { metadata: row.both }),
        },
        dialer: links.client(row.carrier),
      }),
    ),
    admissions: [{ name: 'gate', plugin: plugins.plugin('admission') }],
    // GOST says of SOCKS5 only here that it is bound.
    log: { level: 'debug' },
  };
}

interface Scene {
  readonly client: Proxy;
  readonly farEnd: FarEnd;
  readonly plugins: PluginServers;
  readonly door: (row: Row) => string;
  /** What the row's connections pass on their way between client and server. */
  readonly between: (row: Row) => Turnstile | undefined;
}

type Turnstile = Awaited<ReturnType<typeof startTurnstile>>;

function directionSuite(from: Name, to: Name): void {
  let scene: Scene | undefined;
  const closing: (() => unknown)[] = [];

  before(async () => {
    const links = createLinks();
    closing.push(() => links.remove());
    const farEnd = await startFarEnd();
    closing.push(() => farEnd.close());
    const echo = await startEcho();
    closing.push(() => echo.close());
    const plugins = await startPlugins('grpc', { admission: { admit: () => true } });
    closing.push(() => plugins.close());
    const server = await programs[to](serverConfig(links));
    closing.push(() => server.stop());
    const turnstiles = new Map<Row, Turnstile>();
    for (const row of rows.filter(hasServer)) {
      const turnstile = await startTurnstile(server.address(nameOf(row)));
      closing.push(() => turnstile.close());
      turnstiles.set(row, turnstile);
    }
    const host = ownAddress();
    const door = (row: Row) => `${host}:${String(21_000 + rows.indexOf(row))}`;
    const ends = {
      ...{ farEnd: farEnd.address, echo: echo.address, door },
      server: (row: Row) => turnstiles.get(row)!.address,
    };
    const client = await programs[from](clientConfig(ends, plugins, links));
    closing.push(() => client.stop());
    scene = { client, farEnd, plugins, door, between: (row) => turnstiles.get(row) };
  });
  after(async () => {
    await closeAll(closing);
  });

  for (const row of rows) {
    describe(titleOf(row), () => {
      // Without this, a client that listens by itself would pass.
      let passed = 0;
      afterEach(() => {
        const count = scene!.between(row)?.count() ?? Infinity;
        assert.ok(count > passed, 'it did not come through the server');
        passed = count === Infinity ? 0 : count;
      });
      if (row.network === 'udp') udpSuite(row, from, () => scene!);
      // A GOST half-closes no stream of a mux.
      else tcpSuite(row, from === to || !hasServer(row), () => scene!);
    });
  }
}

/** Waits until a client listens at the row's door. */
async function untilBound({ client, door }: Scene, row: Row): Promise<void> {
  // GOST says nothing of a port of its own.
  if (!hasServer(row)) return untilHeard(door(row), row.network);
  const port = door(row).split(':')[1]!;
  await client.line(
    new RegExp(`(bind on|bound at) (${door(row)}|127\\.0\\.0\\.1:${port})(/${row.network} OK|")`),
  );
}

/** What the client's gate was asked about this row since the last time: whoever knocked, each once. */
function visitorsOf({ plugins }: Scene, row: Row): string[] {
  const asked = plugins.take('admission.admit') as { client: string; service: string; network: string }[];
  for (const { service, network } of asked) {
    assert.equal(service, nameOf(row));
    assert.equal(network, row.network);
  }
  return [...new Set(asked.map(({ client }) => client))].sort();
}

function tcpSuite(row: Row, halfCloses: boolean, scene: () => Scene): void {
  const visit = () => enter(scene().door(row));

  before(async () => {
    await untilBound(scene(), row);
    scene().plugins.forget();
  });

  test('a server that speaks first, a text and a MiB each way, of several at once who are known by their addresses', async () => {
    // Whoever comes at the same time from the same host may be asked about once.
    const visitors = [await visit(), await visit(), await visit()];
    await Promise.all(visitors.map((visitor, index) => visitEcho(visitor, index === 0 ? undefined : 10_000)));
    const clients = visitors.map(({ client }) => client);
    assert.deepEqual(visitorsOf(scene(), row), clients.sort());
  });

  if (halfCloses) {
    test('a direction that ends leaves the other', async () => {
      await visitHalfClosed(await visit());
    });
  }

  test('what breaks on one side is over on the other, and others are not hurt', async () => {
    const other = await visit();
    await visitAndBreak(await visit(), scene().farEnd);
    await visitAndBeLeft(await visit());
    await visitEcho(other, 1000);
  });
}

function udpSuite(row: Row, from: Name, scene: () => Scene): void {
  before(async () => {
    await untilBound(scene(), row);
    scene().plugins.forget();
  });

  test('datagrams come back whole, and to whoever sent theirs', async () => {
    // GOST's client writes a datagram in pieces: answers to several at once go through each other.
    const clients = await exchangeDatagrams(scene().door(row), {
      atOnce: from !== 'gost' || !hasServer(row),
    });
    assert.deepEqual(visitorsOf(scene(), row), clients.sort());
  });
}

for (const [from, to] of [
  ['gost', 'sallyport'],
  ['sallyport', 'gost'],
  ['sallyport', 'sallyport'],
] as const) {
  describe(`${from} listens at ${to}`, { skip: missingGost }, () => {
    directionSuite(from, to);
  });
}
