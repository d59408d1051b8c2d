import type { CallEvent } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { listRouter } from './list.ts';

const policy = listRouter({
  routes: [
    { dst: '0.0.0.0/0', gateway: 'everywhere' },
    { dst: '10.0.0.0/8', gateway: 'site-a' },
    { net: '10.1.0.0/16', gateway: 'site-b' },
    { net: '10.1.0.0/16', dst: ' 10.2.0.0/16 ', gateway: ' site-c ' },
    { dst: '10.1.2.3', gateway: '192.168.0.1' },
    // The same network once more, spelled otherwise.
    { dst: '10.9.9.9/8', gateway: 'never' },
    { dst: 'fd00::/8', gateway: 'site-6' },
    { dst: 'fd00:1::/32', gateway: 'site-61' },
    { dst: '::ffff:172.16.0.0/108', gateway: 'mapped' },
  ],
});

function ask(of: typeof policy, destination: string) {
  const events: CallEvent[] = [];
  const call = { meta: {}, session: 's1', observe: (event: CallEvent) => events.push(event) };
  const route = of.getRoute({ destination, router: 'any' }, call);
  expect(events).toMatchObject([
    { module: 'router', method: 'getRoute', session: 's1', transport: 'local', outcome: 'ok' },
  ]);
  return [route, events[0]!.reason];
}

describe('the router whose routes stand in the configuration', () => {
  test.each([
    ['8.8.8.8', '0.0.0.0/0', 'everywhere'],
    ['10.200.0.1', '10.0.0.0/8', 'site-a'],
    ['10.1.9.9', '10.1.0.0/16', 'site-b'],
    ['10.2.0.1', '10.2.0.0/16', 'site-c'],
    ['10.1.2.3', '10.1.2.3', '192.168.0.1'],
    ['::ffff:10.1.2.3', '10.1.2.3', '192.168.0.1'],
    ['fd00:2::1', 'fd00::/8', 'site-6'],
    ['fd00:1:ffff::1', 'fd00:1::/32', 'site-61'],
    ['172.16.9.9', '::ffff:172.16.0.0/108', 'mapped'],
  ])('%s: the smallest network counts', (destination, network, gateway) => {
    expect(ask(policy, destination)).toEqual([{ network, gateway }, `matches ${network}`]);
  });

  test.each(['2001:db8::1', '', 'a.test', '10.0.0.0/8', '10.1.2.3:80', 'fe80::1%eth0'])(
    '%j has no route',
    (destination) => {
      expect(ask(policy, destination)).toEqual([undefined, undefined]);
    },
  );

  test.each([
    [{ dst: '10.0.0.0/33', gateway: 'a' }, '"10.0.0.0/33" is neither a network'],
    [{ dst: 'a.test', gateway: 'a' }, 'nor an address'],
    [{ gateway: 'a' }, 'is empty'],
    [{ dst: '10.0.0.0/8', gateway: ' ' }, 'has no gateway'],
  ])('%j is an error', (route, why) => {
    expect(() => listRouter({ routes: [route] })).toThrow(why);
    expect(() => listRouter({ routes: [route] })).toThrow(TypeError);
  });

  test('without routes there is none', () => {
    expect(ask(listRouter({}), '10.0.0.1')).toEqual([undefined, undefined]);
  });
});
