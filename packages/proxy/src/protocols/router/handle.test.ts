import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import type { PolicyOf } from '../../core/policies.ts';
import { Cleanup } from '../../core/peer.fixture.ts';
import { threadWheel } from '../../core/wheel.ts';
import { formatRelayDatagram } from '../../wire/relay.ts';
import { ipPacket } from '../../wire/packets.fixture.ts';
import {
  anotherId,
  join,
  joinAs,
  joins,
  routerId,
  routes,
  routesTo,
  serviceOf,
  startRouterService,
  toA,
  toB,
  twoSites,
} from './scene.fixture.ts';
import type { Networks } from './networks.ts';
import type { TestModules } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

describe('a network', () => {
  test('carries packets to the gateway of their route, of both families and both ways', async () => {
    const { a, b } = await twoSites(cleanup);
    expect([a.status, b.status]).toEqual([0, 0]);
    expect(a.connector).not.toBe(b.connector);
    a.send(toB('one'));
    expect(await b.next()).toEqual(toB('one'));
    b.send(toA('two'));
    expect(await a.next()).toEqual(toA('two'));
    const six = ipPacket('fd00:1::2', 'fd00:2::5', 'three');
    a.send(six);
    expect(await b.next()).toEqual(six);
  });

  test('asks about a destination once, and its packets wait in their order', async () => {
    const asked: string[] = [];
    const { a, b, service } = await twoSites(cleanup, routesTo(routes, asked));
    const sent = Array.from({ length: 50 }, (_, index) => toB(`packet ${String(index)}`));
    a.send(...sent);
    for (const packet of sent) expect(await b.next()).toEqual(packet);
    expect(asked).toEqual(['10.2.0.5']);
    expect(await service.event('decided', ({ module }) => module === 'router')).toMatchObject({
      outcome: 'yes',
      about: '10.2.0.5',
      answer: '10.2.0.5 via site-b',
    });
  });

  test('drops what has no route, what is no packet, and what nobody is there for', async () => {
    const asked: string[] = [];
    const { service, a, b } = await twoSites(
      cleanup,
      routesTo({ ...routes, '10.3.0.1': 'site-c', '10.4.0.1': '' }, asked),
    );
    const lost = ['10.9.9.9', '10.9.9.9', '10.3.0.1', '10.4.0.1'].map((to) => ipPacket('10.1.0.2', to));
    a.send(...lost, Buffer.alloc(0), Buffer.from('no packet'), toB('cut').subarray(0, 21), toB('whole'));
    expect(await b.next()).toEqual(toB('whole'));
    expect(b.waiting).toEqual([]);
    expect(asked).toEqual(['10.9.9.9', '10.3.0.1', '10.4.0.1', '10.2.0.5']);
    a.socket.end();
    const { traffic } = await service.event('closed', ({ user }) => user.startsWith('site-a'));
    expect(traffic.dropped).toBe(7);
  });

  test('packets arrive whole, however the connection cuts them', async () => {
    const { a, b } = await twoSites(cleanup);
    const big = toB('x'.repeat(30_000));
    const frames = Buffer.concat([big, toB('small'), big].map(formatRelayDatagram));
    for (const piece of [frames.subarray(0, 1), frames.subarray(1, 20_000), frames.subarray(20_000)]) {
      a.socket.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const packet of [big, toB('small'), big]) expect(await b.next()).toEqual(packet);
  });

  test('the router that is called as the network is asked first, then the one that the handler names', async () => {
    const [own, named]: string[][] = [[], []];
    const service = await serviceOf(cleanup, routesTo(routes, named), {
      modules: { router: { [routerId]: routesTo({ '10.7.0.1': 'site-b' }, own) } },
    });
    const a = await joinAs(cleanup, service.port, 'site-a');
    const b = await joinAs(cleanup, service.port, 'site-b');
    const special = ipPacket('10.1.0.2', '10.7.0.1');
    a.send(special);
    expect(await b.next()).toEqual(special);
    a.send(toB('other'));
    expect(await b.next()).toEqual(toB('other'));
    expect([own, named]).toEqual([['10.7.0.1', '10.2.0.5'], ['10.2.0.5']]);
  });

  test('without a router there is no route', async () => {
    const service = await startRouterService(cleanup);
    const a = await joinAs(cleanup, service.port, 'site-a');
    const b = await joinAs(cleanup, service.port, 'site-b');
    a.send(toB('lost'));
    a.socket.end();
    await a.closed;
    expect(b.waiting).toEqual([]);
  });

  test('two tenants with the same destinations never meet', async () => {
    const asked: [string, string][] = [];
    const getRoute: PolicyOf<'router'>['getRoute'] = ({ destination, router }) => {
      asked.push([router, destination]);
      return { network: '10.2.0.0/16', gateway: 'site-b' };
    };
    const { service, a, b } = await twoSites(cleanup, { getRoute });
    const other = anotherId();
    const [a2, b2] = [
      await joinAs(cleanup, service.port, 'site-a', other),
      await joinAs(cleanup, service.port, 'site-b', other),
    ];
    a.send(toB('first'));
    a2.send(toB('second'));
    expect(await b.next()).toEqual(toB('first'));
    expect(await b2.next()).toEqual(toB('second'));
    expect([b.waiting, b2.waiting]).toEqual([[], []]);
    expect(asked.map(([router]) => router).sort()).toEqual([routerId, other].sort());
  });

  test('a site with several connections: a conversation goes through one, and all are used', async () => {
    const getRoute = () => ({ network: '10.2.0.0/16', gateway: 'site-b' });
    const { service, a, b } = await twoSites(cleanup, { getRoute });
    const more = await joinAs(cleanup, service.port, 'site-b');
    for (let host = 1; host <= 40; host++) {
      const to = `10.2.0.${String(host)}`;
      a.send(ipPacket('10.1.0.2', to, 'one'), ipPacket('10.1.0.2', to, 'two'));
    }
    while (b.waiting.length + more.waiting.length < 80) await new Promise((resolve) => setImmediate(resolve));
    const hosts = (site: typeof b) => new Set(site.waiting.map((packet) => packet[19]));
    expect(hosts(b).size + hosts(more).size).toBe(40);
    expect(Math.min(hosts(b).size, hosts(more).size)).toBeGreaterThan(5);
    // One leaves, and the other has everything.
    more.socket.end();
    await more.closed;
    a.send(...Array.from({ length: 10 }, (_, host) => ipPacket('10.1.0.2', `10.2.1.${String(host)}`)));
    const before = b.waiting.length;
    while (b.waiting.length < before + 10) await new Promise((resolve) => setImmediate(resolve));
  });

  test('a gateway with an address is the same in every spelling', async () => {
    const service = await serviceOf(cleanup, routesTo({ 'fd00:2::5': 'FD00:2:0:0::1' }));
    const a = await joinAs(cleanup, service.port, 'site-a');
    const b = await joinAs(cleanup, service.port, 'fd00:2::1');
    const packet = ipPacket('fd00:1::2', 'fd00:2::5');
    a.send(packet);
    expect(await b.next()).toEqual(packet);
  });
});

