// Our client chain through GOST's server, and GOST's through ours: a user asks the first proxy, whose chain has the second as its
// only node. A row of the table is one combination that must work in both directions. Each direction is one pair of programs
// with a service and a chain for each row.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, describe, test } from 'node:test';
import { createLinkFiles } from '../common/links.ts';
import type { LinkFiles } from '../common/links.ts';
import { missingGost, startGost } from './gost.ts';
import { closeAll, startSallyport } from './programs.ts';
import type { Proxy, ProxyConfig } from './programs.ts';
import {
  dial,
  exchange,
  request,
  sendDatagrams,
  sendSocks5Datagrams,
  startEcho,
  startGreeter,
  startOrigin,
  startTurnstile,
  tunnel,
} from './traffic.ts';

const programs = { gost: startGost, sallyport: startSallyport };
type Name = keyof typeof programs;

interface Row {
  /** GOST's name of the second proxy's handler and of the first one's connector. */
  readonly protocol: string;
  /** GOST's name of the second proxy's listener and of the first one's dialer. */
  readonly transport: string;
  /** What goes through: `tcp` by CONNECT and as plain requests of a user's, or `udp` datagrams. Default `tcp`. */
  readonly network?: 'tcp' | 'udp';
  /** The first proxy asks its user for nothing: all goes to one address. Default: by HTTP, or SOCKS5 where it is datagrams. */
  readonly forwarder?: true;
  /** The second proxy asks for a user; wrong credentials must end in a refusal. */
  readonly auth?: true;
  /** Metadata of the handler and of the connector, such as `notls`. */
  readonly handler?: object;
  readonly connector?: object;
  /** Metadata of the listener and of the dialer. */
  readonly carriage?: object;
  /** The protocol carries addresses only. Default: names too, and the second proxy resolves them. */
  readonly addressesOnly?: true;
  /** The first proxy hears of a no only after it has told its user yes. */
  readonly late?: true;
  /** The second proxy goes where its own forwarder says, whatever it is asked for. */
  readonly endsThere?: true;
}

const transports = ['tcp', 'tls', 'ws', 'wss'];
const over = (more: Omit<Row, 'transport'>): Row[] => transports.map((transport) => ({ transport, ...more }));

const rows: readonly Row[] = [
  ...over({ protocol: 'http' }),
  ...over({ protocol: 'http', auth: true }),
  // Without `notls` both ends agree on TLS inside of SOCKS5.
  ...over({ protocol: 'socks5' }),
  ...over({ protocol: 'socks5', auth: true }),
  { protocol: 'socks5', transport: 'tcp', handler: { notls: true }, connector: { notls: true } },
  { protocol: 'socks5', transport: 'tcp', handler: { notls: true } },
  { protocol: 'socks5', transport: 'tcp', connector: { notls: true } },
  { protocol: 'socks5', transport: 'tcp', auth: true, handler: { notls: true } },
  { protocol: 'socks5', transport: 'tcp', auth: true, connector: { notls: true } },
  ...over({ protocol: 'socks4', addressesOnly: true, connector: { disable4a: true } }),
  ...over({ protocol: 'socks4a' }),
  ...over({ protocol: 'socks5', network: 'udp', handler: { udp: true } }),
  {
    protocol: 'socks5',
    transport: 'tcp',
    network: 'udp',
    handler: { udp: true },
    connector: { relay: 'udp' },
  },
  { protocol: 'socks5', transport: 'tcp', network: 'udp', handler: { udp: true }, auth: true },
  {
    ...{ protocol: 'socks5', transport: 'tcp', network: 'udp', auth: true },
    handler: { udp: true },
    connector: { relay: 'udp' },
  },
  {
    ...{ protocol: 'socks5', transport: 'tcp', network: 'udp', auth: true },
    handler: { udp: true, notls: true },
  },
  // Many connections in one. Where its file is JSON, GOST takes a number for no version.
  ...['mtcp', 'mtls', 'mws', 'mwss'].map((transport) => ({ protocol: 'http', transport })),
  { protocol: 'http', transport: 'mtcp', carriage: { 'mux.version': '1' } },
  { protocol: 'http', transport: 'mwss', carriage: { 'mux.version': '2' } },
  { protocol: 'http', transport: 'mtcp', carriage: { 'mux.type': 'yamux' } },
  {
    protocol: 'http',
    transport: 'mtls',
    carriage: { 'mux.type': 'yamux', 'mux.maxStreamWindow': '1048576' },
  },
  // TLS within would make GOST close the connection of all with the first that ends.
  { protocol: 'socks5', transport: 'mtls', auth: true, handler: { notls: true } },
  { protocol: 'http', transport: 'tcp', network: 'udp', handler: { udp: true } },
  ...over({ protocol: 'relay', late: true }),
  ...over({ protocol: 'relay', late: true, auth: true }),
  ...over({ protocol: 'relay', handler: { nodelay: true }, connector: { nodelay: true } }),
  ...over({ protocol: 'relay', handler: { nodelay: true }, connector: { nodelay: true }, auth: true }),
  { protocol: 'relay', transport: 'tcp', late: true, handler: { nodelay: true } },
  ...over({ protocol: 'relay', network: 'udp', handler: { bind: true } }),
  { protocol: 'relay', transport: 'tcp', network: 'udp', handler: { bind: true }, auth: true },
  { protocol: 'relay', transport: 'tcp', forwarder: true },
  { protocol: 'relay', transport: 'tls', forwarder: true, endsThere: true },
  ...over({ protocol: 'relay', forwarder: true, network: 'udp' }),
  {
    ...{ protocol: 'relay', transport: 'tcp', forwarder: true, network: 'udp' },
    handler: { nodelay: true },
    connector: { nodelay: true },
  },
  { protocol: 'relay', transport: 'tcp', forwarder: true, network: 'udp', endsThere: true },
  { protocol: 'http', transport: 'tcp', forwarder: true },
  { protocol: 'socks5', transport: 'wss', forwarder: true },
  { protocol: 'socks5', transport: 'tcp', forwarder: true, network: 'udp', handler: { udp: true } },
  { protocol: 'http', transport: 'tcp', forwarder: true, network: 'udp', handler: { udp: true } },
];

