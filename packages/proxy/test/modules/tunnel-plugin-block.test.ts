// `onError`, `cache` and `timeout` of the plugin block at work, where ingress, sd and router are asked.
import { once } from 'node:events';
import net from 'node:net';
import type { SdService, SetRuleAsk } from '@sallyport/plugin';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSallyport } from '../../../../interop/gost/programs.ts';
import type { Proxy } from '../../../../interop/gost/programs.ts';
import { Cleanup } from '../../src/core/peer.fixture.ts';
import { joinAs } from '../../src/protocols/router/scene.fixture.ts';
import type { TestSite } from '../../src/protocols/router/scene.fixture.ts';
import { ipPacket } from '../../src/wire/packets.fixture.ts';
import { until } from '../tunnels/scene.ts';
import { openGate } from './gate.ts';
import type { Gate } from './gate.ts';
import { blockOf, startPlugins } from './plugins.ts';
import type { Asked, Plugins } from './plugins.ts';
import { ids } from './tunnel-ids.ts';
import { registerClient, visitTunnel } from './tunnel-peers.ts';
import type { Registered } from './tunnel-peers.ts';

/** What the blocks say, by the end of the services' names. */
const settings = {
  plain: {},
  allow: { onError: 'allow' },
  last: { onError: 'lastGood' },
  reply: { onError: 'REPLY' },
  cache: { cache: { ttl: '1h', negativeTtl: '1h' } },
  quick: { timeout: '100ms' },
  patient: { timeout: '3s' },
} as const;
type Setting = keyof typeof settings;
const all = Object.keys(settings) as Setting[];

/** A tunnel that comes while nobody can be told. */
const lateId = '77777777-7777-4777-8777-777777777777';

/** Answers are remembered for a second at tunnels, whatever the block says. */
const rememberedMs = 1100;

