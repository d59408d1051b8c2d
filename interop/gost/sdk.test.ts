// A real GOST asks our plugin servers, at every place where an ordinary proxy asks: what arrived is what GOST is known to
// send, and what it does is what we answered. Modules of tunnels are in tunnel.test.ts.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { ObserverEvent, PluginTransport, RecorderAsk, StatsEvent } from '@sallyport/plugin';
import { createLinkFiles } from '../common/links.ts';
import type { LinkFiles } from '../common/links.ts';
import { missingGost, startGost } from './gost.ts';
import { startPlugins } from './plugin-servers.ts';
import type { PluginServers } from './plugin-servers.ts';
import { closeAll } from './programs.ts';
import type { Proxy } from './programs.ts';
import { answers, configOf, credentials, rate, user } from './sdk-config.ts';
import {
  exchange,
  request,
  sendDatagrams,
  socks5,
  startEcho,
  startNode,
  startOrigin,
  tunnel,
} from './traffic.ts';
import type { Origin, Seen } from './traffic.ts';

function suite(transport: PluginTransport): void {
  let files: LinkFiles;
  let origin: Origin;
  let node: Awaited<ReturnType<typeof startNode>>;
  let plugins: PluginServers;
  let gost: Proxy;
  let target: string;
  const closing: (() => unknown)[] = [];

  before(async () => {
    files = createLinkFiles();
    closing.push(() => files.remove());
    origin = await startOrigin();
    closing.push(() => origin.close());
    node = await startNode();
    closing.push(() => node.close());
    const echo = await startEcho();
    closing.push(() => echo.close());
    plugins = await startPlugins(
      transport,
      answers(() => node.address),
    );
    closing.push(() => plugins.close());
    gost = await startGost(configOf(plugins, origin, echo.address, files));
    closing.push(() => gost.stop());
    target = `127.0.0.1:${String(origin.port)}`;
  });
  after(async () => {
    await closeAll(closing);
  });

  // The observer is told of the start before the first test.
  beforeEach(() => plugins.forget('observer.observe'));

  const seen = (body: string) => JSON.parse(body) as Seen;
  const ask = (service: string, host: string, options = {}) =>
    request(gost.address(service), `http://${host}/page`, { credentials, ...options });

  test('admission: every connection is asked for, and who is not admitted hears nothing', async () => {
    const answer = await ask('admission', target);
    assert.equal(seen(answer.body).url, '/page');
    // GOST asks at the listener and again at the service.
    const one = { client: answer.client, service: 'admission', network: 'tcp' };
    assert.deepEqual(plugins.take('admission.admit'), [one, one]);
    await assert.rejects(ask('admission-no', target), /socket hang up|ECONNRESET/);
    assert.equal(plugins.take('admission.admit').length, 1);
  });

  test('auther: credentials arrive, and decide', async () => {
    const asked = (username: string, password: string, client: string) => {
      return { username, password, client, service: 'auth', certificate: undefined };
    };
    const right = await ask('auth', target);
    assert.equal(right.status, 200);
    const wrong = await ask('auth', target, { credentials: 'gost:wrong' });
    assert.equal(wrong.status, 407);
    const none = await ask('auth', target, { credentials: undefined });
    assert.equal(none.status, 407);
    assert.deepEqual(plugins.take('auth.authenticate'), [
      asked('gost', 'secret', right.client),
      asked('gost', 'wrong', wrong.client),
      asked('', '', none.client),
    ]);
  });

  test('auther: the certificate that a client proved arrives', async () => {
    const { cert, key } = files.client;
    const options = { tls: { ca: files.ca, cert, key, servername: 'localhost' } };
    const answer = await ask('auth-mtls', target, options);
    assert.equal(answer.status, 200);
    const fingerprint = new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase();
    assert.deepEqual(plugins.take('auth.authenticate'), [
      {
        ...{ username: 'gost', password: 'secret', client: answer.client, service: 'auth-mtls' },
        certificate: { commonName: 'client.example', names: ['client.example'], fingerprint },
      },
    ]);
  });

  test('auther: a GOST with another token is not answered, and lets nobody in', async () => {
    assert.equal((await ask('auth-token', target)).status, 407);
    assert.deepEqual(plugins.take('auth.authenticate'), []);
  });

  test('bypass: the target arrives with the id that the auther gave, and yes refuses', async () => {
    const ours = { user, network: 'tcp', host: '', path: '', service: 'bypass' };
    assert.equal((await ask('bypass', target)).status, 200);
    // GOST asks for the first request of a connection twice.
    assert.deepEqual(plugins.take('bypass.bypass'), [
      { ...ours, target },
      { ...ours, target },
    ]);
    assert.equal((await ask('bypass', 'forbidden.test')).status, 403);
    assert.deepEqual(plugins.take('bypass.bypass'), [{ ...ours, target: 'forbidden.test:80' }]);
    await assert.rejects(
      tunnel(gost.address('bypass'), 'forbidden.test:443', { credentials }),
      /^Error: 403/,
    );
    assert.deepEqual(plugins.take('bypass.bypass'), [{ ...ours, target: 'forbidden.test:443' }]);
  });

  test('hop: the node that we name is dialled, and without one there is no connection', async () => {
    const named = `origin.test:${String(origin.port)}`;
    const { socket, client } = await tunnel(gost.address('hop'), named, { credentials });
    assert.equal(seen((await exchange(socket, 'GET', '/page')).body).url, '/page');
    const ours = { network: 'tcp', path: '', user };
    assert.deepEqual(plugins.take('hop.select'), [{ ...ours, target: named, host: named, client }]);
    assert.deepEqual(node.targets, [named]);
    const nowhere = `nowhere.test:${String(origin.port)}`;
    await assert.rejects(tunnel(gost.address('hop'), nowhere, { credentials }), /^Error: 503/);
    assert.deepEqual(node.targets, [named]);
  });

  test('socks5: user, target and host arrive in the words of the other handlers', async () => {
    const name = `hosts.test:${String(origin.port)}`;
    const { socket, client } = await socks5(gost.address('socks5'), name, credentials);
    assert.equal(seen((await exchange(socket, 'GET', '/page')).body).at, '127.0.0.2');
    const proof = { username: 'gost', password: 'secret', certificate: undefined };
    assert.deepEqual(plugins.take('auth.authenticate'), [{ ...proof, client, service: 'socks5' }]);
    assert.deepEqual(plugins.take('bypass.bypass'), [
      { target: name, user, network: 'tcp', host: '', path: '', service: 'socks5' },
    ]);
    assert.deepEqual(plugins.take('hosts.lookup'), [{ network: 'ip', host: 'hosts.test', user }]);
    const to = (host: string, who: string) => socks5(gost.address('socks5'), `${host}:443`, who);
    await assert.rejects(to('hosts.test', 'gost:wrong'), /credentials/);
    await assert.rejects(to('forbidden.test', credentials), /^Error: SOCKS5 reply 2/);
  });

  test('udp: a session is asked for like a connection, and so is each of its datagrams', async () => {
    const ping = [Buffer.from('ping')];
    const { replies, client } = await sendDatagrams(gost.address('udp'), ping);
    assert.deepEqual(replies, ping);
    const asked = plugins.take('admission.admit');
    const one = (service: string) => ({ client, service, network: 'udp' });
    assert.deepEqual(asked.slice(0, 2), [one(''), one('udp')]);
  });

  for (const [kind, method, at] of [
    ['hosts', 'hosts.lookup', '127.0.0.2'],
    ['resolver', 'resolver.resolve', '127.0.0.3'],
  ] as const) {
    test(`${kind}: the address that we give is dialled`, async () => {
      const answer = await ask(kind, `${kind}.test:${String(origin.port)}`);
      assert.equal(seen(answer.body).at, at);
      assert.deepEqual(plugins.take(method), [{ network: 'ip', host: `${kind}.test`, user }]);
    });
  }

  test('resolver: no address is no connection', async () => {
    assert.equal((await ask('resolver', `localhost:${String(origin.port)}`)).status, 503);
    assert.deepEqual(plugins.take('resolver.resolve'), [{ network: 'ip', host: 'localhost', user }]);
  });

  for (const [title, method, bytes, perSecond] of [
    ['what a client is sent', 'GET', 250_000, rate.out],
    ['what a client sends', 'POST', 375_000, rate.in],
  ] as const) {
    test(`limiter: ${title} is held to the rate that we answer`, async () => {
      const { socket, client } = await tunnel(gost.address('limiter'), target, { credentials });
      const start = performance.now();
      const body = method === 'POST' ? 'x'.repeat(bytes) : undefined;
      const url = method === 'GET' ? `/bytes/${String(bytes)}` : '/text';
      const answer = await exchange(socket, method, url, { body });
      const seconds = (performance.now() - start) / 1000;
      if (method === 'GET') assert.equal(answer.body.length, bytes);
      // One second's worth goes at once, and the rest at the rate.
      const least = (bytes - perSecond) / perSecond;
      assert.ok(seconds > least * 0.9, `${String(seconds)} s instead of ${String(least)}`);
      assert.ok(seconds < least * 3, `${String(seconds)} s instead of ${String(least)}`);
      const base = { service: 'limiter', network: 'tcp', target: '', user: '', client: '' };
      const asked = plugins.take('limiter.limit');
      const times = (one: object) => asked.filter((other) => isDeepStrictEqual(other, one)).length;
      // GOST asks once for each direction. For the service and for a user it remembers the first connection's answers.
      const first = method === 'GET' ? 2 : 0;
      assert.equal(times({ ...base, scope: 'service' }), first);
      assert.equal(times({ ...base, scope: 'conn', client }), 2);
      assert.equal(times({ ...base, scope: 'client', target, user, client }), first);
      assert.equal(asked.length, 2 + 2 * first);
    });
  }

  test('recorder: every kind of record arrives with its metadata', async () => {
    const options = { method: 'POST', body: 'abc' };
    const good = await ask('recorder', target, options);
    assert.equal(good.status, 200);
    const records = (await plugins.takeUntil('recorder.record', (asks) => asks.length >= 3)) as RecorderAsk[];
    const text = ({ data }: RecorderAsk) => Buffer.from(data).toString();
    const byKind = new Map(records.map((one) => [one.metadata?.['kind'], one]));
    assert.deepEqual([...byKind.keys()], ['client', 'dial', 'handler']);
    for (const one of records)
      assert.deepEqual(one.metadata, { kind: one.metadata?.['kind'], 'some.key': 7 });
    assert.equal(text(byKind.get('client')!), '127.0.0.1');
    assert.equal(text(byKind.get('dial')!), '127.0.0.1');
    const record = JSON.parse(text(byKind.get('handler')!)) as Record<string, unknown>;
    const names = 'service,network,remote,local,client,src,dst,host,proto,clientIP,clientID,http,route,';
    assert.equal(Object.keys(record).join(), `${names}inputBytes,outputBytes,sid,duration,time`);
    const { service, network, proto, clientID, client, host, http } = record;
    assert.deepEqual([service, network, proto, clientID], ['recorder', 'tcp', 'http', user]);
    assert.deepEqual([client, host], [good.client, target]);
    const { method, uri, statusCode } = http as Record<string, unknown>;
    assert.deepEqual([method, uri, statusCode], ['POST', `http://${target}/page`, 200]);

    // Nobody listens on port 1.
    await assert.rejects(tunnel(gost.address('recorder'), '127.0.0.1:1', { credentials }), /^Error: 503/);
    const failed = (await plugins.takeUntil('recorder.record', (asks) =>
      asks.some((one) => (one as RecorderAsk).metadata?.['kind'] === 'error'),
    )) as RecorderAsk[];
    assert.equal(text(failed.find((one) => one.metadata?.['kind'] === 'error')!), '127.0.0.1');
  });

  test('observer: states at once, and counters of the service and of each user', async () => {
    const { socket } = await tunnel(gost.address('observer'), target, { credentials });
    assert.equal((await exchange(socket, 'GET', '/bytes/5000')).body.length, 5000);
    const events = (asks: readonly unknown[]) =>
      (asks as { events: ObserverEvent[] }[]).flatMap((one) => one.events);
    const enough = (kind: string) => (one: ObserverEvent) =>
      one.type === 'stats' && one.kind === kind && Number(one.stats.outputBytes) > 5000;
    const all = events(
      await plugins.takeUntil('observer.observe', (asks) => {
        return events(asks).some(enough('service')) && events(asks).some(enough('handler'));
      }),
    );
    const status = (state: string) => {
      const message = `service observer is ${state}`;
      return { type: 'status', kind: 'service', service: 'observer', user: '', state, message };
    };
    assert.deepEqual(
      all.filter(({ type }) => type === 'status'),
      [status('running'), status('ready')],
    );
    const last = (kind: string) => all.findLast(enough(kind)) as StatsEvent;
    for (const [kind, of] of [
      ['service', ''],
      ['handler', user],
    ] as const) {
      const { stats, ...rest } = last(kind);
      assert.deepEqual(rest, { type: 'stats', kind, service: 'observer', user: of });
      assert.equal(stats.totalConns, 1);
      assert.equal(stats.totalErrs, 0);
    }
  });

  test('rewriter: bodies arrive in both directions, and ours are passed on', async () => {
    const forwarder = gost.address('rewriter');
    const host = { headers: { host: 'web.test' } };
    const page = await request(forwarder, '/text?q=1', host);
    assert.equal(page.body, '<p>the quick brown hen</p>');
    const posted = await request(forwarder, '/post', { ...host, method: 'POST', body: 'my secret' });
    assert.equal(seen(posted.body).body, 'my word');
    const asked = plugins.take('rewriter.rewrite') as RecorderAsk[];
    const shown = asked.map(({ data, metadata }) => {
      const { sid, ...rest } = metadata!;
      assert.match(String(sid), /^[0-9a-v]{20}$/);
      return [Buffer.from(data).toString(), rest];
    });
    // A request without a body is asked about too, with no bytes.
    assert.deepEqual(shown.slice(0, 3), [
      ['', { direction: 'request', uri: '/text?q=1' }],
      ['<p>the quick brown fox</p>', { direction: 'response', uri: '/text?q=1' }],
      ['my secret', { direction: 'request', uri: '/post' }],
    ]);
    assert.deepEqual(shown[3]?.[1], { direction: 'response', uri: '/post' });
    assert.equal(shown.length, 4);
  });
}

for (const transport of ['grpc', 'http'] as const) {
  describe(`a real GOST asks our modules over ${transport}`, { skip: missingGost }, () => suite(transport));

  test(`over ${transport} with TLS, of an authority in SSL_CERT_FILE`, { skip: missingGost }, async () => {
    const files = createLinkFiles();
    const origin = await startOrigin();
    const plugins = await startPlugins(
      transport,
      answers(() => ''),
      files.server,
    );
    const services = [{ name: 'auth', addr: '127.0.0.1:0', handler: { type: 'http', auther: 'auther' } }];
    const authers = [{ name: 'auther', plugin: plugins.plugin('auth') }];
    const gost = await startGost({ services, authers }, { SSL_CERT_FILE: files.at('ca.pem') });
    try {
      const url = `http://127.0.0.1:${String(origin.port)}/`;
      assert.equal((await request(gost.address('auth'), url, { credentials })).status, 200);
      assert.equal((await request(gost.address('auth'), url, { credentials: 'gost:wrong' })).status, 407);
      assert.equal(plugins.take('auth.authenticate').length, 2);
    } finally {
      await gost.stop();
      await plugins.close();
      await origin.close();
      files.remove();
    }
  });
}
