// What the modules of a tunnel's node are asked and told as plugins: the program at both ends, over gRPC and HTTP.
import type { ObserverEvent, RecorderAsk, SdService, SetRuleAsk } from '@sallyport/plugin';
import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startPlugins } from '../modules/plugins.ts';
import type { Plugins } from '../modules/plugins.ts';
import type { Program } from '../program.ts';
import { get, ids, Scene, seen, untilPublic } from './scene.ts';

const registered = /tunnel [\da-f-]{36} as/;
const uuid = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;
const hashOf = (id: string) => createHash('md5').update(id).digest('hex').slice(0, 16);

describe.each(['grpc', 'http'] as const)('over %s', (transport) => {
  const scene = new Scene();
  const extra = new Scene();
  /** The rules, as whoever is told of them keeps them. */
  const rules = new Map<string, string>([
    ['web.test', ids.web],
    ['db.test', `$${ids.db}`],
  ]);
  let plugins: Plugins;
  let program: Program;
  let entrypoint = 0;
  let at = '';

  beforeAll(async () => {
    const hostOf = (host: string) => host.replace(/:\d+$/, '');
    plugins = await startPlugins(transport, {
      auth: { authenticate: ({ username }) => ({ ok: true, user: `id-${username}` }) },
      admission: { admit: ({ client }) => !client.startsWith('127.0.0.9:') },
      bypass: { bypass: ({ target }) => target.startsWith('forbidden.test') },
      ingress: {
        getRule: ({ host }) => rules.get(hostOf(host)),
        setRule: ({ host, endpoint }) => {
          rules.set(host, endpoint);
          return true;
        },
      },
      sd: { register: () => undefined, renew: () => undefined, deregister: () => undefined, get: () => [] },
      limiter: { limit: () => [{ in: 50_000_000, out: 50_000_000, share: '' }] },
      observer: { observe: () => true },
      recorder: { record: () => true },
    });
    scene.add(plugins, (open) => open.close());
    const [port, where] = [await scene.port(), await scene.port()];
    entrypoint = where;
    at = `127.0.0.1:${String(port)}`;
    const module = (name: string, kind: Parameters<Plugins['block']>[0]) => [
      { name, plugin: plugins.block(kind) },
    ];
    program = await scene.serve({
      services: [
        {
          name: 'tunnels',
          addr: at,
          admission: 'admission',
          bypass: 'bypass',
          observer: 'observer',
          metadata: { enableStats: true, 'observer.period': '1s' },
          handler: {
            type: 'tunnel',
            auther: 'users',
            limiter: 'limiter',
            observer: 'observer',
            metadata: {
              ...{ entrypoint: `127.0.0.1:${String(where)}`, ingress: 'names', sd: 'nodes' },
              ...{ 'tunnel.ttl': '1s', 'observer.period': '1s' },
            },
          },
          listener: { type: 'tcp' },
          recorders: [{ name: 'recorder', record: 'recorder.service.handler' }],
        },
      ],
      ...{ authers: module('users', 'auth'), admissions: module('admission', 'admission') },
      ...{
        bypasses: module('bypass', 'bypass'),
        ingresses: module('names', 'ingress'),
        sds: module('nodes', 'sd'),
      },
      ...{ limiters: module('limiter', 'limiter'), observers: module('observer', 'observer') },
      recorders: module('recorder', 'recorder'),
    });
  });
  afterAll(() => scene.close());
  afterEach(async () => {
    await extra.close();
    expect(plugins.problems).toEqual([]);
  });

  async function client(id: string, name: string, host = '') {
    const target = await extra.web(name);
    const run = extra.run(
      ...['-L', `rtcp://${host}:0/127.0.0.1:${String(target)}`],
      ...['-F', `tunnel://ada:x@${at}?tunnel.id=${id}`],
    );
    await run.line(registered);
    return run;
  }

  test('ingress is asked for each host, and told of each name', async () => {
    plugins.take();
    const run = await client(ids.web, 'web', 'my.example.com');
    const isSet = ([method]: readonly [string, unknown]) => method === 'ingress.setRule';
    const asked = await plugins.takeUntil('ingress', () => plugins.history.filter(isSet).length === 2);
    expect(asked[0]).toEqual({ host: 'my.example.com', service: 'tunnels' });
    const told = plugins.history.filter(isSet).map(([, ask]) => ask as SetRuleAsk);
    expect(told.map(({ host }) => host).sort()).toEqual([hashOf(ids.web), 'my.example.com'].sort());
    for (const rule of told) expect(rule).toMatchObject({ endpoint: ids.web, service: 'tunnels' });
    expect(run.lines.join('\n')).toContain(`as my.example.com`);
    plugins.take();
    for (const host of ['my.example.com', 'web.test', hashOf(ids.web)])
      expect(await seen(entrypoint, host)).toBe(`200 web saw GET ${host}/`);
    expect(plugins.take('ingress')).toEqual(
      ['my.example.com', 'web.test', hashOf(ids.web)].map((host) => [
        'ingress.getRule',
        { host: `${host}:80`, service: 'tunnels' },
      ]),
    );
    // Private, and unknown.
    expect(await seen(entrypoint, 'db.test')).toBe('502');
    expect(await seen(entrypoint, 'other.test')).toBe('502');
    // A name that is another's stays that one's.
    await client(ids.web, 'thief', 'db.test');
    expect(rules.get('db.test')).toBe(`$${ids.db}`);
  });

  test('sd is told with all fields who is here, again and again, and who has gone', async () => {
    plugins.take();
    const run = await client(ids.db, 'db');
    const calls = (await plugins.takeUntil('sd', (asks) => asks.length >= 3)) as SdService[];
    const [first] = calls;
    expect(first).toMatchObject({
      ...{
        id: expect.stringMatching(uuid) as string,
        name: ids.db,
        node: expect.stringMatching(uuid) as string,
      },
      ...{ network: 'tcp', address: `127.0.0.1:${String(entrypoint)}` },
    });
    for (const call of calls) expect(call).toEqual(first);
    await run.stop();
    const hasGone = ([method, ask]: readonly [string, unknown]) =>
      method === 'sd.deregister' && (ask as SdService).id === first!.id;
    await plugins.takeUntil('sd', () => plugins.history.some(hasGone));
    const methods = plugins.history
      .filter(([, ask]) => (ask as SdService).id === first!.id)
      .map(([method]) => method);
    expect(methods[0]).toBe('sd.register');
    expect(methods.at(-1)).toBe('sd.deregister');
    expect(methods.filter((method) => method === 'sd.renew').length).toBeGreaterThanOrEqual(2);
    // Whoever is not here is looked for elsewhere.
    const port = await extra.port();
    const visitor = extra.run(
      ...[
        '-L',
        `tcp://127.0.0.1:${String(port)}/db.test:1`,
        '-F',
        `tunnel://ada:x@${at}?tunnel.id=${ids.db}`,
      ],
    );
    await visitor.line(/listening on/);
    plugins.take();
    await expect(get(port, 'x')).rejects.toThrow();
    expect(plugins.take('sd')).toEqual([['sd.get', { name: ids.db }]]);
  });

  test('a visitor is admitted by its address and counts as the tunnel: for the limiter, the observer and the recorder', async () => {
    await client(ids.web, 'web');
    await untilPublic(entrypoint, 'web.test');
    plugins.take();
    const { status, body } = await get(entrypoint, 'web.test', { path: '/page', localAddress: '127.0.0.5' });
    expect([status, body]).toEqual([200, 'web saw GET web.test/page']);
    const asked = plugins.take('admission', 'bypass');
    const from = expect.stringMatching(/^127\.0\.0\.5:\d+$/) as string;
    expect(asked).toContainEqual(['admission.admit', { client: from, service: 'tunnels', network: 'tcp' }]);
    expect(asked).toContainEqual([
      'bypass.bypass',
      { host: '', network: 'tcp', path: '/page', service: 'tunnels', target: 'web.test:80', user: ids.web },
    ]);
    // What it answered for the tunnel's first visitor counts for the next ones.
    expect(plugins.history).toContainEqual([
      'limiter.limit',
      expect.objectContaining({ scope: 'client', service: 'tunnels', user: ids.web }),
    ]);
    const records = (await plugins.takeUntil('recorder', (asks) =>
      asks.some((ask) => Buffer.from((ask as RecorderAsk).data).includes('/page')),
    )) as RecorderAsk[];
    const record = records
      .map(({ data }) => JSON.parse(Buffer.from(data).toString()) as Record<string, unknown>)
      .find((one) => JSON.stringify(one).includes('/page'));
    expect(record).toMatchObject({
      ...{ service: 'tunnels', clientID: ids.web, client: from, host: 'web.test:80', proto: 'http' },
      http: { host: 'web.test:80', method: 'GET', uri: '/page', statusCode: 200 },
    });
    const isOfTunnel = (event: ObserverEvent) =>
      event.type === 'stats' && event.kind === 'handler' && event.user === ids.web;
    const observed = await plugins.takeUntil('observer', (asks) =>
      asks.some((ask) => (ask as { events: ObserverEvent[] }).events.some(isOfTunnel)),
    );
    const event = (observed as { events: ObserverEvent[] }[])
      .flatMap(({ events }) => events)
      .find(isOfTunnel)!;
    if (event.type !== 'stats') throw new Error('no counters');
    expect(Number(event.stats.totalConns)).toBeGreaterThanOrEqual(1);
    expect(Number(event.stats.outputBytes)).toBeGreaterThan(0);
    await expect(get(entrypoint, 'web.test', { localAddress: '127.0.0.9' })).rejects.toThrow();
    await program.line(/127\.0\.0\.9:\d+ may not connect/);
  });
});