describe('a router that cannot be asked', () => {
  test('packets are dropped, the next one asks again, and nobody is held up', async () => {
    let isDead = true;
    const getRoute: PolicyOf<'router'>['getRoute'] = ({ destination }) => {
      if (destination === '10.1.0.2') return { network: destination, gateway: 'site-a' };
      if (isDead) throw new Error('no answer');
      return { network: destination, gateway: 'site-b' };
    };
    const { service, a, b } = await twoSites(cleanup, { getRoute });
    a.send(toB('lost'));
    await service.event('decided', ({ outcome }) => outcome === 'couldNotAsk');
    b.send(toA('meanwhile'));
    expect(await a.next()).toEqual(toA('meanwhile'));
    isDead = false;
    a.send(toB('found'));
    expect(await b.next()).toEqual(toB('found'));
  });

  test('while it hangs other destinations go on, and the site leaves when it likes', async () => {
    let gone = 0;
    const getRoute: PolicyOf<'router'>['getRoute'] = ({ destination }, { signal }) =>
      destination === '10.9.9.9'
        ? new Promise((_resolve, reject) => {
            signal?.addEventListener('abort', () => {
              gone++;
              reject(new Error('aborted'));
            });
          })
        : { network: destination, gateway: 'site-b' };
    const { service, a, b } = await twoSites(cleanup, { getRoute });
    a.send(ipPacket('10.1.0.2', '10.9.9.9'), toB('other'));
    expect(await b.next()).toEqual(toB('other'));
    a.socket.end();
    await service.event('closed', ({ user }) => user.startsWith('site-a'));
    expect(gone).toBe(1);
  });

  test('a flood of destinations asks for 64 at once, and 16 times a second where nobody answers', async () => {
    let asked = 0;
    const fail: (() => void)[] = [];
    const getRoute: PolicyOf<'router'>['getRoute'] = ({ destination }) => {
      if (destination === '10.2.0.5') return { network: destination, gateway: 'site-b' };
      asked++;
      return new Promise((_resolve, reject) => fail.push(() => reject(new Error('no answer'))));
    };
    const { a, b } = await twoSites(cleanup, { getRoute });
    const flood = () => {
      a.send(
        ...Array.from({ length: 1000 }, (_, at) =>
          ipPacket('10.1.0.2', `10.9.${String(at >> 8)}.${String(at & 255)}`),
        ),
      );
    };
    // What is known is not held up by what is not.
    a.send(toB('first'));
    expect(await b.next()).toEqual(toB('first'));
    flood();
    a.send(toB('second'));
    expect(await b.next()).toEqual(toB('second'));
    expect(asked).toBe(64);
    for (const one of fail) one();
    await new Promise((resolve) => setImmediate(resolve));
    flood();
    a.send(toB('third'));
    expect(await b.next()).toEqual(toB('third'));
    expect(asked).toBe(64);
  });
});

