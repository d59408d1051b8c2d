import dgram from 'node:dgram';
import { once } from 'node:events';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import type { SdService } from '@sallyport/plugin';
import { Cleanup } from '../../core/peer.fixture.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { ipPacket } from '../../wire/packets.fixture.ts';
import { formatRelayRequest, parseRelayRequest, relayCommands } from '../../wire/relay.ts';
import { anotherId, joinAs, routerId, routes, routesTo, startRouterService, toB } from './scene.fixture.ts';
import type { RouterParts, TestSite } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** Service discovery in memory, which tells when it is told. */
class TestSd {
  readonly services: SdService[] = [];
  readonly asked: string[] = [];
  #wake: () => void = () => undefined;

  readonly policy: PolicyOf<'sd'> = {
    register: (service) => {
      this.services.push(service);
      this.#wake();
    },
    renew: () => undefined,
    deregister: ({ id }) => {
      const at = this.services.findIndex((one) => one.id === id);
      if (at >= 0) this.services.splice(at, 1);
      this.#wake();
    },
    get: ({ name }) => {
      this.asked.push(name);
      return this.services.filter((one) => one.name === name);
    },
  };

  async until(count: number): Promise<void> {
    while (this.services.length !== count) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

function startNode(sd: TestSd, { metadata, ...parts }: RouterParts = {}) {
  return startRouterService(cleanup, {
    metadata: { router: 'routes', sd: 'sd', entrypoint: { host: '127.0.0.1', port: 0 }, ...metadata },
    modules: { router: { routes: routesTo(routes) }, sd: { sd: sd.policy } },
    ...parts,
  });
}

/** A node of another program: what it is sent. */
async function startForeignNode() {
  const socket = dgram.createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  let isOpen = true;
  const close = () => {
    if (!isOpen) return Promise.resolve();
    isOpen = false;
    return new Promise<void>((resolve) => socket.close(resolve));
  };
  cleanup.add(socket, close);
  return {
    close,
    address: `127.0.0.1:${String(socket.address().port)}`,
    next: async () => (await once(socket, 'message'))[0] as Buffer,
    send: (data: Buffer, to: string) =>
      new Promise((resolve) => socket.send(data, Number(to.split(':')[1]), '127.0.0.1', resolve)),
  };
}

/** The head that stands before a packet for a gateway. */
const headOf = (gateway: string, id = routerId, command: number = relayCommands.associate) =>
  formatRelayRequest({
    ...{ command, flags: 0 },
    features: [
      { type: 'tunnel', id, flags: 0, weight: 0 },
      { type: 'addr', address: { host: gateway, port: 0 } },
    ],
  });

describe('two nodes', () => {
  async function twoNodes() {
    const sd = new TestSd();
    const [first, second] = [await startNode(sd), await startNode(sd)];
    const a = await joinAs(cleanup, first.port, 'site-a');
    const b = await joinAs(cleanup, second.port, 'site-b');
    await sd.until(2);
    return { sd, first, second, a, b };
  }

  test('find each other’s sites', async () => {
    const { sd, a, b } = await twoNodes();
    expect(sd.services.map(({ name, network }) => [name, network])).toEqual([
      [`site-a@${routerId}`, 'udp'],
      [`site-b@${routerId}`, 'udp'],
    ]);
    expect(sd.services.map(({ id }) => id)).toEqual([a.connector, b.connector]);
    expect(new Set(sd.services.map(({ node }) => node)).size).toBe(2);
    const sent = Array.from({ length: 30 }, (_, index) => toB(String(index)));
    a.send(...sent);
    for (const packet of sent) expect(await b.next()).toEqual(packet);
    const back = ipPacket('10.2.0.5', '10.1.0.2', 'back');
    b.send(back);
    expect(await a.next()).toEqual(back);
    expect(sd.asked).toEqual([`site-b@${routerId}`, `site-a@${routerId}`]);
  });

  test('a site that leaves is deregistered, and found where it joins next', async () => {
    const { sd, first, a, b } = await twoNodes();
    b.socket.end();
    await b.closed;
    await sd.until(1);
    const again = await joinAs(cleanup, first.port, 'site-b');
    a.send(toB('here now'));
    expect(await again.next()).toEqual(toB('here now'));
    expect(sd.asked).toEqual([]);
  });

  test('a node that stops takes its sites back', async () => {
    const { sd, second } = await twoNodes();
    await second.service.stop();
    expect(sd.services.map(({ name }) => name)).toEqual([`site-a@${routerId}`]);
  });
});

describe('a node of another program', () => {
  const listed = (address: string, more: Partial<SdService> = {}): SdService => ({
    ...{ id: anotherId(), name: `site-b@${routerId}`, node: anotherId(), network: 'udp', address },
    ...more,
  });

  test('is sent one datagram a packet, with the head that GOST reads', async () => {
    const sd = new TestSd();
    const [node, there] = [await startNode(sd), await startForeignNode()];
    sd.services.push(listed(there.address));
    const a = await joinAs(cleanup, node.port, 'site-a');
    const next = there.next();
    a.send(toB('hello'));
    const datagram = await next;
    const { message, length } = parseRelayRequest(datagram)!;
    expect(message).toEqual({
      command: relayCommands.associate,
      flags: 0,
      features: [
        { type: 'tunnel', id: routerId, flags: 0, weight: 0 },
        { type: 'addr', address: { host: 'site-b', port: 0 } },
      ],
    });
    expect(datagram.subarray(length)).toEqual(toB('hello'));
  });

  test('several that have it share the conversations; what is no node is passed by', async () => {
    const sd = new TestSd();
    const there = [await startForeignNode(), await startForeignNode()];
    const counts = [0, 0];
    const nothing = ['', 'nonsense', '127.0.0.1', '127.0.0.1:0', 'no-such-name.invalid:80', ':80'];
    for (const address of nothing) sd.services.push(listed(address));
    sd.services.push(listed(there[0]!.address), listed(there[1]!.address));
    sd.services.push(listed('127.0.0.1:9', { network: 'tcp' }));
    const node = await startNode(sd, {
      modules: {
        sd: { sd: sd.policy },
        router: { routes: { getRoute: () => ({ network: '10.2.0.0/16', gateway: 'site-b' }) } },
      },
    });
    const a = await joinAs(cleanup, node.port, 'site-a');
    const all = new Promise<void>((resolve) => {
      const count = async (which: number) => {
        for (;;) {
          await there[which]!.next();
          counts[which]!++;
          if (counts[0]! + counts[1]! === 60) resolve();
        }
      };
      // They end with the test.
      void count(0);
      void count(1);
    });
    a.send(...Array.from({ length: 60 }, (_, host) => ipPacket('10.1.0.2', `10.2.0.${String(host + 1)}`)));
    await all;
    expect(Math.min(...counts)).toBeGreaterThan(10);
  });

  test('delivers packets to sites that have joined here, and everything else is dropped', async () => {
    const sd = new TestSd();
    const [node, there] = [await startNode(sd), await startForeignNode()];
    const b = await joinAs(cleanup, node.port, 'site-b');
    await sd.until(1);
    const { address } = sd.services[0]!;
    const lost = [
      Buffer.concat([headOf('site-x'), toB('another gateway')]),
      Buffer.concat([headOf('site-b', anotherId()), toB('another network')]),
      Buffer.concat([headOf('site-b', routerId, relayCommands.connect), toB('another command')]),
      Buffer.concat([headOf('site-b'), toB('cut').subarray(0, 21)]),
      headOf('site-b'),
      toB('no head'),
      Buffer.alloc(0),
    ];
    for (const data of lost) await there.send(data, address);
    await there.send(Buffer.concat([headOf('site-b'), toB('one')]), address);
    await there.send(Buffer.concat([headOf('site-b'), toB('two')]), address);
    expect(await b.next()).toEqual(toB('one'));
    expect(await b.next()).toEqual(toB('two'));
    expect(b.waiting).toEqual([]);
  });

  test('may send anything', async () => {
    const sd = new TestSd();
    const [node, there] = [await startNode(sd), await startForeignNode()];
    const b = await joinAs(cleanup, node.port, 'site-b');
    await sd.until(1);
    const { address } = sd.services[0]!;
    const good = Buffer.concat([headOf('site-b'), toB('good')]);
    const spoilt = fc.tuple(fc.nat(good.length - 1), fc.nat(255)).map(([at, byte]) => {
      const bytes = Buffer.from(good);
      bytes[at] = byte;
      return bytes;
    });
    const any = fc.oneof(
      spoilt,
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(any, async (bytes) => void (await there.send(bytes, address))),
      { numRuns: 200 },
    );
    await there.send(Buffer.concat([headOf('site-b'), toB('last')]), address);
    let last: Buffer;
    do last = await b.next();
    while (!last.equals(toB('last')));
  });

  test('is asked about at admission', async () => {
    const sd = new TestSd();
    const asked: unknown[] = [];
    const admit: PolicyOf<'admission'>['admit'] = (ask) => {
      asked.push(ask.network);
      return ask.network === 'tcp';
    };
    const node = await startNode(sd, { admission: { admit } });
    const b = await joinAs(cleanup, node.port, 'site-b');
    await sd.until(1);
    const there = await startForeignNode();
    await there.send(Buffer.concat([headOf('site-b'), toB('refused')]), sd.services[0]!.address);
    await node.event('closed', ({ error }) => error?.code === 'forbidden');
    expect(asked).toEqual(['tcp', 'udp']);
    expect(b.waiting).toEqual([]);
  });
});

describe('of two nodes that are said to have a gateway', () => {
  /** A node with site-a, and a real one with site-b beside one that is not what it is said to be. */
  async function scene(other: string) {
    const sd = new TestSd();
    const getRoute = () => ({ network: '10.2.0.0/16', gateway: 'site-b' });
    const node = await startNode(sd, {
      modules: { sd: { sd: sd.policy }, router: { routes: { getRoute } } },
    });
    const real = await startNode(sd);
    const a = await joinAs(cleanup, node.port, 'site-a');
    const b = await joinAs(cleanup, real.port, 'site-b');
    await sd.until(2);
    sd.services.push(listed(other));
    return { a, b };
  }
  const listed = (address: string): SdService => ({
    ...{ id: anotherId(), name: `site-b@${routerId}`, node: anotherId(), network: 'udp', address },
  });
  /** Every conversation gets through, though some of its first packets may not. */
  async function expectAllThrough(a: TestSite, b: TestSite) {
    const packets = Array.from({ length: 40 }, (_, host) =>
      ipPacket('10.1.0.2', `10.2.0.${String(host + 1)}`),
    );
    const missing = new Set(packets.map((packet) => packet[19]));
    while (missing.size > 0) {
      a.send(...packets.filter((packet) => missing.has(packet[19])));
      missing.delete((await b.next())[19]);
      for (const packet of b.waiting.splice(0)) missing.delete(packet[19]);
    }
  }

  test('one is gone: its conversations go through the other', async () => {
    const gone = await startForeignNode();
    const { a, b } = await scene(gone.address);
    await gone.close();
    await expectAllThrough(a, b);
  });

  test('one has been started anew, and the site is not there: it says so', async () => {
    const sd = new TestSd();
    const probe = await startNode(sd);
    await joinAs(cleanup, probe.port, 'site-x');
    await sd.until(1);
    // A node of ours without the gateway.
    const { a, b } = await scene(sd.services[0]!.address);
    await expectAllThrough(a, b);
  });
});

describe('service discovery', () => {
  async function alone(get: PolicyOf<'sd'>['get'], sd = new TestSd()) {
    const node = await startNode(sd, {
      modules: {
        router: { routes: routesTo({ '10.2.0.5': 'site-b', '10.3.0.1': 'site-c' }) },
        sd: { sd: { ...sd.policy, get } },
      },
    });
    return { node, a: await joinAs(cleanup, node.port, 'site-a') };
  }
  const settle = async (a: TestSite, c: TestSite) => {
    a.send(ipPacket('10.1.0.2', '10.3.0.1', 'done'));
    await c.next();
  };

  test('is asked once, also where it knows nobody', async () => {
    const asked: string[] = [];
    const { node, a } = await alone(({ name }) => {
      asked.push(name);
      return [];
    });
    const c = await joinAs(cleanup, node.port, 'site-c');
    a.send(toB('1'), toB('2'));
    await node.event('decided', ({ module }) => module === 'sd');
    a.send(toB('3'));
    await settle(a, c);
    expect(asked).toEqual([`site-b@${routerId}`]);
  });

  test('that cannot be asked is asked again by the next packet', async () => {
    let asked = 0;
    const there = await startForeignNode();
    const { node, a } = await alone(({ name }) => {
      asked++;
      if (asked === 1) throw new Error('no answer');
      return [{ id: 'x', name, node: 'other', network: 'udp', address: there.address }];
    });
    a.send(toB('lost'));
    await node.event('decided', ({ outcome }) => outcome === 'couldNotAsk');
    const next = there.next();
    a.send(toB('found'));
    const datagram = await next;
    expect(datagram.subarray(parseRelayRequest(datagram)!.length)).toEqual(toB('found'));
  });

  test('names of this node are none', async () => {
    const sd = new TestSd();
    const { node, a } = await alone(sd.policy.get, sd);
    await sd.until(1);
    // As if it had not been told yet that the site has left.
    sd.services.push({ ...sd.services[0]!, name: `site-b@${routerId}` });
    const c = await joinAs(cleanup, node.port, 'site-c');
    a.send(toB('lost'));
    await node.event('decided', ({ module }) => module === 'sd');
    await settle(a, c);
    expect(a.waiting).toEqual([]);
  });

  test('is not told of a node that nobody can send packets to', async () => {
    const sd = new TestSd();
    const node = await startNode(sd, { metadata: { entrypoint: undefined } });
    const a = await joinAs(cleanup, node.port, 'site-a');
    a.send(toB('lost'));
    await node.event('decided', ({ module }) => module === 'sd');
    expect(sd.services).toEqual([]);
  });
});

test('an entrypoint that is taken is said at the start', async () => {
  const there = await startForeignNode();
  const [host, port] = there.address.split(':');
  const metadata = { entrypoint: { host, port: Number(port) } };
  await expect(startRouterService(cleanup, { metadata })).rejects.toMatchObject({ code: 'addressInUse' });
});

test('a node that sends packets does not hold up a service that stops', async () => {
  const sd = new TestSd();
  const [node, there] = [await startNode(sd), await startForeignNode()];
  const b = await joinAs(cleanup, node.port, 'site-b');
  await sd.until(1);
  await there.send(Buffer.concat([headOf('site-b'), toB('one')]), sd.services[0]!.address);
  await b.next();
  await node.service.stop();
});
