// Every spelling of a target by which somebody may try to get past a rule, against every protocol, through the real binary:
// the origin is never reached, and whoever is asked is asked about the one spelling that would be dialled.
import { once } from 'node:events';
import net from 'node:net';
import dnsPacket from 'dns-packet';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSallyport } from '../../../../interop/gost/programs.ts';
import type { Proxy } from '../../../../interop/gost/programs.ts';
import { bindUdp, zone } from '../../src/policies/resolver/dns-server.fixture.ts';
import { startPlugins } from './plugins.ts';
import type { Plugins } from './plugins.ts';
import { handlerOf, visit } from './visits.ts';
import type { Way, Wish } from './visits.ts';

/** One spelling of a host that a rule says no to. */
interface Evasion {
  readonly host: string;
  /** The host as it is asked about; undefined: it is no host at all, and nobody is asked. */
  readonly canonical?: string;
  readonly asName?: boolean;
  /** Default: all that have words for it. */
  readonly ways?: readonly Way[];
}

const all: readonly Way[] = ['CONNECT', 'GET', 'socks5', 'socks4'];
const heads: readonly Way[] = ['CONNECT', 'GET'];
const names: readonly Way[] = ['socks5', 'socks4'];

const evasions: readonly Evasion[] = [
  { host: '127.0.0.2', canonical: '127.0.0.2' },
  { host: '127.0.0.2', canonical: '127.0.0.2', asName: true, ways: names },
  ...['[::ffff:127.0.0.2]', '[::ffff:7f00:2]', '[::FFFF:7F00:2]', '[0:0:0:0:0:ffff:127.0.0.2]'].flatMap(
    (host): Evasion[] => [
      { host, canonical: '127.0.0.2', ways: [...heads, 'socks5'] },
      { host, canonical: '127.0.0.2', asName: true, ways: names },
    ],
  ),
  { host: '[::1]', canonical: '[::1]', ways: [...heads, 'socks5'] },
  { host: '[0:0:0:0:0:0:0:1]', canonical: '[::1]', ways: [...heads, 'socks5'] },
  { host: '0.0.0.0', canonical: '127.0.0.1' },
  { host: '[::]', canonical: '[::1]', ways: [...heads, 'socks5'] },
  { host: '[::ffff:0.0.0.0]', canonical: '127.0.0.1', ways: [...heads, 'socks5'] },
  ...['127.2', '127.0.2', '0x7f000002', '0x7f.0.0.2', '0X7F.0.0.2', '2130706434', '017700000002'].map(
    (host): Evasion => ({ host }),
  ),
  ...['0177.0.0.2', '127.0.0.002', '127.0.0.2.0', '127.0.0.02', '127.0.0.2..', '.127.0.0.2'].map(
    (host): Evasion => ({ host }),
  ),
  // Written as bytes of UTF-8, as some clients do.
  ...['127。0.0.2', '１２７.0.0.2', '127.0.0.２', '①②⑦.0.0.2'].map((host): Evasion => ({ host })),
  { host: '127.0.0.2.', canonical: '127.0.0.2' },
  { host: '' },
  { host: ' 127.0.0.2' },
  { host: '127.0.0.2\0.allowed.test', ways: ['CONNECT', 'GET', 'socks5'] },
  { host: '[::ffff:127.0.0.2%lo]', ways: heads },
  { host: '%31%32%37.0.0.2', ways: heads },
  { host: 'allowed.test@127.0.0.2', ways: heads },
  { host: '127.0.0.2#.allowed.test', ways: ['CONNECT'] },
  { host: '127.0.0.2/.allowed.test', ways: ['CONNECT', 'socks5', 'socks4'] },
  // A rule about the name.
  { host: 'inner.test', canonical: 'inner.test' },
  { host: 'INNER.Test', canonical: 'inner.test' },
  { host: 'inner.test.', canonical: 'inner.test' },
  { host: 'deep.inner.test', canonical: 'deep.inner.test' },
  { host: 'ⅰnner.test', canonical: 'inner.test', ways: names },
  { host: 'in\u00adner.test', canonical: 'inner.test', ways: names },
  // A rule about what the name stands for.
  { host: 'mapped.test', canonical: 'mapped.test' },
  { host: 'resolved.test', canonical: 'resolved.test' },
  { host: 'localhost', canonical: 'localhost' },
  { host: 'LOCALHOST.', canonical: 'localhost' },
];

/** What is no answer of the origin. */
const refused = /^(HTTP [45]\d\d|SOCKS5 [1-8]|SOCKS4 9[1-3]|closed)$/;

let proxy: Proxy;
let plugins: Plugins;
let port = 0;
/** At which of its addresses the origin was reached. */
const reached: string[] = [];
const closing: (() => unknown)[] = [];

