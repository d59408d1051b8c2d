// Tunnels whose server, connector and visitor's client are each of either make: connections and datagrams over everything that carries
// them. A row of the table is one combination that must work with both servers, both connectors and both visitors' clients.
// Each server is one scene, with a program of either make on either side. It needs a built program (`npm run build`).
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import {
  enter,
  exchangeDatagrams,
  startFarEnd,
  visitAndBeLeft,
  visitAndBreak,
  visitEcho,
  visitHalfClosed,
} from './far-end.ts';
import type { FarEnd } from './far-end.ts';
import { missingGost, startGost } from './gost.ts';
import { carriers, chainOf, createLinks } from './links.ts';
import type { Carrier, Links } from './links.ts';
import { startPlugins } from './plugin-servers.ts';
import type { PluginServers } from './plugin-servers.ts';
import { closeAll, startSallyport } from './programs.ts';
import type { Proxy, ProxyConfig } from './programs.ts';
import { startEcho } from './traffic.ts';

const programs = { gost: startGost, sallyport: startSallyport };
type Name = keyof typeof programs;
const names = ['gost', 'sallyport'] as const;
const networks = ['tcp', 'udp'] as const;
type Network = (typeof networks)[number];

interface Row {
  /** GOST's name of the server's listener and of its clients' dialers. */
  readonly carrier: Carrier;
  /** The server asks for a user. */
  readonly auth?: true;
  /** Metadata of the handler and of its clients' connectors. */
  readonly both?: object;
}

const user = { username: 'gost', password: 'right:/@ü' };
const rows: readonly Row[] = [
  ...carriers.map((carrier) => ({ carrier })),
  { carrier: 'tls', auth: true },
  // In GOST's JSON a number is no version.
  { carrier: 'tcp', both: { 'mux.version': '1' } },
  { carrier: 'tcp', both: { 'mux.type': 'yamux' } },
  { carrier: 'mwss', both: { 'mux.type': 'yamux' } },
];

/** One tunnel of a scene: it has a connector of one make. */
interface Tunnel {
  readonly row: Row;
  readonly make: Name;
  readonly network: Network;
  readonly id: string;
  readonly host: string;
  readonly name: string;
}

const nameOf = (row: Row) => `row-${String(rows.indexOf(row))}`;
const titleOf = ({ carrier, auth, both }: Row) =>
  [`over ${carrier}`, ...(auth ? ['with a user'] : []), ...(both ? [JSON.stringify(both)] : [])].join(', ');

const makeTunnels = (): Tunnel[] =>
  rows.flatMap((row) =>
    names.flatMap((make) =>
      networks.map((network) => {
        const name = `${nameOf(row)}-${make}-${network}`;
        return { row, make, network, id: randomUUID(), host: `${name}.test`, name };
      }),
    ),
  );

/** The server: a service for each row, with rules for its tunnels. */
function serverConfig(tunnels: readonly Tunnel[], links: Links): ProxyConfig {
  return {
    services: rows.map((row) => {
      const rules = tunnels.filter((one) => one.row === row).map(({ host, id }) => `${host}:${id}`);
      return {
        name: nameOf(row),
        addr: '127.0.0.1:0',
        handler: {
          type: 'tunnel',
          ...(row.auth && { auth: user }),
          metadata: { tunnel: rules.join(','), ...row.both },
        },
        listener: links.server(row.carrier),
      };
    }),
  };
}

/** A client of the server for each tunnel: connectors of one make, or visitors of all. */
function clientConfig(
  server: Proxy,
  tunnels: readonly Tunnel[],
  links: Links,
  serviceOf: (tunnel: Tunnel) => object,
): ProxyConfig {
  return {
    services: tunnels.map((tunnel) => ({ name: tunnel.name, ...serviceOf(tunnel) })),
    chains: tunnels.map(({ name, id, row }) =>
      chainOf(name, {
        addr: server.address(nameOf(row)),
        connector: {
          type: 'tunnel',
          ...(row.auth && { auth: user }),
          metadata: { 'tunnel.id': id, ...row.both },
        },
        dialer: links.client(row.carrier),
      }),
    ),
  };
}

const forwarderTo = (addr: string) => ({ forwarder: { nodes: [{ name: 'end', addr }] } });

/** A service behind the tunnel, which asks who visits it. */
const connectorOf =
  (ends: Readonly<Record<Network, string>>) =>
  ({ name, network }: Tunnel) => ({
    addr: '127.0.0.1:0',
    admission: 'gate',
    handler: { type: `r${network}` },
    listener: { type: `r${network}`, chain: name },
    ...forwarderTo(ends[network]),
  });

/** A door to the tunnel: whoever comes there is a visitor. */
const visitorOf = ({ name, network, host }: Tunnel) => ({
  addr: '127.0.0.1:0',
  handler: { type: network, chain: name },
  // Without keepalive GOST ends a session with each reply. A proxy that stops waits for its sessions.
  listener: network === 'udp' ? { type: 'udp', metadata: { keepalive: true, ttl: '1s' } } : { type: 'tcp' },
  ...forwarderTo(`${host}:80`),
});

