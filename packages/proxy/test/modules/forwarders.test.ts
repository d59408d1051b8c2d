// What is asked where a proxy looks into what it carries: forwarders with nodes, hops and rewriters, tunnels, and the handler
// that tells protocols apart; through the real binary.
import tls from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { createLinkFiles } from '../../../../interop/common/links.ts';
import type { LinkFiles } from '../../../../interop/common/links.ts';
import { startSallyport } from '../../../../interop/gost/programs.ts';
import type { Proxy } from '../../../../interop/gost/programs.ts';
import { startEcho, startOrigin } from '../../../../interop/gost/traffic.ts';
import type { Origin, Seen } from '../../../../interop/gost/traffic.ts';
import { answers, credentials, user } from './modules-config.ts';
import type { Variant } from './modules-config.ts';
import { startPlugins } from './plugins.ts';
import type { Plugins } from './plugins.ts';
import { connect, visit } from './visits.ts';
import type { Visit, Way, Wish } from './visits.ts';

const variants: readonly Variant[] = ['built-in', 'grpc', 'http'];

describe.each(variants)('%s', (variant) => {
  const asks = variant !== 'built-in';
  let files: LinkFiles;
  let origin: Origin;
  let secure: { readonly port: number; close(): unknown };
  let plugins: Plugins | undefined;
  let proxy: Proxy;
  const closing: (() => unknown)[] = [];

  beforeAll(async () => {
    files = createLinkFiles();
    closing.push(() => files.remove());
    origin = await startOrigin();
    closing.push(() => origin.close());
    secure = await startSecureOrigin(files);
    closing.push(() => secure.close());
    const echo = await startEcho();
    closing.push(() => echo.close());
    if (variant !== 'built-in') {
      const told = answers(() => '');
      plugins = await startPlugins(variant, {
        ...told,
        hop: {
          select: ({ host }) => {
            if (host.startsWith('nowhere.test')) return undefined;
            const port = host.endsWith(':443') ? secure.port : origin.port;
            return { name: 'named', addr: `127.0.0.5:${String(port)}` };
          },
        },
      });
      closing.push(() => plugins!.close());
    }
    proxy = await startSallyport(config());
    closing.push(() => proxy.stop());
  });
  afterAll(async () => {
    for (const close of closing.reverse()) await close();
  });
  afterEach(() => {
    plugins?.take();
    expect(plugins?.problems ?? []).toEqual([]);
  });

  function config() {
    const plain = `127.0.0.1:${String(origin.port)}`;
    const node = { name: 'origin', addr: plain };
    const module = (kind: 'auth' | 'bypass' | 'rewriter' | 'hop', more: object) =>
      plugins === undefined ? more : { plugin: plugins.block(kind) };
    const service = (name: string, type: string, more: object = {}, handler: object = {}) => ({
      ...{ name, addr: '127.0.0.1:0', handler: { type, ...handler } },
      ...more,
    });
    const sniffing = { metadata: { sniffing: true } };
    const rules =
      plugins === undefined
        ? [
            { type: '*', match: 'fox', replacement: 'hen' },
            { type: '*', match: 'secret', replacement: 'word' },
          ]
        : [{ type: '*', match: '.*', rewriter: 'rewriter' }];
    return {
      services: [
        service('plain', 'tcp', { forwarder: { hop: 'hop' } }),
        service('sniffing', 'tcp', { forwarder: { hop: 'hop' }, bypass: 'bypass' }, sniffing),
        service(
          'rewriting',
          'tcp',
          {
            forwarder: {
              nodes: [{ ...node, http: { rewriteRequestBody: rules, rewriteResponseBody: rules } }],
            },
          },
          sniffing,
        ),
        service('tunnels', 'http', { bypass: 'bypass' }, { ...sniffing, auther: 'users' }),
        service('auto', 'auto', { bypass: 'bypass' }, { auther: 'users' }),
      ],
      hops: [
        {
          name: 'hop',
          ...module('hop', {
            nodes: [
              {
                name: 'tls',
                addr: `127.0.0.5:${String(secure.port)}`,
                matcher: { rule: 'Host(`plugin.test`)' },
              },
              {
                name: 'rest',
                addr: `127.0.0.5:${String(origin.port)}`,
                matcher: { rule: '!Host(`plugin.test`) && !Host(`nowhere.test`)' },
              },
            ],
          }),
        },
      ],
      authers: [{ name: 'users', ...module('auth', { auths: [{ username: 'gost', password: 'secret' }] }) }],
      bypasses: [{ name: 'bypass', ...module('bypass', { matchers: ['forbidden.test'] }) }],
      ...(plugins !== undefined && { rewriters: [{ name: 'rewriter', ...module('rewriter', {}) }] }),
    };
  }

  const seen = (visited: Visit) => JSON.parse(visited.body) as Seen;
  const bypassed = (service: string, target: string, path = '', who = '') => [
    'bypass.bypass',
    { target, user: who, network: 'tcp', host: '', path, service },
  ];

  test.skipIf(!asks)('a hop of a forwarder is asked for a node, with nothing but who it is for', async () => {
    const visited = await visit('tcp', proxy.address('plain'), { target: 'web.test:80' });
    expect(visited.outcome).toBe('ok');
    expect(seen(visited).at).toBe('127.0.0.5');
    expect(plugins!.take()).toEqual([
      ['hop.select', { network: '', target: '', host: '', path: '', user: '', client: visited.client }],
    ]);
  });

  test('HTTP is looked into: rules are asked about its host and path, and the hop too', async () => {
    const wish = { target: 'web.test', path: '/one?q=1' };
    const visited = await visit('tcp', proxy.address('sniffing'), wish);
    expect(visited.outcome).toBe('ok');
    expect(seen(visited)).toMatchObject({ at: '127.0.0.5', url: '/one?q=1' });
    if (!asks) return;
    const { client } = visited;
    expect(plugins!.take()).toEqual([
      bypassed('sniffing', 'web.test:80', '/one?q=1'),
      ['hop.select', { network: '', target: '', host: 'web.test:80', path: '/one', user: '', client }],
    ]);
  });

  test('HTTP to a host that a rule says no to', async () => {
    const visited = await visit('tcp', proxy.address('sniffing'), { target: 'forbidden.test', path: '/x' });
    expect(visited.outcome).toBe('HTTP 403');
    if (asks) expect(plugins!.take()).toEqual([bypassed('sniffing', 'forbidden.test:80', '/x')]);
  });

  test('HTTP for which there is no node', async () => {
    const visited = await visit('tcp', proxy.address('sniffing'), { target: 'nowhere.test' });
    expect(visited.outcome).toBe('HTTP 503');
    if (!asks) return;
    const { client } = visited;
    expect(plugins!.take()).toEqual([
      bypassed('sniffing', 'nowhere.test:80', '/page'),
      ['hop.select', { network: '', target: '', host: 'nowhere.test:80', path: '/page', user: '', client }],
    ]);
  });

  test('each request of a kept connection is asked about, in its own words', async () => {
    const { line } = await connect(proxy.address('sniffing'), {});
    onTestFinished(() => void line.socket.destroy());
    for (const [host, status] of [
      ['web.test', '200'],
      ['other.test', '200'],
      ['forbidden.test', '403'],
    ] as const) {
      line.socket.write(`GET /text HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      const end = status === '200' ? '</p>' : '\r\n\r\n';
      const answer = await line.take((held) => {
        const at = held.indexOf(end);
        return at === -1 ? undefined : at + end.length;
      });
      expect(String(answer).slice(9, 12), host).toBe(status);
    }
    if (!asks) return;
    const targets = plugins!.take('bypass').map(([, ask]) => (ask as { target: string }).target);
    expect(targets).toEqual(['web.test:80', 'other.test:80', 'forbidden.test:80']);
  });

  test('TLS is looked into: rules and hop are asked about the name in it', async () => {
    const { line, client } = await connect(proxy.address('sniffing'), {
      tls: { ca: files.ca, servername: 'plugin.test', checkServerIdentity: () => undefined },
    });
    onTestFinished(() => void line.socket.destroy());
    expect((line.socket as tls.TLSSocket).authorized).toBe(true);
    line.socket.write('hello');
    expect(String(await line.exactly(15))).toBe('127.0.0.5 hello');
    if (!asks) return;
    expect(plugins!.take()).toEqual([
      bypassed('sniffing', 'plugin.test:443'),
      ['hop.select', { network: '', target: '', host: 'plugin.test:443', path: '', user: '', client }],
    ]);
  });

  test('TLS to a name that a rule says no to', async () => {
    const { line } = await connect(proxy.address('sniffing'), {
      tls: { ca: files.ca, servername: 'forbidden.test', checkServerIdentity: () => undefined },
    });
    expect(await line.exactly(1)).toBeUndefined();
    if (asks) expect(plugins!.take()).toEqual([bypassed('sniffing', 'forbidden.test:443')]);
  });

  test('bodies are rewritten in both directions', async () => {
    const page = await visit('tcp', proxy.address('rewriting'), { target: 'web.test', path: '/text?q=1' });
    expect(page.body).toBe('<p>the quick brown hen</p>');
    const posted = await visit('tcp', proxy.address('rewriting'), {
      ...{ target: 'web.test', path: '/post', body: 'my secret' },
    });
    expect(seen(posted).body).toBe('my word');
    if (!asks) return;
    const asked = plugins!.take('rewriter').map(([, ask]) => {
      const { data, metadata } = ask as { data: Uint8Array; metadata: Record<string, unknown> };
      const { sid, ...rest } = metadata;
      expect(sid).toMatch(/^\S+$/);
      return [Buffer.from(data).toString(), rest];
    });
    const request = { direction: 'request', uri: '/text?q=1' };
    // A real GOST asks about a request without a body, too.
    const empty = asked[0]?.[0] === '' ? [['', request]] : [];
    expect(asked.slice(0, empty.length + 2)).toEqual([
      ...empty,
      ['<p>the quick brown fox</p>', { ...request, direction: 'response' }],
      ['my secret', { direction: 'request', uri: '/post' }],
    ]);
    expect(asked.at(-1)![1]).toEqual({ direction: 'response', uri: '/post' });
    expect(asked).toHaveLength(empty.length + 3);
  });

  test.each([['CONNECT', 'tunnels']] as const)(
    'HTTP inside a tunnel is asked about by its own host: %s',
    async (way, service) => {
      const target = `127.0.0.1:${String(origin.port)}`;
      const tunnel = (host: string) => inside(way, service, target, host);
      expect(await tunnel('fine.test')).toBe('ok');
      if (asks) {
        const asked = plugins!.take('bypass').map(([, ask]) => ask as { target: string; user: string });
        expect(asked.map((ask) => ask.target)).toEqual([target, 'fine.test:80']);
        expect(asked.map((ask) => ask.user)).toEqual([user, user]);
      }
      expect(await tunnel('forbidden.test')).not.toBe('ok');
    },
  );

  /** A request in a tunnel, for another host than that of the tunnel. */
  async function inside(way: Way, service: string, target: string, host: string): Promise<string> {
    const wish: Wish = { target, credentials, innerHost: host };
    return (await visit(way, proxy.address(service), wish)).outcome;
  }

  test.each(['CONNECT', 'GET', 'socks5', ...(asks ? (['socks4'] as const) : [])] as const)(
    'the handler that tells protocols apart asks as each of them does: %s',
    async (way) => {
      const target = `127.0.0.1:${String(origin.port)}`;
      const wish = { target, credentials };
      const good = await visit(way, proxy.address('auto'), wish);
      if (way === 'socks4') {
        // No password comes with it.
        expect(good.outcome).toBe('SOCKS4 93');
        return;
      }
      expect(good.outcome).toBe('ok');
      if (asks) {
        const { client } = good;
        expect(plugins!.take()).toEqual([
          [
            'auth.authenticate',
            { username: 'gost', password: 'secret', client, service: 'auto', certificate: undefined },
          ],
          bypassed('auto', target, '', user),
        ]);
      }
      const bad = await visit(way, proxy.address('auto'), { ...wish, credentials: 'gost:wrong' });
      expect(bad.outcome).toBe(way === 'socks5' ? 'credentials' : 'HTTP 407');
      const no = await visit(way, proxy.address('auto'), { ...wish, target: 'forbidden.test:443' });
      expect(no.outcome).toBe(way === 'socks5' ? 'SOCKS5 2' : 'HTTP 403');
    },
  );
});

/** A TLS server that says at which of its addresses it was reached, and what it was told. */
function startSecureOrigin(files: LinkFiles): Promise<{ port: number; close(): unknown }> {
  return new Promise((resolve) => {
    const server = tls.createServer(files.server, (socket) => {
      socket.on('error', () => socket.destroy());
      socket.on('data', (bytes: Buffer) => socket.write(`${socket.localAddress!} ${bytes.toString()}`));
    });
    server.on('tlsClientError', () => undefined);
    server.listen(0, '0.0.0.0', () => {
      resolve({ port: (server.address() as { port: number }).port, close: () => server.close() });
    });
  });
}