describe('a site that', () => {
  test('does not read loses packets, and nobody else does', async () => {
    const getRoute: PolicyOf<'router'>['getRoute'] = ({ destination }) => ({
      network: destination,
      gateway: destination === '10.2.0.5' ? 'site-b' : 'site-c',
    });
    const { service, a, b } = await twoSites(cleanup, { getRoute });
    const c = await joinAs(cleanup, service.port, 'site-c');
    b.socket.pause();
    const toC = (text: string) => ipPacket('10.1.0.2', '10.3.0.1', text);
    const big = toB('x'.repeat(10_000));
    for (let round = 0; round < 100; round++) {
      const tail = toC(`round ${String(round)}`);
      a.send(...Array.from({ length: 64 }, () => big), tail);
      expect(await c.next()).toEqual(tail);
    }
    let received = 0;
    b.socket.on('data', (bytes: Buffer) => (received += bytes.length));
    b.socket.resume();
    a.send(toC('done'));
    await c.next();
    b.socket.end();
    await b.closed;
    // 64 MB were sent. All that waited for the site has come by now: the system's buffers, and half a megabyte of ours.
    expect(received).toBeLessThan(20 * 1024 * 1024);
    const { traffic } = await service.event('closed', ({ user }) => user.startsWith('site-b'));
    expect(traffic.dropped).toBeGreaterThan(100);
  });

  test('leaves is a gateway no more', async () => {
    const { service, a, b } = await twoSites(cleanup);
    b.socket.resetAndDestroy();
    await service.event('closed', ({ user }) => user.startsWith('site-b'));
    a.send(toB('lost'));
    const again = await joinAs(cleanup, service.port, 'site-b');
    a.send(toB('found'));
    expect(await again.next()).toEqual(toB('found'));
  });

  test('sends garbage is told nothing, and others are served', async () => {
    // What begins like a request and never ends is waited for.
    const { service, a, b } = await twoSites(cleanup, routesTo(routes), { metadata: { readTimeoutMs: 200 } });
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 400 }), async (bytes) => {
        const site = await join(cleanup, service.port, Buffer.concat([Buffer.from(bytes), joins('x')]));
        site.socket.end();
        await site.closed;
      }),
      { numRuns: 30 },
    );
    const broken = await joinAs(cleanup, service.port, 'site-x');
    broken.socket.end(Buffer.from('ffff0102030405060708090a', 'hex'));
    await broken.closed;
    a.send(toB('still there'));
    expect(await b.next()).toEqual(toB('still there'));
  });

  test('says nothing is waited for no longer than the file says, and one that is silent later stays', async () => {
    const service = await serviceOf(cleanup, routesTo(routes), { metadata: { readTimeoutMs: 20 } });
    const silent = await join(cleanup, service.port, Buffer.alloc(0));
    expect(silent.status).toBe(-1);
    const joined = await joinAs(cleanup, service.port, 'site-b');
    const a = await joinAs(cleanup, service.port, 'site-a');
    await join(cleanup, service.port, Buffer.alloc(0));
    a.send(toB('hello'));
    expect(await joined.next()).toEqual(toB('hello'));
  });

  test('is idle for longer than the service allows is ended', async () => {
    const { service, a, b } = await twoSites(cleanup, routesTo(routes), { idleMs: 50 });
    await Promise.all([a.closed, b.closed]);
    const { error } = await service.event('closed');
    expect(error).toMatchObject({ code: 'idleTimeout' });
  });
});

