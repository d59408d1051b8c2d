// Our proxy, the real binary, with the plugin server that is written in Go, where tunnels and virtual networks ask: ingress, sd and
// router over gRPC with the published stubs, and over net/http. Every question is compared in full.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { PluginTransport } from '@sallyport/plugin';
import { Cleanup } from '../../packages/proxy/src/core/peer.fixture.ts';
import { join, joinAs, joins, routerId } from '../../packages/proxy/src/protocols/router/scene.fixture.ts';
import { ipPacket } from '../../packages/proxy/src/wire/packets.fixture.ts';
import { registerClient, tunnelWays, visitTunnel } from '../../packages/proxy/test/modules/tunnel-peers.ts';
import { startSallyport } from '../gost/programs.ts';
import type { Proxy } from '../gost/programs.ts';
import { missing, startGoPlugins } from './go-plugins.ts';
import type { GoPlugins, Question } from './go-plugins.ts';

const here = '4d21094e-b74c-4916-86c1-d9fa36ea677b';
const away = 'b7a1c9d2-0000-4000-8000-00000000000b';
const secret = 'd0000000-0000-4000-8000-00000000000d';
const node = 'eeeeeeee-0000-4000-8000-000000000002';
const hashOf = (id: string) => createHash('md5').update(id).digest('hex').slice(0, 16);
const portOf = (address: string) => Number(address.slice(address.lastIndexOf(':') + 1));

/** A program with a tunnel's node and a router, `tunnels` and `networks`. */
async function startNode(
  cleanup: Cleanup,
  modules: object,
  more: object,
): Promise<Proxy & { entrypoint(name: string): string }> {
  const service = (name: string, type: string, metadata: object) => ({
    ...{ name, addr: '127.0.0.1:0', listener: { type: 'tcp' } },
    handler: { type, metadata: { entrypoint: '127.0.0.1:0', ...metadata } },
  });
  const proxy = await startSallyport({
    services: [
      service('tunnels', 'tunnel', { ingress: 'names', 'tunnel.ttl': '1s', ...more }),
      service('networks', 'router', {
        ingress: 'names',
        router: 'routes',
        'sd.renewInterval': '1s',
        ...more,
      }),
    ],
    ...modules,
  });
  cleanup.add(proxy, (open) => open.stop());
  return {
    ...proxy,
    entrypoint: (name) =>
      new RegExp(`"service":"${name}","msg":"(?:tunnels have|packets of)[^"]* (\\S+:\\d+)"`).exec(
        proxy.log(),
      )![1]!,
  };
}

