// Two nodes of tunnels, a GOST and one of ours, which share one ingress and one service discovery, both served by our SDK: whoever is
// connected to one is visited through the other. What either asks is compared. It needs a built program (`npm run build`).
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import type { PluginTransport, SdService } from '@sallyport/plugin';
import { enter, exchangeDatagrams, startFarEnd, startSecure, visitEcho } from './far-end.ts';
import { missingGost, startGost } from './gost.ts';
import { chainOf, ownAddress } from './links.ts';
import { startPlugins } from './plugin-servers.ts';
import type { PluginServers } from './plugin-servers.ts';
import { closeAll, startSallyport } from './programs.ts';
import type { Proxy } from './programs.ts';
import { dial, exchange, request, startEcho, startOrigin } from './traffic.ts';
import type { Seen } from './traffic.ts';

const programs = { gost: startGost, sallyport: startSallyport };
type Name = keyof typeof programs;
const names = ['gost', 'sallyport'] as const;
const otherOf = (name: Name): Name => (name === 'gost' ? 'sallyport' : 'gost');
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What stands behind a tunnel. */
const kinds = ['web', 'secure', 'raw', 'udp'] as const;
type Kind = (typeof kinds)[number];

/** A tunnel with one connector, at one of the nodes. */
interface Tunnel {
  readonly node: Name;
  readonly make: Name;
  readonly kind: Kind;
  readonly id: string;
  readonly host: string;
  /** An ordinary name in either proxy. */
  readonly name: string;
}

const makeTunnels = (): Tunnel[] =>
  names.flatMap((node) =>
    names.flatMap((make) =>
      kinds.map((kind) => {
        const name = `${kind}-of-${make}-at-${node}`;
        return { node, make, kind, id: randomUUID(), host: `${name}.test`, name };
      }),
    ),
  );

/** The rules and services of both nodes, kept as any ingress and sd would. */
function createStore() {
  const rules = new Map<string, string>();
  const services = new Map<string, SdService>();
  return {
    rules,
    ingress: {
      getRule: ({ host }: { host: string }) => rules.get(host.split(':')[0]!),
      setRule: ({ host, endpoint }: { host: string; endpoint: string }) => {
        rules.set(host, endpoint);
        return true;
      },
    },
    sd: {
      register: (service: SdService) => void services.set(service.id, service),
      renew: () => {},
      deregister: ({ id }: SdService) => void services.delete(id),
      get: ({ name }: { name: string }) => [...services.values()].filter((one) => one.name === name),
    },
  };
}

