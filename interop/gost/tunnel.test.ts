// A real GOST asks our plugin servers what only tunnels and private networks ask: which tunnel serves a name, which machine
// has it, where packets go. Visitors and packets arrive where our answers lead.
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import type net from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { PluginTransport, SdService } from '@sallyport/plugin';
import { missingGost, startGost } from './gost.ts';
import { startPlugins } from './plugin-servers.ts';
import type { PluginServers } from './plugin-servers.ts';
import { closeAll } from './programs.ts';
import type { Proxy } from './programs.ts';
import { framed, joinNetwork, packetTo } from './packets.ts';
import { readExactly, request, startOrigin } from './traffic.ts';
import type { Origin, Seen } from './traffic.ts';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const modulesOf = (plugins: PluginServers) => ({
  ingresses: [{ name: 'ingress', plugin: plugins.plugin('ingress') }],
  sds: [{ name: 'sd', plugin: plugins.plugin('sd') }],
  routers: [{ name: 'router', plugin: plugins.plugin('router') }],
});

function tunnelSuite(transport: PluginTransport): void {
  const tunnelId = randomUUID();
  /** What GOST registered; `sd.get` answers it with the address at which the first machine can be visited. */
  const registered: SdService[] = [];
  let origin: Origin;
  let plugins: PluginServers;
  let first: Proxy;
  let second: Proxy;
  let inside: Proxy | undefined;
  let entrypoints: readonly string[];
  const closing: (() => unknown)[] = [];

  before(async () => {
    origin = await startOrigin();
    closing.push(() => origin.close());
    const endpoints: Record<string, string> = { 'web.test': tunnelId, 'private.test': `$${tunnelId}` };
    plugins = await startPlugins(transport, {
      ingress: { getRule: ({ host }) => endpoints[host.split(':')[0]!], setRule: () => true },
      sd: {
        register: (service) => void registered.push(service),
        renew: () => {},
        deregister: () => {},
        get: ({ name }) =>
          registered.filter((one) => one.name === name).map((one) => ({ ...one, address: entrypoints[0]! })),
      },
    });
    closing.push(() => plugins.close());
    const metadata = { entrypoint: '127.0.0.1:0', ingress: 'ingress', sd: 'sd', 'tunnel.ttl': '1s' };
    const config = {
      services: [{ name: 'tunnel', addr: '127.0.0.1:0', handler: { type: 'tunnel', metadata } }],
      ...modulesOf(plugins),
    };
    first = await startGost(config);
    closing.push(() => first.stop());
    second = await startGost(config);
    closing.push(() => second.stop());
    entrypoints = await Promise.all(
      [first, second].map(async (one) => /entrypoint: (127[^"]+)"/.exec(await one.line(/entrypoint: /))![1]!),
    );
    const chain = (name: string, id: string) => ({
      name,
      hops: [
        {
          name: 'server',
          nodes: [
            {
              ...{ name: 'first', addr: first.address('tunnel'), dialer: { type: 'tcp' } },
              connector: { type: 'tunnel', metadata: { 'tunnel.id': id } },
            },
          ],
        },
      ],
    });
    inside = await startGost({
      services: [
        {
          ...{ name: 'inside', addr: 'my.test:80', handler: { type: 'rtcp' } },
          listener: { type: 'rtcp', chain: 'chain' },
          forwarder: { nodes: [{ name: 'origin', addr: `127.0.0.1:${String(origin.port)}` }] },
        },
        {
          ...{ name: 'visitor', addr: '127.0.0.1:0', handler: { type: 'tcp', chain: 'chain' } },
          forwarder: { nodes: [{ name: 'web', addr: 'web.test:80' }] },
        },
      ],
      chains: [chain('chain', tunnelId)],
    });
    closing.push(() => inside?.stop());
  });
  after(async () => {
    await closeAll(closing);
  });

  const visit = (address: string, host: string) => request(address, '/page', { headers: { host } });

  test('sd and ingress: a tunnel is registered under its own name and the one that it asked for', async () => {
    const [one, ...others] = await plugins.takeUntil('sd.register', (asks) => asks.length > 0);
    assert.deepEqual(others, []);
    const { id, node, ...rest } = one as SdService;
    assert.match(id, uuid);
    assert.match(node, uuid);
    assert.deepEqual(rest, { name: tunnelId, network: 'tcp', address: '127.0.0.1:0' });
    const hash = createHash('md5').update(tunnelId).digest('hex').slice(0, 16);
    assert.deepEqual(plugins.take('ingress.getRule'), [{ host: 'my.test', service: 'tunnel' }]);
    assert.deepEqual(plugins.take('ingress.setRule'), [
      { host: hash, endpoint: tunnelId, service: 'tunnel' },
      { host: 'my.test', endpoint: tunnelId, service: 'tunnel' },
    ]);
  });

  test('ingress: a visitor reaches the tunnel that we name, and nobody without a public rule', async () => {
    const answer = await visit(entrypoints[0]!, 'web.test');
    assert.equal(answer.status, 200);
    assert.equal((JSON.parse(answer.body) as Seen).url, '/page');
    assert.equal((await visit(entrypoints[0]!, 'none.test')).status, 502);
    assert.equal((await visit(entrypoints[0]!, 'private.test')).status, 502);
    assert.deepEqual(
      plugins.take('ingress.getRule'),
      ['web.test:80', 'none.test:80', 'private.test:80'].map((host) => ({ host, service: 'tunnel' })),
    );
  });

  test("ingress: a visitor with GOST's own client is asked for without a port", async () => {
    const answer = await visit(inside!.address('visitor'), 'web.test');
    assert.equal((JSON.parse(answer.body) as Seen).url, '/page');
    assert.deepEqual(plugins.take('ingress.getRule'), [{ host: 'web.test', service: 'tunnel' }]);
  });

  test('sd: a visitor of another machine is led to the address that we give', async () => {
    const answer = await visit(entrypoints[1]!, 'web.test');
    assert.equal(answer.status, 200);
    assert.equal((JSON.parse(answer.body) as Seen).url, '/page');
    assert.deepEqual(plugins.take('sd.get'), [{ name: tunnelId }]);
  });

  test('sd: it is renewed, and gone when its client has gone', async () => {
    const { id, node } = registered[0]!;
    const short = { id, name: tunnelId, node, network: '', address: '' };
    const renewed = await plugins.takeUntil('sd.renew', (asks) => asks.length > 0);
    assert.deepEqual(renewed[0], short);
    await inside!.stop();
    inside = undefined;
    const gone = await plugins.takeUntil('sd.deregister', (asks) => asks.length > 0);
    assert.deepEqual(gone, [short]);
  });
}

function routerSuite(transport: PluginTransport): void {
  const routerId = randomUUID();
  let plugins: PluginServers;
  let gost: Proxy;
  let elsewhere: dgram.Socket;
  const sites: net.Socket[] = [];
  const closing: (() => unknown)[] = [];

  before(async () => {
    elsewhere = dgram.createSocket('udp4').bind(0, '127.0.0.1');
    await once(elsewhere, 'listening');
    closing.push(() => elsewhere.close());
    plugins = await startPlugins(transport, {
      ingress: { getRule: ({ host }) => (host === 'site-x' ? randomUUID() : routerId), setRule: () => true },
      sd: {
        register: () => {},
        renew: () => {},
        deregister: () => {},
        get: ({ name }) => {
          const address = `127.0.0.1:${String(elsewhere.address().port)}`;
          return [{ id: randomUUID(), name, node: randomUUID(), network: 'udp', address }];
        },
      },
      router: {
        getRoute: ({ destination }) =>
          destination.startsWith('10.2.')
            ? { network: '10.2.0.0/16', gateway: 'site-b' }
            : destination.startsWith('10.3.')
              ? { network: '10.3.0.0/16', gateway: 'site-c' }
              : undefined,
      },
    });
    closing.push(() => plugins.close());
    const modules = { ingress: 'ingress', sd: 'sd', router: 'router' };
    const metadata = { ...modules, entrypoint: '127.0.0.1:0', 'sd.renewInterval': '1s' };
    gost = await startGost({
      services: [{ name: 'router', addr: '127.0.0.1:0', handler: { type: 'router', metadata } }],
      ...modulesOf(plugins),
    });
    closing.push(() => gost.stop());
  });
  after(async () => {
    for (const socket of sites) socket.destroy();
    await closeAll(closing);
  });

  /** Joins as a site, and answers the status and the connection. */
  const join = async (site: string) => {
    const joined = await joinNetwork(gost.address('router'), site, routerId);
    sites.push(joined.socket);
    return joined;
  };

  test('ingress and sd: a site is asked for by its name and registered', async () => {
    for (const site of ['site-a', 'site-b']) {
      assert.equal((await join(site)).status, 0);
      assert.deepEqual(plugins.take('ingress.getRule'), [{ host: site, service: 'router' }]);
      const [one] = (await plugins.takeUntil('sd.register', (asks) => asks.length > 0)) as SdService[];
      const { id, node, ...rest } = one!;
      assert.match(id, uuid);
      assert.match(node, uuid);
      assert.deepEqual(rest, { name: `${site}@${routerId}`, network: 'udp', address: '127.0.0.1:0' });
    }
    const unreachable = 6;
    assert.equal((await join('site-x')).status, unreachable);
  });

  test('router: a packet goes to the site that we name, or nowhere', async () => {
    const [siteA, siteB] = sites as [net.Socket, net.Socket];
    const packet = framed(packetTo('10.2.0.5'));
    siteA.write(Buffer.concat([framed(packetTo('10.9.0.9')), packet]));
    assert.deepEqual(await readExactly(siteB, packet.length), packet);
    assert.deepEqual(plugins.take('router.getRoute'), [
      { destination: '10.9.0.9', router: routerId },
      { destination: '10.2.0.5', router: routerId },
    ]);
  });

  test('sd: a packet to a site on another machine goes to the address that we give', async () => {
    const packet = packetTo('10.3.0.7');
    const arrival = once(elsewhere, 'message', { signal: AbortSignal.timeout(15_000) });
    sites[0]!.write(framed(packet));
    const [datagram] = (await arrival) as [Buffer];
    assert.deepEqual(datagram.subarray(-packet.length), packet);
    assert.deepEqual(plugins.take('router.getRoute'), [{ destination: '10.3.0.7', router: routerId }]);
    assert.deepEqual(plugins.take('sd.get'), [{ name: `site-c@${routerId}` }]);
  });

  test('sd: sites are renewed, and gone when they have left', async () => {
    const name = `site-b@${routerId}`;
    const isB = (asks: readonly unknown[]) => asks.some((one) => (one as SdService).name === name);
    const renewed = (await plugins.takeUntil('sd.renew', isB)) as SdService[];
    const { network, address } = renewed.find((one) => one.name === name)!;
    assert.deepEqual([network, address], ['', '']);
    sites[1]!.destroy();
    await plugins.takeUntil('sd.deregister', isB);
  });
}

for (const transport of ['grpc', 'http'] as const) {
  describe(`a real GOST's tunnels ask our modules over ${transport}`, { skip: missingGost }, () =>
    tunnelSuite(transport),
  );
  describe(`a real GOST's router asks our modules over ${transport}`, { skip: missingGost }, () =>
    routerSuite(transport),
  );
}