interface Scene {
  readonly tunnels: readonly Tunnel[];
  readonly farEnd: FarEnd;
  readonly plugins: PluginServers;
  readonly connectors: Readonly<Record<Name, Proxy>>;
  readonly visitors: Readonly<Record<Name, Proxy>>;
}

function serverSuite(make: Name): void {
  let scene: Scene | undefined;
  const closing: (() => unknown)[] = [];

  before(async () => {
    const links = createLinks();
    closing.push(() => links.remove());
    const farEnd = await startFarEnd();
    closing.push(() => farEnd.close());
    const echo = await startEcho();
    closing.push(() => echo.close());
    const plugins = await startPlugins('http', { admission: { admit: () => true } });
    closing.push(() => plugins.close());
    const tunnels = makeTunnels();
    const server = await programs[make](serverConfig(tunnels, links));
    closing.push(() => server.stop());
    // A GOST with services of UDP takes its time to stop; they all do it at once.
    const clients: Proxy[] = [];
    closing.push(() => Promise.all(clients.map((client) => client.stop())));
    const start = async (name: Name, config: ProxyConfig) => {
      const client = await programs[name](config);
      clients.push(client);
      return client;
    };
    const ends = { tcp: farEnd.address, udp: echo.address };
    const admissions = [{ name: 'gate', plugin: plugins.plugin('admission') }];
    const connectors = async (name: Name) => {
      const own = tunnels.filter((tunnel) => tunnel.make === name);
      return start(name, { ...clientConfig(server, own, links, connectorOf(ends)), admissions });
    };
    const visitors = (name: Name) => start(name, clientConfig(server, tunnels, links, visitorOf));
    scene = {
      ...{ tunnels, farEnd, plugins },
      connectors: { gost: await connectors('gost'), sallyport: await connectors('sallyport') },
      visitors: { gost: await visitors('gost'), sallyport: await visitors('sallyport') },
    };
  });
  after(async () => {
    await closeAll(closing);
  });

  for (const row of rows) {
    describe(titleOf(row), () => {
      for (const network of networks) {
        for (const from of names) {
          for (const to of names) {
            const who = { from, to, network, row };
            // It is GOST's own business what three of its make do with each other.
            if (make === 'gost' && from === 'gost' && to === 'gost') continue;
            if (network === 'udp') udpTests(who, () => scene!);
            else tcpTests(make, who, () => scene!);
          }
        }
      }
    });
  }
}

/** Whose visitors these are, and whose connector they come to. */
interface Who {
  readonly from: Name;
  readonly to: Name;
  readonly network: Network;
  readonly row: Row;
}

/** Waits until the tunnel has its connector; resolves with where visitors of the other side come in. */
async function doorOf(
  scene: Scene,
  { from, to, network, row }: Who,
): Promise<{ at: string; tunnel: Tunnel }> {
  const tunnel = scene.tunnels.find((one) => one.row === row && one.make === to && one.network === network)!;
  await scene.connectors[to].line(new RegExp(`tunnel[ =]${tunnel.id}`));
  scene.plugins.forget();
  return { at: scene.visitors[from].address(tunnel.name), tunnel };
}

/** That the connector's gate was asked about exactly these. */
function assertSeen({ plugins }: Scene, { name, network, make }: Tunnel, clients: readonly string[]): void {
  const asked = plugins.take('admission.admit') as { client: string; service: string; network: string }[];
  for (const ask of asked) {
    assert.equal(ask.service, name);
    // GOST says of datagrams that come in a tunnel what carries the tunnel.
    if (make === 'sallyport') assert.equal(ask.network, network);
  }
  assert.deepEqual([...new Set(asked.map(({ client }) => client))].sort(), [...clients].sort());
}

function tcpTests(server: Name, who: Who, scene: () => Scene): void {
  // A GOST half-closes no stream of a mux.
  const halfCloses = [server, who.from, who.to].every((one) => one === 'sallyport');
  // It makes an end of a reset, and our server holds an end back from a GOST while an answer may be under way.
  const breaks = server === 'gost' || who.from === 'sallyport' || who.to === 'sallyport';
  test(`a visitor of ${who.from}'s at a connector of ${who.to}'s`, async () => {
    const { at, tunnel } = await doorOf(scene(), who);
    // Whoever comes at the same time from the same host may be asked about once.
    const visitors = [await enter(at), await enter(at), await enter(at)];
    await Promise.all(visitors.map((one, index) => visitEcho(one, index === 0 ? undefined : 10_000)));
    assertSeen(
      scene(),
      tunnel,
      visitors.map(({ client }) => client),
    );
    if (halfCloses) await visitHalfClosed(await enter(at));
    const other = await enter(at);
    if (breaks) await visitAndBreak(await enter(at), scene().farEnd);
    await visitAndBeLeft(await enter(at));
    await visitEcho(other, 1000);
  });
}

function udpTests(who: Who, scene: () => Scene): void {
  test(`datagrams of a visitor of ${who.from}'s at a connector of ${who.to}'s`, async () => {
    const { at, tunnel } = await doorOf(scene(), who);
    const clients = await exchangeDatagrams(at, { atOnce: true });
    assertSeen(scene(), tunnel, clients);
  });
}

for (const make of names)
  describe(`tunnels of a server of ${make}'s`, { skip: missingGost }, () => {
    serverSuite(make);
  });
