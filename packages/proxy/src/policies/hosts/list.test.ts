import type { CallEvent } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { listHosts } from './list.ts';

const policy = listHosts({
  mappings: [
    { ip: '192.0.2.1', hostname: 'Example.com', aliases: ['example.net', '.alias.example'] },
    { ip: '2001:DB8:0::1', hostname: 'example.com' },
    { ip: '192.0.2.1', hostname: 'example.com' },
    { ip: '192.0.2.2', hostname: '.example.com' },
    { ip: '192.0.2.3', hostname: '.org' },
    { ip: '::ffff:192.0.2.4', hostname: 'mapped.test' },
    { ip: '192.0.2.5', hostname: '198.51.100.1' },
  ],
});

function ask(of: typeof policy, host: string, network = 'ip') {
  const events: CallEvent[] = [];
  const call = { meta: {}, session: 's1', observe: (event: CallEvent) => events.push(event) };
  const ips = of.lookup({ host, network, user: '' }, call);
  expect(events).toMatchObject([{ module: 'hosts', method: 'lookup', session: 's1', transport: 'local' }]);
  return [ips, events[0]!.reason];
}

describe('the host mapper whose mappings stand in the configuration', () => {
  test.each<[string, readonly string[], string | undefined]>([
    ['example.com', ['192.0.2.1', '2001:db8::1'], 'matches example.com'],
    ['EXAMPLE.com.', ['192.0.2.1', '2001:db8::1'], 'matches example.com'],
    ['example.net', ['192.0.2.1'], 'matches example.net'],
    ['a.b.alias.example', ['192.0.2.1'], 'matches .alias.example'],
    ['alias.example', ['192.0.2.1'], 'matches .alias.example'],
    ['www.example.com', ['192.0.2.2'], 'matches .example.com'],
    ['a.org', ['192.0.2.3'], 'matches .org'],
    ['mapped.test', ['192.0.2.4'], 'matches mapped.test'],
    ['198.51.100.1', ['192.0.2.5'], 'matches 198.51.100.1'],
    ['example.test', [], undefined],
    ['', [], undefined],
    ['__proto__', [], undefined],
  ])('%s', (host, ips, reason) => {
    expect(ask(policy, host)).toEqual([ips, reason]);
  });

  test('one family may be asked for', () => {
    expect(ask(policy, 'example.com', 'ip4')[0]).toEqual(['192.0.2.1']);
    expect(ask(policy, 'example.com', 'ip6')[0]).toEqual(['2001:db8::1']);
    // The closest mapping counts, also when it has nothing of the family.
    expect(ask(policy, 'www.example.com', 'ip6')[0]).toEqual([]);
  });

  test('a dot is for every name that has no mapping', () => {
    const all = listHosts({
      mappings: [
        { ip: '192.0.2.9', hostname: '.' },
        { ip: '192.0.2.1', hostname: 'a.test' },
      ],
    });
    expect(ask(all, 'b.test')).toEqual([['192.0.2.9'], 'matches .']);
    expect(ask(all, 'a.test')).toEqual([['192.0.2.1'], 'matches a.test']);
  });

  test.each([
    [{ ip: '1.2.3', hostname: 'a.test' }, '"1.2.3" is no IP address'],
    [{ ip: '1.2.3.4', hostname: '*.a.test' }, 'write `.a.test`'],
    [{ ip: '1.2.3.4', hostname: 'a.test', aliases: ['b test'] }, '"b test" is no host name'],
    [{ ip: '1.2.3.4', hostname: '' }, 'is empty'],
  ])('%j is an error', (mapping, why) => {
    expect(() => listHosts({ mappings: [mapping] })).toThrow(why);
    expect(() => listHosts({ mappings: [mapping] })).toThrow(TypeError);
  });

  test('without mappings no name is fixed', () => {
    expect(ask(listHosts({}), 'a.test')).toEqual([[], undefined]);
  });
});