function nodesSuite(transport: PluginTransport): void {
  const tunnels = makeTunnels();
  const store = createStore();
  const closing: (() => unknown)[] = [];
  let plugins: PluginServers;
  let entrypoints: Readonly<Record<Name, string>>;
  let nodes: Readonly<Record<Name, Proxy>>;
  let visitors: Readonly<Record<Name, Proxy>>;
  let connectors: Record<Name, Proxy>;
  /** What was asked until every tunnel was there. */
  let registered: SdService[];
  let rulesSet: { host: string; endpoint: string; service: string }[];
  let rulesAsked: { host: string; service: string }[];

  const start = async (make: Name, config: Parameters<typeof startSallyport>[0]) => {
    const proxy = await programs[make](config);
    closing.push(() => proxy.stop());
    return proxy;
  };
  const both = async <T>(each: (name: Name) => Promise<T>): Promise<Record<Name, T>> => ({
    gost: await each('gost'),
    sallyport: await each('sallyport'),
  });
  const chainTo = (node: Name, name: string, id: string) =>
    chainOf(name, {
      addr: nodes[node].address(`tunnels-${node}`),
      connector: { type: 'tunnel', metadata: { 'tunnel.id': id } },
      dialer: { type: 'tcp' },
    });

  before(async () => {
    const origin = await startOrigin();
    closing.push(() => origin.close());
    const farEnd = await startFarEnd();
    closing.push(() => farEnd.close());
    const echo = await startEcho();
    closing.push(() => echo.close());
    const secure = await startSecure();
    closing.push(() => secure.close());
    plugins = await startPlugins(transport, { ingress: store.ingress, sd: store.sd });
    closing.push(() => plugins.close());
    const host = ownAddress();
    entrypoints = { gost: `${host}:22000`, sallyport: `${host}:22001` };
    nodes = await both((make) => {
      const shared = { ingress: 'ingress', sd: 'sd', 'tunnel.ttl': '1s' };
      const metadata = { entrypoint: entrypoints[make], ...shared };
      return start(make, {
        services: [{ name: `tunnels-${make}`, addr: '127.0.0.1:0', handler: { type: 'tunnel', metadata } }],
        ingresses: [{ name: 'ingress', plugin: plugins.plugin('ingress') }],
        sds: [{ name: 'sd', plugin: plugins.plugin('sd') }],
      });
    });
    // A visitor comes to the node that has no connector of the tunnel.
    const visited = tunnels.filter(({ kind }) => kind === 'raw' || kind === 'udp');
    visitors = await both((make) =>
      start(make, {
        services: visited.map(({ name, kind, host: wanted }) => ({
          ...{ name, addr: '127.0.0.1:0', handler: { type: kind === 'udp' ? 'udp' : 'tcp', chain: name } },
          listener:
            kind === 'udp' ? { type: 'udp', metadata: { keepalive: true, ttl: '1s' } } : { type: 'tcp' },
          forwarder: { nodes: [{ name: 'end', addr: `${wanted}:7` }] },
        })),
        chains: visited.map(({ node, name, id }) => chainTo(otherOf(node), name, id)),
      }),
    );
    const ends: Readonly<Record<Kind, string>> = {
      web: `127.0.0.1:${String(origin.port)}`,
      ...{ secure: secure.address, raw: farEnd.address, udp: echo.address },
    };
    connectors = await both((make) => {
      const own = tunnels.filter((tunnel) => tunnel.make === make);
      return start(make, {
        services: own.map(({ name, kind, host: wanted }) => ({
          ...{ name, addr: `${wanted}:0`, handler: { type: kind === 'udp' ? 'rudp' : 'rtcp' } },
          listener: { type: kind === 'udp' ? 'rudp' : 'rtcp', chain: name },
          forwarder: { nodes: [{ name: 'end', addr: ends[kind] }] },
        })),
        chains: own.map(({ node, name, id }) => chainTo(node, name, id)),
      });
    });
    const all = (count: number) => (asks: readonly unknown[]) => asks.length >= count;
    registered = (await plugins.takeUntil('sd.register', all(tunnels.length))) as typeof registered;
    rulesSet = (await plugins.takeUntil('ingress.setRule', all(2 * tunnels.length))) as typeof rulesSet;
    rulesAsked = plugins.take('ingress.getRule') as typeof rulesAsked;
  });
  after(async () => {
    await closeAll(closing);
  });

  test('both nodes register tunnels alike: at sd, and at the ingress under two names', () => {
    const hashOf = (id: string) => createHash('md5').update(id).digest('hex').slice(0, 16);
    for (const node of names) {
      const own = tunnels.filter((tunnel) => tunnel.node === node);
      const services = registered.filter(({ address }) => address === entrypoints[node]);
      assert.equal(new Set(services.map((one) => one.node)).size, 1);
      assert.equal(new Set(services.map((one) => one.id)).size, own.length);
      for (const one of services)
        assert.match(
          `${one.id} ${one.node}`,
          new RegExp(`${uuid.source.slice(1, -1)} ${uuid.source.slice(1)}`),
        );
      const service = `tunnels-${node}`;
      const sorted = (list: readonly unknown[]) => list.map((one) => JSON.stringify(one)).sort();
      assert.deepEqual(
        sorted(services.map(({ name, network }) => [name, network])),
        sorted(own.map(({ id, kind }) => [id, kind === 'udp' ? 'udp' : 'tcp'])),
      );
      const fields = ({ host, endpoint, ...rest }: (typeof rulesSet)[0]) => [host, endpoint, rest];
      assert.deepEqual(
        sorted(rulesSet.filter((one) => one.service === service).map(fields)),
        sorted(own.flatMap(({ id, host }) => [hashOf(id), host].map((name) => [name, id, { service }]))),
      );
      // Ours looks once more before it sets a rule, so that none which makes the tunnel private is overwritten.
      const looks = node === 'gost' ? [] : own.flatMap(({ id, host }) => [hashOf(id), host]);
      assert.deepEqual(
        rulesAsked
          .filter((one) => one.service === service)
          .map(({ host }) => host)
          .sort(),
        [...own.map(({ host }) => host), ...looks].sort(),
      );
    }
  });

  for (const node of names) {
    const through = otherOf(node);
    /** What the node that is visited asks: an ingress by this name, and sd. */
    const assertAsked = (host: string, id: string) => {
      const service = `tunnels-${through}`;
      const asked = plugins.take('ingress.getRule') as { service: string }[];
      assert.deepEqual(
        asked.filter((one) => one.service === service),
        [{ host, service }],
      );
      // Ours remembers for a second what it was answered.
      const asks = plugins.take('sd.get');
      if (through === 'gost' || asks.length > 0) assert.deepEqual(asks, [{ name: id }]);
    };
    const tunnelOf = (make: Name, kind: Kind) =>
      tunnels.find((one) => one.node === node && one.make === make && one.kind === kind)!;

    for (const make of names) {
      describe(`a client of ${make}'s at the node of ${node}'s, through that of ${through}'s`, () => {
        test('HTTP by its host', async () => {
          const { host, id } = tunnelOf(make, 'web');
          plugins.forget();
          const { status, body } = await request(entrypoints[through], '/page', { headers: { host } });
          assert.equal(status, 200);
          assert.equal((JSON.parse(body) as Seen).headers['host'], host);
          assertAsked(`${host}:80`, id);
        });

        test('TLS by its name', async () => {
          const { host, id } = tunnelOf(make, 'secure');
          plugins.forget();
          const socket = await dial(entrypoints[through], { servername: host, rejectUnauthorized: false });
          const { body } = await exchange(socket, 'GET', '/');
          assert.equal(body, host);
          assertAsked(`${host}:443`, id);
        });

        for (const visitor of names) {
          test(`a visitor's client of ${visitor}'s`, async () => {
            const { host, id, name } = tunnelOf(make, 'raw');
            plugins.forget();
            const entered = await enter(visitors[visitor].address(name));
            assertAsked(host, id);
            await visitEcho(entered);
          });

          test(`datagrams of a visitor's client of ${visitor}'s`, async () => {
            const { name } = tunnelOf(make, 'udp');
            await exchangeDatagrams(visitors[visitor].address(name), { atOnce: true });
          });
        }
      });
    }

    test(`the node of ${through}'s has nobody who leads to an unknown host`, async () => {
      const { status } = await request(entrypoints[through], '/', { headers: { host: 'none.test' } });
      assert.equal(status, 502);
    });
  }

  test('a private tunnel is private at both', async () => {
    for (const node of names) {
      for (const make of names) {
        const { host, id } = tunnels.find(
          (one) => one.node === node && one.make === make && one.kind === 'web',
        )!;
        store.rules.set(`private.${host}`, `$${id}`);
        for (const at of names) {
          const { status } = await request(entrypoints[at], '/', { headers: { host: `private.${host}` } });
          assert.equal(status, 502);
        }
      }
    }
  });

  test('tunnels are renewed, and gone when their clients have gone', async () => {
    const short = ({ id, name, node }: SdService) => ({ id, name, node, network: '', address: '' });
    // What sd needs to know of one that it has forgotten, ours says again.
    const said = (one: SdService) => (one.address === entrypoints.gost ? short(one) : one);
    plugins.forget();
    const isComplete = (asks: readonly unknown[]) =>
      registered.every(({ id }) => asks.some((ask) => (ask as SdService).id === id));
    const renewed = (await plugins.takeUntil('sd.renew', isComplete)) as SdService[];
    for (const one of registered)
      assert.deepEqual(
        renewed.find(({ id }) => id === one.id),
        said(one),
      );
    for (const name of names) await connectors[name].stop();
    closing.splice(-2);
    const gone = (await plugins.takeUntil('sd.deregister', isComplete)) as SdService[];
    assert.equal(gone.length, registered.length);
    for (const one of registered)
      assert.deepEqual(
        gone.find(({ id }) => id === one.id),
        said(one),
      );
  });
}

for (const transport of ['grpc', 'http'] as const)
  describe(`a GOST and one of ours are nodes that ask over ${transport}`, { skip: missingGost }, () => {
    nodesSuite(transport);
  });
