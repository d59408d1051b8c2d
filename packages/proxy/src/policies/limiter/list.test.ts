import type { CallEvent } from '@sallyport/plugin';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { listLimiter } from './list.ts';
import { parseSize } from './traffic-limit.ts';

function ask(policy: ReturnType<typeof listLimiter>, scope: string, client = '') {
  const events: CallEvent[] = [];
  const call = { meta: {}, session: 's1', observe: (event: CallEvent) => events.push(event) };
  const rates = policy.limit(
    { scope, client, service: 'front', network: 'tcp', target: '', user: 'ada' },
    call,
  );
  expect(events).toMatchObject([{ module: 'limiter', method: 'limit', session: 's1', transport: 'local' }]);
  return [rates, events[0]!.reason];
}

describe('the traffic limiter whose limits stand in the configuration', () => {
  const policy = listLimiter({
    limits: [
      '$ 100MB 200MB 1GB',
      '$$\t1MB  2MB',
      '192.0.2.1 512KB # nothing is said of the other direction',
      '192.0.2.2 512KB 256KB',
      '192.0.2.0/24 10MB 20MB',
      '192.0.0.0/16 30MB 40MB 50MB',
      'fd00::/8 1KB 1KB',
    ],
  });
  const mb = 1024 * 1024;
  const each = { in: mb, out: 2 * mb, share: '$$' };

  test('a service has the bucket of all', () => {
    expect(ask(policy, 'service')).toEqual([
      [{ in: 100 * mb, out: 200 * mb, burst: 1024 * mb, share: '$' }],
      'matches $',
    ]);
  });

  test('a connection has one of its own and one of its address', () => {
    expect(ask(policy, 'conn', '192.0.2.2:5')).toEqual([
      [each, { in: mb / 2, out: mb / 4, share: '192.0.2.2' }],
      'matches $$ and 192.0.2.2',
    ]);
    expect(ask(policy, 'conn', '203.0.113.1:5')).toEqual([[each], 'matches $$']);
    expect(ask(policy, 'conn', '[fd00::1]:5')[0]).toEqual([each, { in: 1024, out: 1024, share: 'fd00::1' }]);
    expect(ask(policy, 'conn', '/run/x.sock')[0]).toEqual([each]);
  });

  test('of networks the largest counts, for each of its addresses', () => {
    const network = { in: 30 * mb, out: 40 * mb, burst: 50 * mb };
    expect(ask(policy, 'conn', '192.0.2.9:5')[0]).toEqual([each, { ...network, share: '192.0.2.9' }]);
    expect(ask(policy, 'conn', '[::ffff:192.0.2.10]:5')[0]).toEqual([
      each,
      { ...network, share: '192.0.2.10' },
    ]);
  });

  test('a direction that an address leaves open is limited by its network', () => {
    expect(ask(policy, 'conn', '192.0.2.1:5')).toEqual([
      [each, { in: mb / 2, out: 40 * mb, share: '192.0.2.1' }],
      'matches $$ and 192.0.2.1 and 192.0.0.0/16',
    ]);
  });

  test('users have no limit', () => {
    expect(ask(policy, 'client', '192.0.2.2:5')).toEqual([[], undefined]);
  });

  test('nothing and less than nothing is no limit', () => {
    const open = listLimiter({ limits: ['$ 0 -1', '$$ 0B'] });
    expect(ask(open, 'service')).toEqual([[], undefined]);
    expect(ask(open, 'conn', '192.0.2.1:5')).toEqual([[], undefined]);
    expect(ask(listLimiter({}), 'service')).toEqual([[], undefined]);
  });

  test.each([
    ['', 'is empty'],
    ['# nothing', 'is empty'],
    ['$', 'names no rate'],
    ['$ 1MB 1MB 1MB 1MB', 'more than'],
    ['example.com 1MB', 'does not begin with'],
    ['$ 100', 'write 100B'],
    ['$ 1Mb', 'none of B, KB'],
    ['$ 1constructor', 'none of B, KB'],
    ['$ fast', 'no size'],
    ['$ 9999TB', '8,191 TB'],
    [`$ ${'1'.repeat(2000)}`, '1024'],
  ])('the line %j is none: %s', (line, why) => {
    expect(() => listLimiter({ limits: [line] })).toThrow(TypeError);
    expect(() => listLimiter({ limits: [line] })).toThrow(why);
  });
});

describe('a size', () => {
  test.each([
    ['1B', 1],
    ['100KB', 102_400],
    ['1KiB', 1024],
    ['1.5MB', 1_572_864],
    ['.5KB', 512],
    ['1GB512MB', 1_610_612_736],
    ['1TB', 2 ** 40],
    ['0', 0],
    ['0MB', 0],
    ['-1', 0],
    ['-1MB', 0],
    ['0.1B', 1],
  ])('%s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test('garbage is a TypeError at once, also what looks like a number for long', () => {
    expect(() => parseSize(`${'1'.repeat(500)}!`)).toThrow(TypeError);
    const piece = fc.oneof(fc.constantFrom('1', '.', 'KB', 'B', '-', '+'), fc.string());
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        try {
          expect(parseSize(pieces.join(''))).toBeGreaterThanOrEqual(0);
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
        }
      }),
    );
  });
});