const user = { username: 'gost', password: 'right:/@ü' };

/** A row's service and its chain; an ordinary name in either proxy. */
const nameOf = (row: Row) => `row-${String(rows.indexOf(row))}`;

/** What one of its ends is given, with `tls` wherever the protocol or the transport may want it. */
const withTls = (type: string, tls: object) =>
  /^(tls|wss|mtls|mwss|socks5)$/.test(type) ? { type, tls } : { type };

/** The one node of a forwarder. */
const forwarderTo = ({ network }: Row, { echo, origin }: Ends) => ({
  forwarder: { nodes: [{ name: 'end', addr: network === 'udp' ? echo : origin }] },
});

/** The second proxy: a service for each row. */
function serverConfig(ends: Ends, files: LinkFiles): ProxyConfig {
  const tls = { certFile: files.at('server.pem'), keyFile: files.at('server.key') };
  return {
    services: rows.map((row) => ({
      name: nameOf(row),
      addr: '127.0.0.1:0',
      handler: {
        ...withTls(row.protocol, tls),
        ...(row.auth && { auth: user }),
        metadata: row.handler ?? {},
      },
      listener: { ...withTls(row.transport, tls), metadata: row.carriage ?? {} },
      ...(row.endsThere && forwarderTo(row, ends)),
    })),
  };
}

/** Where users of the first proxy's forwarders are led, `host:port`. */
interface Ends {
  readonly echo: string;
  readonly origin: string;
}

/** The first proxy: a service for each row, and one with wrong credentials where there are right ones. */
function clientConfig(second: (row: Row) => string, ends: Ends, files: LinkFiles): ProxyConfig {
  const tls = { secure: true, serverName: 'localhost', caFile: files.at('ca.pem') };
  const chain = (row: Row, name: string, auth: object | undefined) => ({
    name,
    hops: [
      {
        name: `hop-of-${name}`,
        nodes: [
          {
            name: 'second',
            addr: second(row),
            connector: {
              ...withTls(row.protocol, tls),
              ...(auth && { auth }),
              metadata: row.connector ?? {},
            },
            dialer: { ...withTls(row.transport, tls), metadata: row.carriage ?? {} },
          },
        ],
      },
    ],
  });
  const service = (row: Row, name: string) => {
    const { network = 'tcp', forwarder } = row;
    const udp = network === 'udp';
    const asked = udp ? { type: 'socks5', metadata: { udp: true } } : { type: 'http' };
    return {
      name,
      addr: '127.0.0.1:0',
      handler: { ...(forwarder ? { type: network } : asked), chain: name },
      // Without keepalive GOST ends a session with each reply, and what comes meanwhile is lost. A proxy that stops waits for
      // its sessions.
      listener:
        udp && forwarder ? { type: 'udp', metadata: { keepalive: true, ttl: '1s' } } : { type: 'tcp' },
      // Nobody is where those are led who end somewhere else.
      ...(forwarder &&
        forwarderTo(row, row.endsThere ? { echo: '127.0.0.1:1', origin: '127.0.0.1:1' } : ends)),
    };
  };
  const wrong = rows.filter((row) => row.auth);
  return {
    services: [
      ...rows.map((row) => service(row, nameOf(row))),
      ...wrong.map((row) => service(row, `wrong-${nameOf(row)}`)),
    ],
    chains: [
      ...rows.map((row) => chain(row, nameOf(row), row.auth && user)),
      ...wrong.map((row) => chain(row, `wrong-${nameOf(row)}`, { ...user, password: 'wrong' })),
    ],
  };
}

/** What stands around the two proxies of one direction. */
interface Scene {
  readonly first: Proxy;
  readonly originPort: number;
  readonly echo: string;
  readonly greeter: Awaited<ReturnType<typeof startGreeter>>;
  /** What a row's connections pass on their way from the first proxy to the second. */
  between(row: Row): Awaited<ReturnType<typeof startTurnstile>>;
}