beforeAll(async () => {
  const origin = net.createServer((socket) => {
    reached.push(socket.localAddress!.replace('::ffff:', ''));
    socket.on('error', () => socket.destroy());
    socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nin'));
  });
  origin.listen(0, '::');
  await once(origin, 'listening');
  closing.push(() => origin.close());
  ({ port } = origin.address() as net.AddressInfo);
  const respond = zone({ 'resolved.test': ['127.0.0.2'] });
  const dns = await bindUdp((bytes, from) => {
    dns.send(respond(dnsPacket.decode(bytes), bytes)!, from.port, from.address);
  });
  closing.push(() => dns.close());
  // As the rules in the file.
  const isInner = (target: string) =>
    /^(127\.|\[::1\]|(.*\.)?inner\.test|mapped|resolved|localhost)/.test(target);
  plugins = await startPlugins('grpc', { bypass: { bypass: ({ target }) => isInner(target) } });
  closing.push(() => plugins.close());
  const services = (name: string, more: object) =>
    ['http', 'socks5', 'socks4'].map((type) => ({
      name: `${name}-${type}`,
      addr: '127.0.0.1:0',
      handler: { type },
      hosts: 'mapped',
      ...more,
    }));
  proxy = await startSallyport({
    services: [
      ...services('rules', { bypass: 'inner', resolver: 'resolver' }),
      // Without a resolver of its own the system says what a name stands for.
      ...services('system', { bypass: 'inner' }),
      ...services('plugin', { bypass: 'plugin', resolver: 'resolver' }),
      ...services('open', { resolver: 'resolver' }),
      ...services('one', { bypass: 'second' }),
    ],
    bypasses: [
      { name: 'inner', matchers: ['127.0.0.0/8', '::1', '.inner.test'] },
      { name: 'second', matchers: ['127.0.0.2'] },
      { name: 'plugin', plugin: plugins.block('bypass') },
    ],
    hosts: [
      {
        name: 'mapped',
        mappings: [
          { ip: '127.0.0.2', hostname: 'mapped.test' },
          { ip: '127.0.0.2', hostname: 'inner.test' },
          { ip: '127.0.0.2', hostname: 'deep.inner.test' },
          { ip: '::ffff:127.0.0.2', hostname: 'mapped6.test' },
        ],
      },
    ],
    resolvers: [{ name: 'resolver', nameservers: [{ addr: `127.0.0.1:${String(dns.address().port)}` }] }],
  });
  closing.push(() => proxy.stop());
});
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

/** What became of it, and where the origin was reached meanwhile. */
async function go(way: Way, service: string, wish: Wish): Promise<{ outcome: string; at: string[] }> {
  const before = reached.length;
  const { outcome } = await visit(way, proxy.address(`${service}-${handlerOf[way]}`), wish);
  return { outcome, at: reached.slice(before) };
}

describe.each(all)('%s', (way) => {
  const own = evasions.filter(({ ways = all }) => ways.includes(way));
  const table = own.map((one) => [JSON.stringify(one.host) + (one.asName ? ' as a name' : ''), one] as const);

  test.each(table)('%s reaches nothing that a rule says no to', async (_title, { host, asName = false }) => {
    for (const service of ['rules', 'system']) {
      const { outcome, at } = await go(way, service, { target: `${host}:${String(port)}`, asName });
      expect(at, service).toEqual([]);
      expect(outcome, service).toMatch(refused);
    }
  });

  test.each(table)('%s is what a plugin is asked about, in its one spelling', async (_title, evasion) => {
    const { host, canonical, asName = false } = evasion;
    const { outcome, at } = await go(way, 'plugin', { target: `${host}:${String(port)}`, asName });
    expect(at).toEqual([]);
    expect(outcome).toMatch(refused);
    const targets = plugins.take('bypass').map(([, ask]) => (ask as { target: string }).target);
    expect(targets).toEqual(canonical === undefined ? [] : [`${canonical}:${String(port)}`]);
  });

  test('without a rule the same targets are reached, so that it is the rule that refuses', async () => {
    const six = way === 'socks4' ? [] : ['[::ffff:127.0.0.2]'];
    for (const host of [...six, '127.0.0.2', 'mapped.test', 'mapped6.test', 'resolved.test', 'INNER.test.']) {
      expect(await go(way, 'open', { target: `${host}:${String(port)}` }), host).toEqual({
        outcome: 'ok',
        at: ['127.0.0.2'],
      });
    }
  });

  test('an address inside IPv6 that hosts give is dialled, and refused, as what it is', async () => {
    const { outcome, at } = await go(way, 'rules', { target: `mapped6.test:${String(port)}` });
    expect(at).toEqual([]);
    expect(outcome).toMatch(refused);
  });
});

describe.each(heads)('%s: headers that name another target change nothing', (way) => {
  const inner = () => `127.0.0.2:${String(port)}`;
  test.each([
    ['Gost-Target', () => inner()],
    ['X-Gost-Target', () => inner()],
    ['Gost-Target', () => Buffer.from(inner()).toString('base64')],
    ['Gost-Target', () => `AAAA${Buffer.from(inner()).toString('base64url')}`],
    ['Host', () => inner()],
    ['X-Forwarded-Host', () => inner()],
    ['X-Original-Host', () => inner()],
  ] as const)('%s', async (name, value) => {
    const wish = { target: `127.0.0.3:${String(port)}`, headers: [`${name}: ${value()}`] };
    // Two Hosts are no request at all.
    const { outcome, at } = await go(way, 'one', wish);
    expect(at).toEqual(outcome === 'ok' ? ['127.0.0.3'] : []);
    if (name !== 'Host') expect(outcome).toBe('ok');
  });
});
