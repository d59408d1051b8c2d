// Our proxy, the real binary, with a plugin server that is written in Go: every module that an ordinary proxy asks, over gRPC with
// the published stubs and over net/http. What the Go program was asked is compared in full, and the user must see what it answered.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import type tls from 'node:tls';
import type { PluginTransport } from '@sallyport/plugin';
import { handlerOf, seenBy, visit } from '../../packages/proxy/test/modules/visits.ts';
import type { Visit, Way, Wish } from '../../packages/proxy/test/modules/visits.ts';
import { createLinkFiles } from '../common/links.ts';
import type { LinkFiles } from '../common/links.ts';
import { closeAll, startSallyport } from '../gost/programs.ts';
import type { Proxy } from '../gost/programs.ts';
import { startNode, startOrigin } from '../gost/traffic.ts';
import type { Origin } from '../gost/traffic.ts';
import { configOf, credentials, missing, rate, rulesFor, startGoPlugins, user } from './go-plugins.ts';
import type { GoPlugins, Question } from './go-plugins.ts';

function suite(transport: PluginTransport): void {
  let files: LinkFiles;
  let origin: Origin;
  let node: Awaited<ReturnType<typeof startNode>>;
  let plugins: GoPlugins;
  let proxy: Proxy;
  let target: string;
  const closing: (() => unknown)[] = [];

  before(async () => {
    files = createLinkFiles();
    closing.push(() => files.remove());
    origin = await startOrigin();
    closing.push(() => origin.close());
    node = await startNode();
    closing.push(() => node.close());
    plugins = await startGoPlugins(rulesFor(node.address));
    closing.push(() => plugins.stop());
    const plugin = (module: string, more?: object) => plugins.block(transport, module, more);
    proxy = await startSallyport(configOf(plugin, origin.port, files));
    closing.push(() => proxy.stop());
    target = `127.0.0.1:${String(origin.port)}`;
  });
  after(() => closeAll(closing));

  const go = (way: Way, service: string, more: Partial<Wish> = {}) =>
    visit(way, proxy.address(`${service}-${handlerOf[way]}`), { target, credentials, ...more });
  const named = (host: string) => ({ target: `${host}:${String(origin.port)}` });

  /** What was asked, in order: module and request. The observer speaks when it likes. */
  const asked = async () => {
    const questions = await plugins.take(['observer']);
    for (const one of questions) assert.equal(one.transport, transport);
    return questions.map(({ module, request }) => [module, request]);
  };
  const auth = ({ client }: Visit, service: string, password = 'secret/ü') => [
    'auther',
    { service, username: 'gost', password, client },
  ];

  // What comes by itself at the start, or late, is no question of the next test's.
  beforeEach(() => plugins.take());

  test('admission', async () => {
    const admitted = await go('CONNECT', 'admitted');
    assert.equal(seenBy(admitted).url, '/page');
    const request = { service: 'admitted-http', network: 'tcp', addr: admitted.client };
    assert.deepEqual(await asked(), [['admission', request], auth(admitted, 'admitted-http')]);
    const refused = await go('CONNECT', 'refused');
    assert.equal(refused.outcome, 'closed');
    assert.deepEqual(await asked(), [
      ['admission', { service: 'refused-http', network: 'tcp', addr: refused.client }],
    ]);
  });

  for (const [way, refusal] of [
    ['CONNECT', 'HTTP 407'],
    ['GET', 'HTTP 407'],
    ['socks5', 'credentials'],
  ] as const) {
    test(`auther, ${way}`, async () => {
      const service = `auth-${handlerOf[way]}`;
      const right = await go(way, 'auth');
      assert.equal(right.outcome, 'ok');
      const wrong = await go(way, 'auth', { credentials: 'gost:wrong' });
      assert.equal(wrong.outcome, refusal);
      assert.deepEqual(await asked(), [auth(right, service), auth(wrong, service, 'wrong')]);
    });
  }

  for (const way of ['CONNECT', 'socks5'] as const) {
    test(`auther, the certificate that a client proved, ${way}`, async () => {
      const { cert, key } = files.client;
      const options: tls.ConnectionOptions = { ca: files.ca, cert, key, servername: 'localhost' };
      const visited = await go(way, 'mtls', { tls: options });
      assert.equal(visited.outcome, 'ok');
      const [, request] = auth(visited, `mtls-${handlerOf[way]}`);
      const fingerprint = new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase();
      const proof = {
        clientCn: 'client.example',
        clientSan: ['client.example'],
        clientCertFingerprint: fingerprint,
      };
      assert.deepEqual(await asked(), [['auther', { ...(request as object), ...proof }]]);
    });
  }

  test('auther, another token: it is not answered, and nobody gets in', async () => {
    assert.equal((await go('CONNECT', 'token')).outcome, 'HTTP 407');
    assert.deepEqual(await asked(), []);
  });

  for (const [way, refusal] of [
    ['CONNECT', 'HTTP 403'],
    ['GET', 'HTTP 403'],
    ['socks5', 'SOCKS5 2'],
  ] as const) {
    test(`bypass, ${way}`, async () => {
      const service = `bypass-${handlerOf[way]}`;
      const common = { service, network: 'tcp', client: user, host: '', path: '' };
      const allowed = await go(way, 'bypass');
      assert.equal(allowed.outcome, 'ok');
      const refused = await go(way, 'bypass', { target: 'forbidden.test:443' });
      assert.equal(refused.outcome, refusal);
      assert.deepEqual(await asked(), [
        auth(allowed, service),
        ['bypass', { ...common, addr: target }],
        auth(refused, service),
        ['bypass', { ...common, addr: 'forbidden.test:443' }],
      ]);
    });
  }

  for (const [way, refusal] of [
    ['CONNECT', 'HTTP 503'],
    ['socks5', 'SOCKS5 3'],
  ] as const) {
    test(`hop, ${way}`, async () => {
      const service = `hop-${handlerOf[way]}`;
      const through = await go(way, 'hop', named('origin.test'));
      assert.equal(through.outcome, 'ok');
      const { target: there } = named('origin.test');
      assert.deepEqual(node.targets.splice(0), [there]);
      const nowhere = await go(way, 'hop', named('nowhere.test'));
      assert.equal(nowhere.outcome, refusal);
      const request = (visited: Visit, to: string) => [
        'hop',
        { network: 'tcp', addr: to, host: to, path: '', client: user, src: visited.client },
      ];
      assert.deepEqual(await asked(), [
        auth(through, service),
        request(through, there),
        auth(nowhere, service),
        request(nowhere, named('nowhere.test').target),
      ]);
      assert.deepEqual(node.targets, []);
    });
  }

  for (const [module, at] of [
    ['hosts', '127.0.0.2'],
    ['resolver', '127.0.0.3'],
  ] as const) {
    test(module, async () => {
      const there = await go('CONNECT', module, named(`${module}.test`));
      assert.equal(seenBy(there).at, at);
      const unknown = await go('CONNECT', module, named('localhost'));
      // Who maps a few names leaves the others alone; who resolves names has the last word.
      assert.equal(unknown.outcome, module === 'hosts' ? 'ok' : 'HTTP 503');
      const service = `${module}-http`;
      assert.deepEqual(await asked(), [
        auth(there, service),
        [module, { network: 'ip', host: `${module}.test`, client: user }],
        auth(unknown, service),
        [module, { network: 'ip', host: 'localhost', client: user }],
      ]);
    });
  }

  test('limiter', async () => {
    const bytes = 450_000;
    const start = performance.now();
    const visited = await go('CONNECT', 'limiter', { path: `/bytes/${String(bytes)}` });
    const seconds = (performance.now() - start) / 1000;
    assert.equal(visited.body.length, bytes);
    // A second's worth goes at once, and the rest at the rate.
    const least = (bytes - rate.out) / rate.out;
    assert.ok(seconds > least * 0.9, `${String(seconds)} s instead of ${String(least)}`);
    assert.ok(seconds < least * 4, `${String(seconds)} s instead of ${String(least)}`);
    const base = { service: 'limiter-http', network: 'tcp', addr: '', client: '', src: '' };
    const byText = (list: unknown[]) => list.map((one) => JSON.stringify(one)).sort();
    assert.deepEqual(
      byText(await asked()),
      byText([
        auth(visited, 'limiter-http'),
        ...[
          { scope: 'service' },
          { scope: 'conn', src: visited.client },
          { scope: 'client', addr: target, client: user, src: visited.client },
        ].map((own) => ['limiter', inOrder({ ...base, ...own })]),
      ]),
    );
  });

  test('recorder', async () => {
    const text = ({ request }: Question, key = 'data') =>
      Buffer.from(request[key] as string, 'base64').toString();
    const kindOf = (one: Question) => (JSON.parse(text(one, 'metadata')) as { kind: string }).kind;
    const visited = await go('GET', 'recorder', { body: 'abc' });
    assert.equal(visited.outcome, 'ok');
    const records = await plugins.takeUntil('recorder', (all) => all.length === 3);
    assert.deepEqual(records.map(kindOf).sort(), ['client', 'dial', 'handler']);
    const byKind = new Map(records.map((one) => [kindOf(one), one]));
    for (const [kind, one] of byKind) {
      assert.equal(one.transport, transport);
      assert.deepEqual(JSON.parse(text(one, 'metadata')), { kind, 'some.key': 7 });
    }
    assert.equal(text(byKind.get('client')!), '127.0.0.1');
    assert.equal(text(byKind.get('dial')!), '127.0.0.1');
    const record = JSON.parse(text(byKind.get('handler')!)) as Record<string, unknown>;
    const { service, network, client, host, proto, clientID } = record;
    assert.deepEqual(
      { service, network, client, host, proto, clientID },
      {
        ...{ service: 'recorder-http', network: 'tcp', client: visited.client, host: target },
        ...{ proto: 'http', clientID: user },
      },
    );
    const { method, uri, statusCode } = record['http'] as Record<string, unknown>;
    assert.deepEqual([method, uri, statusCode], ['POST', `http://${target}/page`, 200]);
    const password = credentials.split(':')[1]!;
    for (const secret of [password, Buffer.from(credentials).toString('base64')]) {
      assert.ok(!text(byKind.get('handler')!).includes(secret), 'a record holds no credentials');
    }

    // Nobody listens on port 1.
    assert.equal((await go('CONNECT', 'recorder', { target: '127.0.0.1:1' })).outcome, 'HTTP 502');
    const failed = await plugins.takeUntil('recorder', (all) => all.some((one) => kindOf(one) === 'error'));
    assert.equal(text(failed.find((one) => kindOf(one) === 'error')!), '127.0.0.1');
  });

  test('observer', async () => {
    const visited = await go('CONNECT', 'observer', { path: '/bytes/5000' });
    assert.equal(visited.body.length, 5000);
    interface Event {
      readonly kind: string;
      readonly type: string;
      readonly stats?: Readonly<Record<string, number>>;
    }
    const events = (all: readonly Question[]) => all.flatMap(({ request }) => request['events'] as Event[]);
    const enough = (kind: string) => (one: Event) =>
      one.kind === kind &&
      one.type === 'stats' &&
      one.stats!['outputBytes']! > 5000 &&
      one.stats!['currentConns'] === 0;
    const all = await plugins.takeUntil(
      'observer',
      (some) => events(some).some(enough('service')) && events(some).some(enough('handler')),
    );
    for (const { transport: by } of all) assert.equal(by, transport);
    for (const [kind, own] of [
      ['service', {}],
      ['handler', { client: user }],
    ] as const) {
      const { stats, ...rest } = events(all).findLast(enough(kind))!;
      assert.deepEqual(rest, { kind, service: 'observer-http', type: 'stats', ...own });
      assert.deepEqual([stats!['totalConns'], stats!['totalErrs']], [1, 0]);
    }
  });

  test('rewriter', async () => {
    const page = await go('tcp', 'rewriter', { target: 'web.test', path: '/text?q=1' });
    assert.equal(page.body, '<p>the quick brown hen</p>');
    const posted = await go('tcp', 'rewriter', { target: 'web.test', path: '/post', body: 'my secret' });
    assert.equal(seenBy(posted).body, 'my word');
    const shown = (await plugins.take(['observer'])).map(({ module, request }) => {
      const bytes = (key: string) => Buffer.from(request[key] as string, 'base64').toString();
      const { sid, ...rest } = JSON.parse(bytes('metadata')) as Record<string, unknown>;
      assert.match(String(sid), /^\w+$/);
      return [module, bytes('data'), rest];
    });
    assert.deepEqual(shown.filter(([, data]) => data !== '').slice(0, 2), [
      ['rewriter', '<p>the quick brown fox</p>', { direction: 'response', uri: '/text?q=1' }],
      ['rewriter', 'my secret', { direction: 'request', uri: '/post' }],
    ]);
  });
}

