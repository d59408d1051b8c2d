// Ingress, sd and router at their real place, through the real binary: as built-in, over gRPC and over HTTP. What a plugin is asked
// is what a real GOST asks it there, and who visits, registers or joins sees what it answered.
import { createHash } from 'node:crypto';
import type { SdService } from '@sallyport/plugin';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startSallyport } from '../../../../interop/gost/programs.ts';
import type { Proxy } from '../../../../interop/gost/programs.ts';
import { Cleanup } from '../../src/core/peer.fixture.ts';
import { join, joinAs, joins } from '../../src/protocols/router/scene.fixture.ts';
import { ipPacket } from '../../src/wire/packets.fixture.ts';
import { fieldsOf, goldenFields, hasGolden } from './golden-requests.ts';
import type { Variant } from './modules-config.ts';
import { startPlugins } from './plugins.ts';
import type { Asked, Plugins } from './plugins.ts';
import { ids, routerId } from './tunnel-ids.ts';
import { registerClient, tunnelWays, visitTunnel } from './tunnel-peers.ts';
import type { TunnelWay } from './tunnel-peers.ts';
import { answersOf, privateId, tunnelsConfig } from './tunnels-config.ts';
import type { Beside } from './tunnels-config.ts';

const variants: readonly Variant[] = ['built-in', 'grpc', 'http'];
const hashOf = (id: string) => createHash('md5').update(id).digest('hex').slice(0, 16);
const uuid = expect.stringMatching(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/) as string;

/** A host, what each way of coming says, and what becomes of it. */
interface VisitRow {
  readonly title: string;
  readonly host: string;
  /** What a visitor of the relay protocol says. */
  readonly tunnel: Readonly<Record<'relay' | 'CONNECT', string>>;
  readonly outcome: Readonly<Record<TunnelWay, string>>;
  /** Without sd, where that makes a difference. */
  readonly alone?: Readonly<Record<TunnelWay, string>>;
  /** Which tunnel sd is asked for. */
  readonly sought?: string;
  /** Where GOST asked the same. */
  readonly golden?: Readonly<Partial<Record<TunnelWay, string>>>;
}

const fine = { HTTP: 'ok', TLS: 'ok', relay: 'ok', CONNECT: 'ok' } as const;
const visits: readonly VisitRow[] = [
  {
    title: 'a host of a tunnel that is here',
    host: 'web.test',
    tunnel: { relay: ids.public, CONNECT: ids.here },
    outcome: fine,
    golden: { HTTP: 'tunnel entrypoint, HTTP visitor', CONNECT: 'tunnel handler, visitor (CONNECT)' },
  },
  {
    title: 'another of the same tunnel, by visitors that know its id',
    host: 'plugin.test',
    tunnel: { relay: ids.here, CONNECT: ids.here },
    outcome: fine,
    golden: { TLS: 'tunnel entrypoint, TLS visitor' },
  },
  {
    title: 'a host of no tunnel',
    host: 'unknown.test',
    tunnel: { relay: ids.public, CONNECT: ids.here },
    outcome: { HTTP: 'HTTP 502', TLS: 'closed', relay: 'relay 7', CONNECT: 'relay 6' },
  },
  {
    title: 'a host of a private tunnel: who says its id at the service itself gets in',
    host: 'private.test',
    tunnel: { relay: ids.public, CONNECT: privateId },
    outcome: { HTTP: 'HTTP 502', TLS: 'closed', relay: 'relay 6', CONNECT: 'ok' },
  },
  {
    title: 'a host of another tunnel than the visitor says',
    host: 'plugin.test',
    tunnel: { relay: privateId, CONNECT: privateId },
    outcome: { ...fine, relay: 'relay 6', CONNECT: 'relay 6' },
  },
  {
    title: 'a host of a tunnel that another node has',
    host: 'away.test',
    tunnel: { relay: ids.public, CONNECT: ids.away },
    outcome: fine,
    alone: { HTTP: 'HTTP 503', TLS: 'closed', relay: 'relay 5', CONNECT: 'relay 5' },
    sought: ids.away,
  },
];

