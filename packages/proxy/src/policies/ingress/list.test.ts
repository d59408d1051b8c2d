import type { CallEvent } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { listIngress } from './list.ts';

const uuid = (digit: string) => `${digit.repeat(8)}-0000-4000-8000-000000000000`;

const policy = listIngress({
  rules: [
    { hostname: 'example.com', endpoint: uuid('f') },
    { hostname: 'Example.COM', endpoint: uuid('1') },
    { hostname: '*.example.com', endpoint: `$${uuid('2').toUpperCase()}` },
    { hostname: '.deep.example.com', endpoint: uuid('3') },
    { hostname: '*.org', endpoint: uuid('4').replaceAll('-', '') },
    { hostname: '192.0.2.1', endpoint: uuid('5') },
    { hostname: '2001:DB8:0::1', endpoint: uuid('6') },
    { hostname: 'bücher.example', endpoint: ` ${uuid('7')} ` },
    { hostname: '*plain.test', endpoint: uuid('8') },
  ],
});

function ask(of: typeof policy, host: string) {
  const events: CallEvent[] = [];
  const call = { meta: {}, session: 's1', observe: (event: CallEvent) => events.push(event) };
  const endpoint = of.getRule({ host, service: '' }, call);
  expect(events).toMatchObject([
    { module: 'ingress', method: 'getRule', session: 's1', transport: 'local', outcome: 'ok' },
  ]);
  return [endpoint, events[0]!.reason];
}

describe('the ingress whose rules stand in the configuration', () => {
  test.each<[string, string | undefined, string | undefined]>([
    // Of two for one name the later counts.
    ['example.com', uuid('1'), 'matches example.com'],
    ['EXAMPLE.com.:443', uuid('1'), 'matches example.com'],
    ['example.com:80', uuid('1'), 'matches example.com'],
    ['www.example.com:443', `$${uuid('2').toUpperCase()}`, 'matches .example.com'],
    ['a.b.example.com', `$${uuid('2').toUpperCase()}`, 'matches .example.com'],
    ['deep.example.com', uuid('3'), 'matches .deep.example.com'],
    ['x.deep.example.com', uuid('3'), 'matches .deep.example.com'],
    ['org', uuid('4').replaceAll('-', ''), 'matches .org'],
    ['a.org', uuid('4').replaceAll('-', ''), 'matches .org'],
    ['192.0.2.1:8080', uuid('5'), 'matches 192.0.2.1'],
    ['[2001:db8::1]:443', uuid('6'), 'matches 2001:db8::1'],
    ['2001:db8:0:0::1', uuid('6'), 'matches 2001:db8::1'],
    ['xn--bcher-kva.example', uuid('7'), 'matches xn--bcher-kva.example'],
    // A star without a dot is left out as well, as in GOST: no name below, and no name that ends alike.
    ['plain.test', uuid('8'), 'matches plain.test'],
    ['a.plain.test', undefined, undefined],
    ['notplain.test', undefined, undefined],
    ['xexample.com', undefined, undefined],
    ['com', undefined, undefined],
    ['', undefined, undefined],
    [':80', undefined, undefined],
    ['__proto__', undefined, undefined],
    [`${'a.'.repeat(50_000)}example.test`, undefined, undefined],
  ])('%s', (host, endpoint, reason) => {
    expect(ask(policy, host)).toEqual([endpoint, reason]);
  });

  test('nobody sets a rule, and says so', () => {
    const events: CallEvent[] = [];
    const asked = { host: 'new.test', endpoint: uuid('1'), service: '' };
    const call = { meta: {}, observe: (event: CallEvent) => events.push(event) };
    expect(policy.setRule(asked, call)).toBe(false);
    expect(events).toMatchObject([{ method: 'setRule', reason: expect.stringContaining('not changed') }]);
    expect(ask(policy, 'new.test')[0]).toBeUndefined();
  });

  test('a hundred thousand rules are looked up one as fast as the other', () => {
    const rules = Array.from({ length: 100_000 }, (_, i) => ({
      hostname: `*.h${String(i)}.test`,
      endpoint: `${String(i + 1).padStart(8, '0')}-0000-4000-8000-000000000000`,
    }));
    const many = listIngress({ rules });
    const before = performance.now();
    for (let i = 0; i < 10_000; i++) {
      const host = `a.b.h${String(i * 10)}.test:80`;
      expect(many.getRule({ host, service: '' }, { meta: {} })).toBe(rules[i * 10]!.endpoint);
    }
    // A scan would take minutes.
    expect(performance.now() - before).toBeLessThan(5_000);
  });

  test.each([
    [{ hostname: '*', endpoint: uuid('1') }, '"*" stands for no host'],
    [{ hostname: '.', endpoint: uuid('1') }, '"." stands for no host'],
    [{ hostname: '', endpoint: uuid('1') }, 'is empty'],
    [{ hostname: 'a.test:80', endpoint: uuid('1') }, 'a rule takes no port'],
    [{ hostname: 'a b', endpoint: uuid('1') }, '"a b" is no host name'],
    [{ hostname: 'a.*.test', endpoint: uuid('1') }, 'is no host name'],
    [{ hostname: 'a.test', endpoint: '' }, 'is empty'],
    [{ hostname: 'a.test', endpoint: '$' }, '"$" is no UUID'],
    [{ hostname: 'a.test', endpoint: `$$${uuid('1')}` }, 'is no UUID'],
    [{ hostname: 'a.test', endpoint: '10.0.0.1:8080' }, '"10.0.0.1:8080" is no UUID'],
    [{ hostname: 'a.test', endpoint: `$${'0'.repeat(32)}` }, 'no tunnel has'],
  ])('%j is an error', (rule, why) => {
    expect(() => listIngress({ rules: [rule] })).toThrow(why);
    expect(() => listIngress({ rules: [rule] })).toThrow(TypeError);
  });

  test('without rules no name leads anywhere', () => {
    expect(ask(listIngress({}), 'a.test')).toEqual([undefined, undefined]);
  });
});
