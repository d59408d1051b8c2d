// Two nodes of a private network, a GOST and one of ours, which share an ingress, a service discovery and a router: packets of a site
// at one reach a site at the other. Proved by frames alone, without a device. It needs a built program (`npm run build`).
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import type net from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { PluginTransport, SdService } from '@sallyport/plugin';
import { missingGost, startGost } from './gost.ts';
import { ownAddress } from './links.ts';
import { framed, joinNetwork, packetTo } from './packets.ts';
import { startPlugins } from './plugin-servers.ts';
import type { PluginServers } from './plugin-servers.ts';
import { closeAll, startSallyport } from './programs.ts';
import type { Proxy } from './programs.ts';
import { readExactly } from './traffic.ts';

const programs = { gost: startGost, sallyport: startSallyport };
type Name = keyof typeof programs;
const names = ['gost', 'sallyport'] as const;
const otherOf = (name: Name): Name => (name === 'gost' ? 'sallyport' : 'gost');
/** A host in the network behind each node's site, which is called as its node. */
const hosts = { gost: '10.1.0.5', sallyport: '10.2.0.5' } as const;

function nodesSuite(transport: PluginTransport): void {
  const routerId = randomUUID();
  const services = new Map<string, SdService>();
  const nameOf = (site: Name) => `${site}@${routerId}`;
  const closing: (() => unknown)[] = [];
  let plugins: PluginServers;
  let sites: Record<Name, net.Socket>;
  let registered: SdService[];
  const host = ownAddress();
  const entrypoints = { gost: `${host}:24000`, sallyport: `${host}:24001` };
  const nodes = new Map<Name, Proxy>();

  const join = async (name: Name) => {
    const { status, socket } = await joinNetwork(nodes.get(name)!.address('router'), name, routerId);
    closing.push(() => socket.destroy());
    assert.equal(status, 0);
    return socket;
  };

  before(async () => {
    plugins = await startPlugins(transport, {
      ingress: { getRule: () => routerId, setRule: () => true },
      sd: {
        register: (service) => void services.set(service.id, service),
        renew: () => {},
        deregister: ({ id }) => void services.delete(id),
        get: ({ name }) => [...services.values()].filter((one) => one.name === name),
      },
      router: {
        getRoute: ({ destination }) => {
          const gateway = names.find((name) => destination === hosts[name]);
          return gateway && { network: destination, gateway };
        },
      },
    });
    closing.push(() => plugins.close());
    const modules = { ingress: 'ingress', sd: 'sd', router: 'router' };
    for (const name of names) {
      const metadata = { ...modules, entrypoint: entrypoints[name], 'sd.renewInterval': '1s' };
      const node = await programs[name]({
        services: [{ name: 'router', addr: '127.0.0.1:0', handler: { type: 'router', metadata } }],
        ingresses: [{ name: 'ingress', plugin: plugins.plugin('ingress') }],
        sds: [{ name: 'sd', plugin: plugins.plugin('sd') }],
        routers: [{ name: 'router', plugin: plugins.plugin('router') }],
      });
      closing.push(() => node.stop());
      nodes.set(name, node);
    }
    sites = { gost: await join('gost'), sallyport: await join('sallyport') };
    registered = (await plugins.takeUntil('sd.register', (asks) => asks.length >= 2)) as SdService[];
  });
  after(async () => {
    await closeAll(closing);
  });

  test('both nodes ask for a site by its name, and register it alike', () => {
    assert.deepEqual(
      plugins.take('ingress.getRule'),
      names.map((host) => ({ host, service: 'router' })),
    );
    for (const name of names) {
      const { network, address } = registered.find((one) => one.name === nameOf(name))!;
      assert.deepEqual({ network, address }, { network: 'udp', address: entrypoints[name] });
    }
    assert.equal(new Set(registered.flatMap(({ id, node }) => [id, node])).size, 4);
  });

  for (const from of names) {
    const to = otherOf(from);
    test(`packets of a site at the node of ${from}'s reach the one at that of ${to}'s`, async () => {
      plugins.forget();
      const lost = packetTo('10.9.0.9');
      const packets = Array.from({ length: 20 }, (_, index) => packetTo(hosts[to], randomBytes(40 * index)));
      const sent = packets.map(framed);
      sites[from].write(framed(lost));
      for (const packet of sent) {
        sites[from].write(packet);
        assert.deepEqual(await readExactly(sites[to], packet.length), packet);
      }
      // GOST asks for each packet, ours for each destination.
      const routes = plugins.take('router.getRoute').map((ask) => JSON.stringify(ask));
      const expected = ['10.9.0.9', hosts[to]].map((destination) =>
        JSON.stringify({ destination, router: routerId }),
      );
      assert.deepEqual([...new Set(routes)], expected);
      if (from === 'gost') assert.equal(routes.length, 1 + packets.length);
      assert.deepEqual(plugins.take('sd.get'), [{ name: nameOf(to) }]);
    });
  }

  test('sites are renewed, and gone when they have left', async () => {
    const short = ({ id, name, node }: SdService) => ({ id, name, node, network: '', address: '' });
    // What sd needs to know of one that it has forgotten, ours says again.
    const said = (one: SdService) => (one.address === entrypoints.gost ? short(one) : one);
    const isComplete = (asks: readonly unknown[]) =>
      registered.every(({ id }) => asks.some((ask) => (ask as SdService).id === id));
    const renewed = (await plugins.takeUntil('sd.renew', isComplete)) as SdService[];
    for (const name of names) sites[name].destroy();
    const gone = (await plugins.takeUntil('sd.deregister', isComplete)) as SdService[];
    for (const one of registered) {
      assert.deepEqual(
        renewed.find(({ id }) => id === one.id),
        said(one),
      );
      assert.equal(gone.filter(({ id }) => id === one.id).length, 1);
    }
  });
}

for (const transport of ['grpc', 'http'] as const)
  describe(`routers of a GOST and of ours ask over ${transport}`, { skip: missingGost }, () => {
    nodesSuite(transport);
  });