describe.each(variants)('%s', (variant) => {
  const beside: Beside = { tunnel: '', gateway: '' };
  const cleanup = new Cleanup();
  const own = new Cleanup();
  let plugins: Plugins | undefined;
  let proxy: Proxy;
  const isBuiltIn = variant === 'built-in';
  const portOf = (address: string) => Number(address.slice(address.lastIndexOf(':') + 1));
  const entrypointOf = (service: string) =>
    new RegExp(`"service":"${service}","msg":"(?:tunnels have|packets of)[^"]* (\\S+:\\d+)"`).exec(
      proxy.log(),
    )![1]!;
  const tunnelPort = () => portOf(proxy.address('svc-tun'));
  const routerPort = () => portOf(proxy.address('svc-rt'));
  /** What was asked since it was last taken, of the modules that do not speak by themselves. */
  const asked = () => plugins?.take('ingress', 'router');
  const isGolden = (one: Asked, callSite: string) => {
    if (!hasGolden) return;
    expect(fieldsOf(one), callSite).toEqual(goldenFields(one[0].split('.')[0] as 'sd', callSite));
  };

  beforeAll(async () => {
    if (!isBuiltIn)
      plugins = cleanup.add(await startPlugins(variant, answersOf(beside)), (open) => open.close());
    proxy = cleanup.add(await startSallyport(tunnelsConfig(variant, plugins)), (open) => open.stop());
    beside.tunnel = entrypointOf('away-tun');
    beside.gateway = entrypointOf('away-rt');
    await registerClient(cleanup, portOf(proxy.address('away-tun')), { tunnel: ids.away });
    for (const tunnel of [ids.here, privateId]) await registerClient(cleanup, tunnelPort(), { tunnel });
    // Each has told its name before anything else is asked.
    const isSet = ([method]: Asked) => method === 'ingress.setRule';
    await plugins?.takeUntil('ingress', () => plugins!.history.filter(isSet).length === 2);
  });
  afterAll(() => cleanup.run());
  afterEach(async () => {
    await own.run();
    expect(plugins?.problems ?? []).toEqual([]);
  });

  describe('visitors', () => {
    describe.each(visits)('$title', ({ host, tunnel, outcome, alone, sought, golden }) => {
      test.each(tunnelWays)('%s', async (way) => {
        plugins?.take();
        const visited = await visitTunnel(own, {
          ...{ way, host, tunnel: way === 'relay' || way === 'CONNECT' ? tunnel[way] : '' },
          ports: { service: tunnelPort(), entrypoint: portOf(entrypointOf('svc-tun')) },
        });
        expect(visited.outcome).toBe((isBuiltIn ? (alone ?? outcome) : outcome)[way]);
        if (plugins === undefined) return;
        const port = { HTTP: ':80', TLS: ':443', relay: '', CONNECT: '' }[way];
        const questions = asked()!;
        expect(questions).toEqual([['ingress.getRule', { host: `${host}${port}`, service: 'svc-tun' }]]);
        const callSite = golden?.[way];
        if (callSite !== undefined) isGolden(questions[0]!, callSite);
        const sdAsked = plugins.take('sd').filter(([method]) => method === 'sd.get');
        // Where a tunnel is counts for a second, whoever asks.
        if (sdAsked.length > 0) isGolden(sdAsked[0]!, 'tunnel entrypoint, no local client');
        const isSought = sought !== undefined;
        expect(sdAsked).toEqual(sdAsked.length === 0 || !isSought ? [] : [['sd.get', { name: sought }]]);
        if (isSought) expect(plugins.history).toContainEqual(['sd.get', { name: sought }]);
      });
    });
  });

  describe('who registers', () => {
    const id = '77777777-7777-4777-8777-777777777777';

    test('is known by sixteen characters, and ingress is told them', async () => {
      plugins?.take();
      const { name } = await registerClient(own, tunnelPort(), { tunnel: id });
      expect(name).toBe(hashOf(id));
      if (plugins === undefined) return;
      const isSet = ([method, ask]: Asked) =>
        method === 'ingress.setRule' && (ask as { endpoint: string }).endpoint === id;
      await plugins.takeUntil('ingress', () => plugins!.history.some(isSet));
      const rule = plugins.history.find(isSet)!;
      expect(rule[1]).toEqual({ host: name, endpoint: id, service: 'svc-tun' });
      isGolden(rule, 'tunnel handler, a client registered');
    });

    test('gets the name that it wants where nobody has it', async () => {
      plugins?.take();
      const { name } = await registerClient(own, tunnelPort(), { tunnel: id, host: 'my.test' });
      expect(name).toBe('my.test');
      if (plugins === undefined) return;
      const isOfName = ([method, ask]: Asked) =>
        method === 'ingress.setRule' && (ask as { host: string }).host === 'my.test';
      const [first] = await plugins.takeUntil('ingress', () => plugins!.history.some(isOfName));
      isGolden(['ingress.getRule', first], 'tunnel handler, conflict check of a host name');
      isGolden(
        plugins.history.find(isOfName)!,
        'tunnel handler, a client registered with a host name of its own',
      );
    });

    test('does not get a name that another tunnel has', async () => {
      const { name } = await registerClient(own, tunnelPort(), { tunnel: id, host: 'taken.test' });
      expect(name).toBe(hashOf(id));
    });

    test.skipIf(isBuiltIn).each(['tcp', 'udp'] as const)(
      'sd hears of it, with all fields: %s',
      async (network) => {
        plugins!.take();
        const client = await registerClient(own, tunnelPort(), { tunnel: id, network });
        const isOf = ([, ask]: Asked) => (ask as SdService).id === client.id;
        const said = (verb: string) => plugins!.history.filter((one) => one[0] === `sd.${verb}` && isOf(one));
        await plugins!.takeUntil('sd', () => said('renew').length > 0);
        client.leave();
        await plugins!.takeUntil('sd', () => said('deregister').length > 0);
        const whole = {
          ...{ id: client.id, name: id, node: uuid, network, address: entrypointOf('svc-tun') },
        };
        const callSite = `tunnel handler, a ${network === 'udp' ? 'UDP client' : 'client'} registered`;
        for (const one of plugins!.history.filter(isOf)) {
          expect(one[1]).toEqual(whole);
          // GOST leaves out two of the fields when it renews and when it takes leave.
          isGolden(one, callSite);
        }
      },
    );
  });

  describe('a virtual network', () => {
    const packet = (to: string, text: string) =>
      ipPacket(to.includes(':') ? 'fd00:1::2' : '10.1.0.2', to, text);

    test('a site joins where the rule of its name leads to the router', async () => {
      plugins?.take();
      const site = await joinAs(own, routerPort(), 'site-a');
      expect(site.status).toBe(0);
      if (plugins === undefined) return;
      const questions = asked()!;
      expect(questions).toEqual([['ingress.getRule', { host: 'site-a', service: 'svc-rt' }]]);
      isGolden(questions[0]!, 'router handler, a site joins');
    });

    test.each(['site-x', 'site-unknown'])('and where it does not, it does not: %s', async (gateway) => {
      plugins?.take();
      const { status } = await join(own, routerPort(), joins(gateway));
      expect(status).toBe(6);
      if (plugins !== undefined)
        expect(asked()).toEqual([['ingress.getRule', { host: gateway, service: 'svc-rt' }]]);
    });

    test.each(['10.2.0.5', 'fd00:2::5'])('packets go where the route says: %s', async (destination) => {
      const [a, b] = [await joinAs(own, routerPort(), 'site-a'), await joinAs(own, routerPort(), 'site-b')];
      plugins?.take();
      const sent = ['one', 'two', 'three'].map((text) => packet(destination, text));
      a.send(...sent);
      for (const one of sent) expect(await b.next()).toEqual(one);
      if (plugins === undefined) return;
      const questions = asked()!;
      expect(questions).toEqual([['router.getRoute', { destination, router: routerId }]]);
      if (destination === '10.2.0.5') isGolden(questions[0]!, 'router handler, IPv4 packet');
    });

    test('a packet without a route is dropped, and the next one goes on', async () => {
      const [a, b] = [await joinAs(own, routerPort(), 'site-a'), await joinAs(own, routerPort(), 'site-b')];
      a.send(packet('10.9.9.9', 'lost'), packet('10.2.0.6', 'found'));
      expect(await b.next()).toEqual(packet('10.2.0.6', 'found'));
      if (plugins !== undefined)
        expect(asked()).toContainEqual(['router.getRoute', { destination: '10.9.9.9', router: routerId }]);
    });

    test.skipIf(isBuiltIn)('a gateway of another node is found by sd', async () => {
      const far = await joinAs(own, portOf(proxy.address('away-rt')), 'site-far');
      const a = await joinAs(own, routerPort(), 'site-a');
      plugins!.take();
      a.send(packet('10.3.0.1', 'far'));
      expect(await far.next()).toEqual(packet('10.3.0.1', 'far'));
      const [question] = plugins!.take('sd').filter(([method]) => method === 'sd.get');
      expect(question).toEqual(['sd.get', { name: `site-far@${routerId}` }]);
      if (hasGolden)
        expect(JSON.stringify(fieldsOf(question!))).toBe(
          JSON.stringify(goldenFields('sd', 'router handler, gateway on another node')).replace(
            'site-b',
            'site-far',
          ),
        );
    });

    test.skipIf(isBuiltIn)('sd hears of a site, with all fields', async () => {
      const site = await joinAs(own, routerPort(), 'site-b');
      const isOf = ([, ask]: Asked) => (ask as SdService).id === site.connector;
      const said = (verb: string) => plugins!.history.filter((one) => one[0] === `sd.${verb}` && isOf(one));
      await plugins!.takeUntil('sd', () => said('renew').length > 0);
      site.socket.destroy();
      await plugins!.takeUntil('sd', () => said('deregister').length > 0);
      const whole = {
        ...{ id: uuid, name: `site-b@${routerId}`, node: uuid },
        ...{ network: 'udp', address: entrypointOf('svc-rt') },
      };
      for (const one of plugins!.history.filter(isOf)) {
        expect(one[1]).toEqual(whole);
        isGolden(one, 'router handler, a site joined');
      }
    });
  });
});