test('a service that stops ends its sites at once, so that they join elsewhere', async () => {
  const { service, a, b } = await twoSites(cleanup);
  const stopped = service.service.stop();
  await Promise.all([a.closed, b.closed]);
  await stopped;
  const { error } = await service.event('closed');
  expect(error).toBeUndefined();
});

test('a reload: sites of both configurations are in the same networks', async () => {
  const { service, a } = await twoSites(cleanup);
  const modules: TestModules = {
    router: { routes: routesTo({ '10.2.0.5': 'site-c', '10.1.0.2': 'site-a' }) },
  };
  const next = await startRouterService(cleanup, {
    ...{ metadata: { router: 'routes' }, modules, before: service.service.keeps },
  });
  void service.service.retire();
  const c = await joinAs(cleanup, next.port, 'site-c');
  c.send(toA('from the new one'));
  expect(await a.next()).toEqual(toA('from the new one'));
  c.send(ipPacket('10.3.0.1', '10.2.0.5', 'by the new rules'));
  expect(await c.next()).toEqual(ipPacket('10.3.0.1', '10.2.0.5', 'by the new rules'));
  a.send(toB('back'));
  expect(await c.next()).toEqual(toB('back'));
});

test('three hundred sites come, speak and go, and leave nothing', async () => {
  const getRoute: PolicyOf<'router'>['getRoute'] = ({ destination }) => ({
    network: destination,
    gateway: `site-${destination.split('.')[3]!}`,
  });
  const service = await serviceOf(cleanup, { getRoute });
  const networks = service.service.keeps as Networks;
  const ids = [routerId, anotherId(), anotherId()];
  const waiting = threadWheel.pending;
  for (let round = 0; round < 5; round++) {
    const sites = await Promise.all(
      Array.from({ length: 60 }, (_, at) => joinAs(cleanup, service.port, `site-${String(at)}`, ids[at % 3])),
    );
    expect(ids.every((id) => networks.find(id) !== undefined)).toBe(true);
    // Each to the next of its network.
    for (const [at, site] of sites.entries())
      site.send(ipPacket('10.0.0.1', `10.0.0.${String((at + 3) % 60)}`, String(at)));
    await Promise.all(sites.map((site) => site.next()));
    for (const [at, { socket }] of sites.entries()) {
      if (at % 2 === 0) socket.end();
      else socket.resetAndDestroy();
    }
    await Promise.all(sites.map(({ closed }) => closed));
    while (service.service.open > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(ids.map((id) => networks.find(id))).toEqual([undefined, undefined, undefined]);
  }
  expect(threadWheel.pending).toBe(waiting);
});