function suite(transport: PluginTransport): void {
  const cleanup = new Cleanup();
  const own = new Cleanup();
  let plugins: GoPlugins;
  let proxy: Awaited<ReturnType<typeof startNode>>;

  before(async () => {
    const beside = await startNode(
      cleanup,
      {
        ingresses: [
          {
            name: 'names',
            rules: [
              { hostname: 'away.test', endpoint: away },
              { hostname: 'site-far', endpoint: routerId },
            ],
          },
        ],
        routers: [{ name: 'routes', routes: [] }],
      },
      {},
    );
    await registerClient(cleanup, portOf(beside.address('tunnels')), { tunnel: away });
    const place = (name: string, network: string, address: string) => [
      { id: away, name, node, network, address },
    ];
    plugins = await startGoPlugins({
      tunnels: {
        ...{ 'web.test': here, 'secret.test': `$${secret}`, 'away.test': away },
        ...{ 'site-a': routerId, 'site-b': routerId, 'site-x': here },
      },
      services: {
        [away]: place(away, 'tcp', beside.entrypoint('tunnels')),
        [`site-far@${routerId}`]: place(`site-far@${routerId}`, 'udp', beside.entrypoint('networks')),
      },
      routes: {
        [routerId]: [
          { net: '10.2.0.0/16', gateway: 'site-b' },
          { net: 'fd00:2::/32', gateway: 'site-b' },
          { net: '10.3.0.0/16', gateway: 'site-far' },
        ],
      },
    });
    cleanup.add(plugins, (open) => open.stop());
    const plugin = (name: string, module: string) => [{ name, plugin: plugins.block(transport, module) }];
    proxy = await startNode(
      cleanup,
      {
        ingresses: plugin('names', 'ingress'),
        sds: plugin('nodes', 'sd'),
        routers: plugin('routes', 'router'),
      },
      { sd: 'nodes' },
    );
    far = await joinAs(cleanup, portOf(beside.address('networks')), 'site-far');
    await registerClient(cleanup, portOf(proxy.address('tunnels')), { tunnel: here });
    await plugins.takeUntil('ingress.SetRule', (all) => all.length === 1);
  });
  let far: Awaited<ReturnType<typeof joinAs>>;
  after(() => cleanup.run());
  beforeEach(async () => {
    await own.run();
    await plugins.take();
  });
  after(() => own.run());

  /** What was asked of these, in order: method and request. */
  const asked = async (...methods: string[]) => {
    const questions = await plugins.take();
    for (const one of questions) if (one.module !== 'mark') assert.equal(one.transport, transport);
    return questions
      .filter(({ module }) => methods.includes(module))
      .map(({ module, request }) => [module, request]);
  };
  const visit = (way: (typeof tunnelWays)[number], host: string, tunnel: string) =>
    visitTunnel(own, {
      ...{ way, host, tunnel },
      ports: { service: portOf(proxy.address('tunnels')), entrypoint: portOf(proxy.entrypoint('tunnels')) },
    });

  for (const way of tunnelWays) {
    const port = { HTTP: ':80', TLS: ':443', relay: '', CONNECT: '' }[way];
    const refusal = { HTTP: 'HTTP 502', TLS: 'closed', relay: 'relay 6', CONNECT: 'relay 6' }[way];
    test(`ingress, sd: ${way}`, async () => {
      const outcomes: string[] = [];
      for (const [host, tunnel] of [
        ['web.test', here],
        ['away.test', away],
        ['secret.test', here],
        ['unknown.test', here],
      ] as const)
        outcomes.push((await visit(way, host, tunnel)).outcome);
      assert.deepEqual(outcomes, ['ok', 'ok', refusal, refusal]);
      const questions = await asked('ingress.GetRule', 'sd.Get');
      assert.deepEqual(
        questions.filter(([method]) => method === 'ingress.GetRule'),
        ['web.test', 'away.test', 'secret.test', 'unknown.test'].map((host) => [
          'ingress.GetRule',
          { host: `${host}${port}`, service: 'tunnels' },
        ]),
      );
      // Where a tunnel is counts for a second.
      const places = questions.filter(([method]) => method === 'sd.Get');
      assert.ok(places.length < 2);
      for (const [, request] of places) assert.deepEqual(request, { name: away });
    });
  }

  test('ingress: who registers gets the name that is free, and no other', async () => {
    const id = '77777777-7777-4777-8777-777777777777';
    const port = portOf(proxy.address('tunnels'));
    assert.equal((await registerClient(own, port, { tunnel: id, host: 'web.test' })).name, hashOf(id));
    assert.equal((await registerClient(own, port, { tunnel: id, host: 'my.test' })).name, 'my.test');
    const isOfName = ({ request }: Question) => request['host'] === 'my.test';
    const rules = await plugins.takeUntil('ingress.SetRule', (all) => all.some(isOfName));
    for (const { request } of rules) {
      const host = isOfName({ request } as Question) ? 'my.test' : hashOf(id);
      assert.deepEqual(request, { service: 'tunnels', host, endpoint: id });
    }
  });

  test('sd: a tunnel comes, stays and goes', async () => {
    const client = await registerClient(own, portOf(proxy.address('tunnels')), { tunnel: secret });
    await told(client.id, { name: secret, network: 'tcp', address: proxy.entrypoint('tunnels') }, () => {
      client.leave();
    });
  });

  test('sd: a site comes, stays and goes', async () => {
    const site = await joinAs(own, portOf(proxy.address('networks')), 'site-b');
    const name = `site-b@${routerId}`;
    await told(site.connector!, { name, network: 'udp', address: proxy.entrypoint('networks') }, () => {
      site.socket.destroy();
    });
  });

  /** Waits until sd has heard of all three, each with all fields. */
  async function told(id: string, service: object, leave: () => void): Promise<void> {
    const isOf = ({ request }: Question) => request['id'] === id;
    for (const method of ['sd.Register', 'sd.Renew', 'sd.Deregister']) {
      if (method === 'sd.Deregister') leave();
      const { request } = (await plugins.takeUntil(method, (all) => all.some(isOf))).find(isOf)!;
      const { node: by, ...rest } = request;
      assert.match(String(by), /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
      assert.deepEqual(rest, { id, ...service });
    }
  }

  test('router, sd, ingress: sites join, and packets go where the routes say', async () => {
    const port = portOf(proxy.address('networks'));
    const [a, b] = [await joinAs(own, port, 'site-a'), await joinAs(own, port, 'site-b')];
    assert.equal((await join(own, port, joins('site-x'))).status, 6);
    const packet = (to: string) => ipPacket(to.includes(':') ? 'fd00:1::2' : '10.1.0.2', to, to);
    a.send(packet('10.9.9.9'), ...['10.2.0.5', '10.2.0.5', 'fd00:2::5', '10.3.0.1'].map(packet));
    // What is for one destination stays in order, and nothing else does.
    const came = [await b.next(), await b.next(), await b.next()]
      .map((bytes) => bytes.toString('hex'))
      .sort();
    assert.deepEqual(
      came,
      ['10.2.0.5', '10.2.0.5', 'fd00:2::5'].map((to) => packet(to).toString('hex')),
    );
    assert.deepEqual(await far.next(), packet('10.3.0.1'));
    const questions = await asked('ingress.GetRule', 'router.GetRoute', 'sd.Get');
    // Each packet asks for itself, so that the questions overtake each other.
    const of = (method: string) =>
      questions
        .filter(([name]) => name === method)
        .map(([, request]) => request)
        .sort((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1));
    assert.deepEqual(
      of('ingress.GetRule'),
      ['site-a', 'site-b', 'site-x'].map((host) => ({ host, service: 'networks' })),
    );
    assert.deepEqual(
      of('router.GetRoute'),
      ['10.2.0.5', '10.3.0.1', '10.9.9.9', 'fd00:2::5'].map((dst) => ({ dst, id: routerId })),
    );
    assert.deepEqual(of('sd.Get'), [{ name: `site-far@${routerId}` }]);
  });
}

for (const transport of ['grpc', 'http'] as const)
  describe(`tunnels and networks ask Go plugins over ${transport}`, { skip: missing }, () =>
    suite(transport),
  );