function directionSuite(from: Name, to: Name): void {
  let scene: Scene | undefined;
  const closing: (() => unknown)[] = [];

  before(async () => {
    const files = createLinkFiles();
    closing.push(() => files.remove());
    const origin = await startOrigin();
    closing.push(() => origin.close());
    const greeter = await startGreeter();
    closing.push(() => greeter.close());
    const echo = await startEcho();
    closing.push(() => echo.close());
    const ends = { echo: echo.address, origin: `127.0.0.1:${String(origin.port)}` };
    const second = await programs[to](serverConfig(ends, files));
    closing.push(() => second.stop());
    const between = new Map<Row, Awaited<ReturnType<typeof startTurnstile>>>();
    for (const row of rows) {
      const turnstile = await startTurnstile(second.address(nameOf(row)));
      closing.push(() => turnstile.close());
      between.set(row, turnstile);
    }
    const first = await programs[from](clientConfig((row) => between.get(row)!.address, ends, files));
    closing.push(() => first.stop());
    scene = {
      ...{ first, greeter, echo: echo.address, originPort: origin.port },
      between: (row) => between.get(row)!,
    };
  });
  after(async () => {
    await closeAll(closing);
  });

  for (const row of rows) {
    const {
      protocol,
      transport,
      network = 'tcp',
      forwarder,
      endsThere,
      auth,
      handler,
      connector,
      carriage,
    } = row;
    const words = [`${network} by ${protocol} over ${transport}`];
    if (auth) words.push('with a user');
    if (forwarder) words.push('from a forwarder');
    if (endsThere) words.push('to a forwarder');
    if (handler) words.push(`handler ${JSON.stringify(handler)}`);
    if (connector) words.push(`connector ${JSON.stringify(connector)}`);
    if (carriage) words.push(JSON.stringify(carriage));
    describe(words.join(', '), () => rowSuite(row, from, () => scene!));
  }
}

function rowSuite(row: Row, from: Name, scene: () => Scene): void {
  const name = nameOf(row);
  const entrance = () => scene().first.address(name);

  // Without this, a first proxy that ignores its chain would pass.
  let passed = 0;
  afterEach(() => {
    const count = scene().between(row).count();
    assert.ok(count > passed, 'it did not go through the second proxy');
    passed = count;
  });

  if (row.network === 'udp') {
    test('datagrams come back whole, and to whoever sent theirs', async () => {
      const sizes = [1, 100, 1200];
      await Promise.all(
        Array.from({ length: 3 }, async () => {
          const sent = sizes.map((size) => randomBytes(size));
          const { replies } = row.forwarder
            ? await sendDatagrams(entrance(), sent)
            : await sendSocks5Datagrams(entrance(), scene().echo, sent);
          assert.deepEqual(replies, sent);
        }),
      );
    });
    if (row.auth) {
      test('wrong credentials are refused', async () => {
        const proxy = scene().first.address(`wrong-${name}`);
        await assert.rejects(sendSocks5Datagrams(proxy, scene().echo, [randomBytes(10)]));
      });
    }
    return;
  }

  const host = row.addressesOnly ? '127.0.0.1' : 'localhost';
  const target = () => `${host}:${String(scene().originPort)}`;

  test('a request and its answer', async () => {
    const url = row.forwarder ? '/page' : `http://${target()}/page`;
    const { status, body } = await request(entrance(), url);
    assert.equal(status, 200);
    assert.equal((JSON.parse(body) as { url: string }).url, '/page');
  });

  test('a large body each way', async () => {
    const socket = row.forwarder ? await dial(entrance()) : (await tunnel(entrance(), target())).socket;
    const body = randomBytes(1_000_000).toString('hex');
    const answer = await exchange(socket, 'POST', '/page', { body });
    assert.ok(
      (JSON.parse(answer.body) as { body: string }).body === body,
      'the body came back as it was sent',
    );
  });
  if (row.forwarder) return;

  // GOST's client drops what comes in one piece with the proxy's reply.
  if (from === 'sallyport') {
    test('an origin that speaks first is heard, and its end too', async () => {
      const { greeter } = scene();
      const { socket } = await tunnel(entrance(), `${host}:${String(greeter.port)}`);
      assert.equal(await greeter.talk(socket), 'hello from the origin\ngoodbye\n');
    });
  }

  const isRefused = async (attempt: ReturnType<typeof tunnel>) => {
    if (!row.late) return assert.rejects(attempt, /^Error: 50\d/);
    const { socket } = await attempt;
    return assert.rejects(exchange(socket, 'GET', '/page'));
  };

  test('an origin that refuses is an error', async () => {
    // Nobody listens on port 1.
    await isRefused(tunnel(entrance(), `${host}:1`));
  });

  if (row.auth) {
    test('wrong credentials are refused', async () => {
      await isRefused(tunnel(scene().first.address(`wrong-${name}`), target()));
    });
  }
}

for (const [from, to] of [
  ['gost', 'sallyport'],
  ['sallyport', 'gost'],
] as const) {
  describe(`${from} through ${to}`, { skip: missingGost }, () => directionSuite(from, to));
}
