import { afterEach, describe, expect, test } from 'vitest';
import type { Address } from '../../core/conn.ts';
import { Cleanup } from '../../core/peer.fixture.ts';
import { memoryConnPair } from '../../core/memory-conn.fixture.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import type { Context } from '../../core/way.ts';
import { tcp } from '../../transports/tcp/index.ts';
import { formatRelayResponse, parseRelayRequest, relayCommands } from '../../wire/relay.ts';
import { ipPacket } from '../../wire/packets.fixture.ts';
import { router } from './index.ts';
import { joinAs, routerId, routesTo, startRouterService } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const { connector } = router;
const context: Context = { signal: new AbortController().signal };
const siteA: Address = { host: 'site-a', port: 0 };
const optionsOf = (more: Partial<ConnectorOptions> = {}): ConnectorOptions => ({
  metadata: { routerId },
  node: { host: '127.0.0.1', port: 1 },
  ...more,
});

/** A site made by our connector. */
async function connected(port: number, gateway: Address, more: Partial<ConnectorOptions> = {}) {
  const way = tcp.wrap(undefined, { metadata: {} });
  const node = await way.dial({ host: '127.0.0.1', port }, context);
  cleanup.add(node, () => {
    node.reset();
  });
  const packets = await connector!.connectDatagrams!(node, gateway, optionsOf(more), context);
  const received: Buffer[] = [];
  let wake: () => void = () => undefined;
  packets.receive((data) => {
    received.push(Buffer.from(data));
    wake();
  });
  return {
    packets,
    async next() {
      while (received.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      return received.shift()!;
    },
  };
}

test('a site of ours exchanges packets with one that was made by hand', async () => {
  const service = await startRouterService(cleanup, {
    metadata: { router: 'routes' },
    modules: { router: { routes: routesTo({ '10.2.0.5': '10.2.0.1', '10.1.0.2': 'site-a' }) } },
  });
  const a = await connected(service.port, siteA);
  const b = await joinAs(cleanup, service.port, '10.2.0.1');
  a.packets.send(ipPacket('10.1.0.2', '10.2.0.5', 'hello'));
  expect(await b.next()).toEqual(ipPacket('10.1.0.2', '10.2.0.5', 'hello'));
  b.send(ipPacket('10.2.0.5', '10.1.0.2', 'you'));
  expect(await a.next()).toEqual(ipPacket('10.2.0.5', '10.1.0.2', 'you'));
});

test('the request is what GOST sends', async () => {
  const [node, there] = memoryConnPair({
    ends: [{ local: { host: '192.0.2.7', port: 4000 } }, {}],
    sides: ['upstream', 'client'],
  });
  const auth = { username: 'ada', password: 'secret' };
  const joining = connector!.connectDatagrams!(node, siteA, optionsOf({ auth }), context);
  const request = parseRelayRequest((await there.read())!);
  expect(request?.message).toEqual({
    command: relayCommands.associate,
    flags: 0,
    features: [
      { type: 'userAuth', ...auth },
      { type: 'network', network: 2 },
      { type: 'addr', address: { host: '192.0.2.7', port: 4000 } },
      { type: 'addr', address: siteA },
      { type: 'tunnel', id: routerId, flags: 0, weight: 0 },
    ],
  });
  await there.write(formatRelayResponse(0));
  expect((await joining).remote).toEqual(siteA);
});

describe('a node that says no', () => {
  test.each([
    [2, 'upstreamRefused', 'wants a user name'],
    [3, 'upstreamRefused', `does not allow ${routerId} as site-a`],
    [6, 'dialFailed', `could not let us join ${routerId} as site-a`],
  ])('%d', async (status, code, message) => {
    const [node, there] = memoryConnPair({ sides: ['upstream', 'client'] });
    await there.write(formatRelayResponse(status));
    const joining = connector!.connectDatagrams!(node, siteA, optionsOf(), context);
    await expect(joining).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message) as string,
    });
    await there.closed;
  });
});

test('connections and datagrams to any peer are no matter of a router', async () => {
  const expected = { code: 'unsupported', at: 'self' };
  const [first] = memoryConnPair();
  await expect(connector!.connect(first, siteA, optionsOf(), context)).rejects.toMatchObject(expected);
  const [second] = memoryConnPair();
  const under = tcp.wrap(undefined, { metadata: {} });
  await expect(connector!.associate!(second, under, optionsOf(), context)).rejects.toMatchObject(expected);
  expect(first.isReset && second.isReset).toBe(true);
});
