// Our client chain through GOST's server, and GOST's through ours: a user asks the first proxy, whose chain has the second as its
// only node. A row of the table is one combination that must work.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, describe, test } from 'node:test';
import { createLinkFiles } from '../common/links.ts';
import type { LinkFiles } from '../common/links.ts';
import { missingGost, startGost } from './gost.ts';
import { startSallyport } from './programs.ts';
import type { Proxy, ProxyConfig } from './programs.ts';
import {
  exchange,
  request,
  sendDatagrams,
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
  readonly from: Name;
  readonly to: Name;
  /** What goes through: `tcp` by CONNECT and as plain requests of a user's, or `udp` datagrams. Default `tcp`. */
  readonly network?: 'udp';
  /** The second proxy asks for a user; wrong credentials must end in a refusal. */
  readonly auth?: true;
  /** Metadata of the handler and of the connector, such as `notls`. */
  readonly handler?: object;
  readonly connector?: object;
  /** The protocol carries addresses only. Default: names too, and the second proxy resolves them. */
  readonly addressesOnly?: true;
}

const rows: readonly Row[] = [
  { protocol: 'http', transport: 'tcp', from: 'gost', to: 'sallyport' },
  { protocol: 'http', transport: 'tcp', from: 'gost', to: 'sallyport', auth: true },
];

const user = { username: 'gost', password: 'right:/@ü' };

/** The second proxy: one service, with a certificate wherever the protocol or the transport may want one. */
function serverConfig(row: Row, files: LinkFiles): ProxyConfig {
  const tls = { certFile: files.at('server.pem'), keyFile: files.at('server.key') };
  const withTls = (type: string) => (/^(tls|wss|socks5)$/.test(type) ? { type, tls } : { type });
  return {
    services: [
      {
        name: 'second',
        addr: '127.0.0.1:0',
        handler: { ...withTls(row.protocol), ...(row.auth && { auth: user }), metadata: row.handler ?? {} },
        listener: withTls(row.transport),
      },
    ],
  };
}

/** The first proxy. `forward` is where datagrams go; users of TCP say themselves where they go. */
function clientConfig(row: Row, second: string, forward: string, files: LinkFiles): ProxyConfig {
  const tls = { secure: true, serverName: 'localhost', caFile: files.at('ca.pem') };
  const withTls = (type: string) => (/^(tls|wss|socks5)$/.test(type) ? { type, tls } : { type });
  const chain = (name: string, auth: object | undefined) => ({
    name,
    hops: [
      {
        name: `hop-of-${name}`,
        nodes: [
          {
            name: 'second',
            addr: second,
            connector: { ...withTls(row.protocol), ...(auth && { auth }), metadata: row.connector ?? {} },
            dialer: withTls(row.transport),
          },
        ],
      },
    ],
  });
  const udp = row.network === 'udp';
  const service = (name: string, chain: string) => ({
    name,
    addr: '127.0.0.1:0',
    handler: { type: udp ? 'udp' : 'http', chain },
    // Without keepalive GOST ends a session with each reply, and what comes meanwhile is lost.
    listener: udp ? { type: 'udp', metadata: { keepalive: true } } : { type: 'tcp' },
    ...(udp && { forwarder: { nodes: [{ name: 'echo', addr: forward }] } }),
  });
  const wrong = row.auth && !udp;
  return {
    services: [service('right', 'right'), ...(wrong ? [service('wrong', 'wrong')] : [])],
    chains: [
      chain('right', row.auth && user),
      ...(wrong ? [chain('wrong', { ...user, password: 'wrong' })] : []),
    ],
  };
}

function rowSuite(row: Row): void {
  let first: Proxy;
  let origin: Awaited<ReturnType<typeof startOrigin>>;
  let greeter: Awaited<ReturnType<typeof startGreeter>>;
  let between: Awaited<ReturnType<typeof startTurnstile>>;
  const closing: (() => unknown)[] = [];

  before(async () => {
    const files = createLinkFiles();
    closing.push(() => files.remove());
    origin = await startOrigin();
    closing.push(() => origin.close());
    greeter = await startGreeter();
    closing.push(() => greeter.close());
    const echo = await startEcho();
    closing.push(() => echo.close());
    const second = await programs[row.to](serverConfig(row, files));
    closing.push(() => second.stop());
    between = await startTurnstile(second.address('second'));
    closing.push(() => between.close());
    first = await programs[row.from](clientConfig(row, between.address, echo.address, files));
    closing.push(() => first.stop());
  });
  after(async () => {
    for (const close of closing.reverse()) await close();
  });

  // Without this, a first proxy that ignores its chain would pass.
  let passed = 0;
  afterEach(() => {
    assert.ok(between.count() > passed, 'it did not go through the second proxy');
    passed = between.count();
  });

  if (row.network === 'udp') {
    test('datagrams come back whole, and to whoever sent theirs', async () => {
      const sizes = [1, 100, 1200];
      await Promise.all(
        Array.from({ length: 3 }, async () => {
          const sent = sizes.map((size) => randomBytes(size));
          const { replies } = await sendDatagrams(first.address('right'), sent);
          assert.deepEqual(replies, sent);
        }),
      );
    });
    return;
  }

  const host = row.addressesOnly ? '127.0.0.1' : 'localhost';

  test('a request and its answer', async () => {
    const { status, body } = await request(
      first.address('right'),
      `http://${host}:${String(origin.port)}/page`,
    );
    assert.equal(status, 200);
    assert.equal((JSON.parse(body) as { url: string }).url, '/page');
  });

  test('a large body each way through a tunnel', async () => {
    const { socket } = await tunnel(first.address('right'), `${host}:${String(origin.port)}`);
    const body = randomBytes(1_000_000).toString('hex');
    const answer = await exchange(socket, 'POST', '/page', { body });
    assert.ok(
      (JSON.parse(answer.body) as { body: string }).body === body,
      'the body came back as it was sent',
    );
  });

  // GOST's client drops what comes in one piece with the proxy's reply.
  if (row.from === 'sallyport') {
    test('an origin that speaks first is heard, and its end too', async () => {
      const { socket } = await tunnel(first.address('right'), `${host}:${String(greeter.port)}`);
      assert.equal(await greeter.talk(socket), 'hello from the origin\ngoodbye\n');
    });
  }

  test('an origin that refuses is an error', async () => {
    // Nobody listens on port 1.
    await assert.rejects(tunnel(first.address('right'), `${host}:1`), /^Error: 50\d/);
  });

  if (row.auth) {
    test('wrong credentials are refused', async () => {
      const target = `${host}:${String(origin.port)}`;
      await assert.rejects(tunnel(first.address('wrong'), target), /^Error: 50\d/);
    });
  }
}

for (const row of rows) {
  const { protocol, transport, from, to, network = 'tcp', auth, handler, connector } = row;
  const more = { ...handler, ...connector };
  const words = [`${network} by ${protocol} over ${transport}`, ...(auth ? ['with a user'] : [])];
  if (Object.keys(more).length > 0) words.push(JSON.stringify(more));
  const skip = from === 'gost' || to === 'gost' ? missingGost : false;
  describe(`${from} through ${to}: ${words.join(', ')}`, { skip }, () => rowSuite(row));
}
