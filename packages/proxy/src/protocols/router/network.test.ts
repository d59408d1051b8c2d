import { afterEach, expect, test, vi } from 'vitest';
import { memoryConnPair } from '../../core/memory-conn.fixture.ts';
import { settled } from '../../core/manual-clock.fixture.ts';
import type { Session } from '../../core/session.ts';
import { threadWheel } from '../../core/wheel.ts';
import { ipPacket } from '../../wire/packets.fixture.ts';
import { formatRelayDatagram } from '../../wire/relay.ts';
import { Network } from './network.ts';
import { Nodes } from './nodes.ts';
import { routerId } from './scene.fixture.ts';
import { Site } from './site.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** A site of no session, and how many of its packets have come. */
function siteOf(gateway: string) {
  const [conn, there] = memoryConnPair();
  let count = 0;
  const read = async () => {
    for (let bytes = await there.read(); bytes !== null; bytes = await there.read())
      count += bytes.length / 22;
  };
  // It ends with the test.
  void read();
  const session = {} as Session;
  const modules = { routers: [], sd: undefined, routeKeptMs: 1000, sdKeptMs: 1000 };
  const site = new Site({ gateway, owner: '', session, conn, ...modules });
  return { site, count: () => count };
}

test('of several connections of a gateway one that has been silent for long is passed over', async () => {
  const network = new Network(routerId, { node: 'node', nodes: new Nodes() });
  const [dead, alive] = [siteOf('site-b'), siteOf('site-b')];
  network.add(dead.site);
  network.add(alive.site);
  const send = async () => {
    for (let host = 0; host < 40; host++) {
      const frame = formatRelayDatagram(ipPacket('10.1.0.2', `10.2.0.${String(host)}`));
      network.deliver('site-b', frame, 0, frame.length);
    }
    await settled();
    await settled();
  };
  await send();
  expect(dead.count() + alive.count()).toBe(40);
  expect(Math.min(dead.count(), alive.count())).toBeGreaterThan(5);
  const before = dead.count();
  const now = threadWheel.now();
  vi.spyOn(threadWheel, 'now').mockImplementation(() => now + 31_000);
  alive.site.heardMs = now + 30_000;
  await send();
  expect([dead.count(), alive.count()]).toEqual([before, 80 - before]);
  // Where all are silent, as those are that only listen, nothing is known of any.
  alive.site.heardMs = now;
  await send();
  expect(dead.count()).toBeGreaterThan(before);
});