describe.each(['grpc', 'http'] as const)('over %s', (transport) => {
  const cleanup = new Cleanup();
  const own = new Cleanup();
  let plugins: Plugins;
  let hung: net.Server;
  let gate: Gate;
  let proxy: Proxy;
  let away: Proxy;
  /** Sites of the routers, by setting: who sends, and who is sent to. */
  const sites = new Map<Setting, { a: TestSite; b: TestSite }>();
  const portOf = (address: string) => Number(address.slice(address.lastIndexOf(':') + 1));
  const entrypointOf = (of: Proxy, service: string) =>
    new RegExp(`"service":"${service}","msg":"tunnels have[^"]* (\\S+:\\d+)"`).exec(of.log())![1]!;
  const service = (name: string, type: string, metadata: object) => ({
    ...{ name, addr: '127.0.0.1:0', handler: { type, metadata }, listener: { type: 'tcp' } },
  });
  const entrypoint = '127.0.0.1:0';
  const visit = async (name: string, host: string) => {
    const at = portOf(entrypointOf(proxy, name));
    return visitTunnel(own, { way: 'HTTP', host, tunnel: '', ports: { service: 0, entrypoint: at } });
  };
  const outcome = async (name: string, host: string) => (await visit(name, host)).outcome;
  const count = (method: string, isIt: (ask: never) => boolean = () => true) =>
    plugins.history.filter((one) => one[0] === method && isIt(one[1] as never)).length;

  beforeAll(async () => {
    const rules = [{ hostname: 'away.test', endpoint: ids.away }];
    away = await startSallyport({
      services: [service('away', 'tunnel', { entrypoint, ingress: 'rules' })],
      ingresses: [{ name: 'rules', rules }],
    });
    cleanup.add(away, (open) => open.stop());
    await registerClient(cleanup, portOf(away.address('away')), { tunnel: ids.away });
    const place = {
      ...{ id: ids.away, name: ids.away, node: 'eeeeeeee-0000-4000-8000-000000000002' },
      ...{ network: 'tcp', address: entrypointOf(away, 'away') },
    };
    plugins = await startPlugins(transport, {
      ingress: {
        getRule: ({ host }) => (host.startsWith('web.test') ? ids.here : undefined),
        setRule: () => true,
      },
      sd: {
        register: () => undefined,
        renew: () => undefined,
        deregister: () => undefined,
        get: ({ name }) => (name === ids.away ? [place] : []),
      },
      router: {
        getRoute: ({ destination }) => ({ network: destination, gateway: 'site-b' }),
      },
    });
    cleanup.add(plugins, (open) => open.close());
    const octet = transport === 'grpc' ? 1 : 2;
    gate = cleanup.add(await openGate(`127.79.0.${String(octet)}`), (open) => open.close());
    await gate.lead(plugins.port);
    hung = cleanup.add(net.createServer(), (open) => open.close());
    // Whoever asks is heard, and never answered.
    hung.on('connection', (socket) => cleanup.add(socket.resume(), (open) => open.destroy()));
    hung.listen(0, '127.0.0.1');
    await once(hung, 'listening');
    const block = (kind: 'ingress' | 'sd' | 'router', setting: Setting, reply: object) => ({
      name: `${kind}-${setting}`,
      plugin: {
        ...blockOf(transport, gate.addr, kind),
        ...(JSON.parse(
          JSON.stringify(settings[setting]).replace('"REPLY"', JSON.stringify({ reply })),
        ) as object),
      },
    });
    proxy = await startSallyport({
      services: all.flatMap((setting) => [
        service(`ingress-${setting}`, 'tunnel', { entrypoint, ingress: `ingress-${setting}` }),
        service(`sd-${setting}`, 'tunnel', {
          entrypoint,
          ingress: 'rules',
          sd: `sd-${setting}`,
          'tunnel.ttl': '1h',
        }),
        service(`router-${setting}`, 'router', {
          router: `router-${setting}`,
          'router.cache.expiration': '1ms',
        }),
      ]),
      ingresses: [
        { name: 'rules', rules: [...rules, { hostname: 'none.test', endpoint: ids.public }] },
        ...all.map((setting) => block('ingress', setting, { endpoint: ids.here })),
      ],
      sds: all.map((setting) => block('sd', setting, { services: [place] })),
      routers: all.map((setting) => block('router', setting, { dst: '10.0.0.0/8', gateway: 'site-b' })),
    });
    cleanup.add(proxy, (open) => open.stop());
    for (const setting of all) {
      await registerClient(cleanup, portOf(proxy.address(`ingress-${setting}`)), { tunnel: ids.here });
      const port = portOf(proxy.address(`router-${setting}`));
      const [a, b] = [await joinAs(cleanup, port, 'site-a'), await joinAs(cleanup, port, 'site-b')];
      sites.set(setting, { a, b });
    }
    await until(() => count('ingress.setRule') === all.length, 'every rule');
  }, 60_000);
  afterAll(async () => {
    await own.run();
    await cleanup.run();
  });

  /** A packet that arrives. */
  async function send(setting: Setting, destination: string): Promise<void> {
    const { a, b } = sites.get(setting)!;
    const packet = ipPacket('10.1.0.2', destination, setting);
    a.send(packet);
    expect(await b.next()).toEqual(packet);
  }

  /** Visits all the time for longer than a tunnel's place is remembered anyway. */
  async function visitOn(name: string, host: string): Promise<Set<string>> {
    const outcomes = new Set<string>();
    for (const since = performance.now(); performance.now() - since < rememberedMs;)
      outcomes.add(await outcome(name, host));
    return outcomes;
  }

  test('`cache`: what was answered is not asked again, also a no', async () => {
    const isOf = (name: string, host: string) => (ask: { host: string; service: string }) =>
      ask.service === name && ask.host.startsWith(host);
    for (let i = 0; i < 3; i++) {
      expect(await outcome('ingress-cache', 'web.test')).toBe('ok');
      expect(await outcome('ingress-cache', 'unknown.test')).toBe('HTTP 502');
      expect(await outcome('ingress-plain', 'web.test')).toBe('ok');
    }
    expect(count('ingress.getRule', isOf('ingress-cache', 'web.test'))).toBe(1);
    expect(count('ingress.getRule', isOf('ingress-cache', 'unknown.test'))).toBe(1);
    expect(count('ingress.getRule', isOf('ingress-plain', 'web.test'))).toBe(3);
    const before = count('sd.get');
    expect(await visitOn('sd-cache', 'away.test')).toEqual(new Set(['ok']));
    expect(await visitOn('sd-cache', 'none.test')).toEqual(new Set(['HTTP 503']));
    expect(count('sd.get') - before).toBe(2);
    const asked = count('router.getRoute');
    for (let i = 0; i < 3; i++) {
      await send('cache', '10.2.0.1');
      // What the router itself remembers is over by then.
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(count('router.getRoute') - asked).toBe(1);
  });

  describe('with nobody there', () => {
    const registered: Registered[] = [];

    beforeAll(async () => {
      for (const setting of all) {
        expect(await outcome(`ingress-${setting}`, 'web.test')).toBe('ok');
        expect(await outcome(`sd-${setting}`, 'away.test')).toBe('ok');
        await send(setting, '10.2.0.1');
      }
      await gate.lead(undefined);
      for (const kind of ['ingress', 'sd'])
        for (const setting of ['allow', 'last', 'reply'])
          registered.push(
            await registerClient(own, portOf(proxy.address(`${kind}-${setting}`)), { tunnel: lateId }),
          );
    });

    test('`lastGood`: what was answered last counts, and what was never answered does not', async () => {
      expect(await outcome('ingress-last', 'web.test')).toBe('ok');
      expect(await outcome('ingress-last', 'unknown.test')).toBe('HTTP 502');
      expect(await visitOn('sd-last', 'away.test')).toEqual(new Set(['ok']));
      expect(await outcome('sd-last', 'none.test')).toBe('HTTP 503');
      await send('last', '10.2.0.1');
    });

    test('`reply`: that counts, whatever is asked', async () => {
      expect(await outcome('ingress-reply', 'anything.test')).toBe('ok');
      expect(await visitOn('sd-reply', 'away.test')).toEqual(new Set(['ok']));
      await send('reply', '10.200.0.1');
    });

    test('by default, and with `allow`, nothing leads anywhere', async () => {
      for (const setting of ['plain', 'allow']) {
        expect(await outcome(`ingress-${setting}`, 'web.test')).toBe('HTTP 502');
        await until(
          async () => (await outcome(`sd-${setting}`, 'away.test')) === 'HTTP 503',
          'what was remembered to end',
        );
      }
    });

    test('what was to be told is told when somebody is there, whatever `onError` says', async () => {
      await gate.lead(plugins.port);
      const isTold = (one: Asked) => {
        const [method, ask] = one;
        if (method === 'ingress.setRule')
          return (ask as SetRuleAsk).endpoint === lateId && (ask as SetRuleAsk).service;
        if (method === 'sd.register') return (ask as SdService).id;
        return false;
      };
      const wanted = [
        ...['allow', 'last', 'reply'].map((setting) => `ingress-${setting}`),
        ...registered.slice(3).map(({ id }) => id),
      ];
      const told = () => new Set(plugins.history.map(isTold));
      await until(() => wanted.every((one) => told().has(one)), 'what was to be told');
    });
  });

  test('`timeout`: a plugin that hangs is waited for so long and no longer', async () => {
    await gate.lead((hung.address() as net.AddressInfo).port);
    const quick = await Promise.all(
      ['ingress-quick', 'sd-quick'].map((name) =>
        visit(name, name.startsWith('sd') ? 'away.test' : 'web.test'),
      ),
    );
    const [patient] = await Promise.all([visit('ingress-patient', 'web.test')]);
    expect(quick.map((one) => one.outcome)).toEqual(['HTTP 502', 'HTTP 503']);
    for (const { ms } of quick) expect(ms).toBeLessThan(2000);
    expect(patient.outcome).toBe('HTTP 502');
    expect(patient.ms).toBeGreaterThan(2500);
    expect(patient.ms).toBeLessThan(6000);
  });
});
