import { afterEach, expect, test } from 'vitest';
import { memoryDatagramsPair } from '../../core/memory-conn.fixture.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import { startHandler } from '../../core/http/proxy.fixture.ts';
import { Cleanup } from '../../core/peer.fixture.ts';
import type { Accept } from '../../core/conn.ts';
import type { Forwarder, Target } from '../../core/route.ts';
import type { Way } from '../../core/way.ts';
import { ipPacket } from '../../wire/packets.fixture.ts';
import { createTunStart } from './handle.ts';
import { tunSite } from './index.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const packet = (text: string) => ipPacket('10.0.0.1', '10.0.0.2', text);

/** A service whose listener accepts devices of memory, and whose chain leads to networks of memory. */
async function scene({ port = 0, refuse = 0, silenceMs = 15_000 } = {}) {
  const networks: Datagrams[] = [];
  let wake: () => void = () => undefined;
  let refused = 0;
  let accept: Accept = () => undefined;
  const told: string[] = [];
  const base: Way = {
    dial: () => Promise.reject(new ProxyError('unsupported', 'self', 'no connections')),
    listen(_at, each) {
      accept = each;
      return Promise.resolve({ address: { host: 'net', port: 0 }, close: () => Promise.resolve() });
    },
    close: () => Promise.resolve(),
  };
  const node = {
    ...{ name: 'own', address: { host: 'site-a', port }, http: undefined, tls: undefined },
    ...{ failed: () => undefined, succeeded: () => undefined },
  } satisfies Target;
  const forwarder: Forwarder = { select: () => Promise.resolve(node), close: () => Promise.resolve() };
  const direct: Way = {
    ...base,
    packets(to) {
      if (refused++ < refuse) return Promise.reject(new ProxyError('dialFailed', 'upstream', 'not now'));
      const [ours, theirs] = memoryDatagramsPair([{ remote: to! }, {}]);
      networks.push(theirs);
      wake();
      return Promise.resolve(ours);
    },
  };
  const { service, events } = await startHandler(
    cleanup,
    { ...tunSite.handler!, start: createTunStart({ silenceMs }) },
    {
      ...{ base, direct, forwarder },
      problem: ({ message }) => told.push(message),
      inform: (text) => told.push(text),
    },
  );
  let joined = 0;
  return {
    ...{ service, events, told },
    /** A device, and its other side. */
    device() {
      const address = { host: '10.0.0.1', port: 0 };
      const [ours, theirs] = memoryDatagramsPair([{ local: address, remote: address }, { local: address }]);
      accept(ours);
      return theirs;
    },
    async network() {
      while (networks.length === joined) await new Promise<void>((resolve) => (wake = resolve));
      return networks[joined++]!;
    },
  };
}

/** The next datagrams, copied. */
function reader(end: Datagrams): () => Promise<Buffer> {
  const received: Buffer[] = [];
  let wake: () => void = () => undefined;
  end.receive((data) => {
    received.push(Buffer.from(data));
    wake();
  });
  return async () => {
    while (received.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return received.shift()!;
  };
}

test('the packets of a device go to its network and back, and are counted', async () => {
  const { device, network, service, events } = await scene();
  const system = device();
  const there = await network();
  const [fromNetwork, fromDevice] = [reader(system), reader(there)];
  // What is sent before the network has been joined is lost.
  there.send(packet('in, longer'));
  expect(await fromNetwork()).toEqual(packet('in, longer'));
  system.send(packet('out'));
  expect(await fromDevice()).toEqual(packet('out'));
  system.close();
  await service.stop();
  const closed = events.find((event) => event.kind === 'closed');
  expect(closed).toMatchObject({
    traffic: { received: packet('out').length, sent: packet('in, longer').length },
  });
});

test('a network that is lost is joined again, and the device stays', async () => {
  const { device, network, told } = await scene();
  const system = device();
  const fromNetwork = reader(system);
  (await network()).close();
  const again = await network();
  again.send(packet('back again'));
  expect(await fromNetwork()).toEqual(packet('back again'));
  const fromDevice = reader(again);
  system.send(packet('here too'));
  expect(await fromDevice()).toEqual(packet('here too'));
  expect(told).toEqual([
    '10.0.0.1:0 has joined the network as site-a',
    expect.stringContaining(
      'the network is lost as site-a, and it is tried again: the node has ended the connection',
    ),
    '10.0.0.1:0 has joined the network as site-a',
  ]);
});

test('a network that cannot be joined is tried again', async () => {
  const { device, network, told } = await scene({ refuse: 1 });
  const fromNetwork = reader(device());
  (await network()).send(packet('at last'));
  expect(await fromNetwork()).toEqual(packet('at last'));
  expect(told[0]).toContain('the network cannot be joined, and it is tried again: not now');
});

test('a node that is sent packets and says nothing is joined anew, and left', async () => {
  const { device, network, told } = await scene({ silenceMs: 30 });
  const system = device();
  const silent = await network();
  const fromNetwork = reader(system);
  silent.send(packet('alive'));
  expect(await fromNetwork()).toEqual(packet('alive'));
  const atSilent = reader(silent);
  system.send(packet('anybody?'));
  expect(await atSilent()).toEqual(packet('anybody?'));
  const next = await network();
  await silent.closed;
  const fromDevice = reader(next);
  system.send(packet('you'));
  expect(await fromDevice()).toEqual(packet('you'));
  next.send(packet('me'));
  expect(await fromNetwork()).toEqual(packet('me'));
  expect(told.filter((text) => text.includes('lost'))).toEqual([]);
});

test('nobody who is sent nothing is doubted, and nobody who answers', async () => {
  const { device, network, told } = await scene({ silenceMs: 20 });
  const system = device();
  const there = await network();
  const fromNetwork = reader(system);
  there.receive((data) => {
    there.send(data);
  });
  there.send(packet('here'));
  await fromNetwork();
  for (const until = performance.now() + 100; performance.now() < until;) {
    system.send(packet('ping'));
    expect(await fromNetwork()).toEqual(packet('ping'));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(told).toHaveLength(1);
});

test('a device that goes ends its membership', async () => {
  const { device, network, service } = await scene();
  const system = device();
  const there = await network();
  system.close();
  await there.closed;
  await service.stop();
});

test('a new configuration gets the device', async () => {
  const { device, network, service } = await scene();
  const system = device();
  const there = await network();
  const retired = service.retire();
  await Promise.all([system.closed, there.closed, retired]);
});

test('a VPN over UDP is not served', async () => {
  const { device, network, told } = await scene({ port: 8421 });
  device();
  await (
    await network()
  ).closed;
  await new Promise((resolve) => setImmediate(resolve));
  expect(told.join('\n')).toContain('site-a:8421 is where a VPN over UDP would be');
});