/** The keys of a limiter's question in the order in which Go prints them. */
function inOrder({ service, scope, network, addr, client, src }: Record<string, string>): object {
  return { service, scope, network, addr, client, src };
}

for (const transport of ['grpc', 'http'] as const) {
  describe(`our proxy asks Go plugins over ${transport}`, { skip: missing }, () => suite(transport));

  test(
    `our proxy asks a Go plugin over ${transport} with TLS, of an authority that the file names`,
    { skip: missing },
    async () => {
      const files = createLinkFiles();
      const closing: (() => unknown)[] = [() => files.remove()];
      try {
        const origin = await startOrigin();
        closing.push(() => origin.close());
        const plugins = await startGoPlugins(rulesFor(''), files);
        closing.push(() => plugins.stop());
        const service = (name: string) => ({
          name,
          addr: '127.0.0.1:0',
          handler: { type: 'http', auther: name },
        });
        const auther = (name: string, tls: object) => ({
          name,
          plugin: plugins.block(transport, 'auther', { tls }),
        });
        const proxy = await startSallyport({
          services: ['trusted', 'stranger'].map(service),
          authers: [
            auther('trusted', { caFile: files.at('ca.pem'), serverName: 'localhost' }),
            // Of no authority that is known here.
            auther('stranger', { serverName: 'localhost' }),
          ],
        });
        closing.push(() => proxy.stop());
        const target = `127.0.0.1:${String(origin.port)}`;
        const go = (name: string, who: string) =>
          visit('CONNECT', proxy.address(name), { target, credentials: who });
        assert.equal((await go('trusted', credentials)).outcome, 'ok');
        assert.equal((await go('trusted', 'gost:wrong')).outcome, 'HTTP 407');
        assert.equal((await go('stranger', credentials)).outcome, 'HTTP 407');
      } finally {
        await closeAll(closing);
      }
    },
  );
}
