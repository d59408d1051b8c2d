import { describe, expect, test } from 'vitest';
import { createRateLimiter } from './list.ts';

/** How many of `count` requests at one moment are allowed. */
function allowed(
  limiter: ReturnType<typeof createRateLimiter>,
  host: string,
  count: number,
  nowMs: number,
): number {
  return Array.from({ length: count }, () => limiter.allow(host, nowMs)).filter(Boolean).length;
}

describe('the rate limiter whose limits stand in the configuration', () => {
  test('a bucket holds int(n) + 1 and fills with n a second', () => {
    const limiter = createRateLimiter({ limits: ['$$ 2.5'] });
    expect(allowed(limiter, '192.0.2.1', 9, 1000)).toBe(3);
    expect(allowed(limiter, '192.0.2.1', 9, 1399)).toBe(0);
    expect(allowed(limiter, '192.0.2.1', 9, 1401)).toBe(1);
    expect(allowed(limiter, '192.0.2.1', 9, 1000)).toBe(0);
    expect(allowed(limiter, '192.0.2.1', 9, 60_000)).toBe(3);
  });

  test('all together, each address, one address, each address of a network', () => {
    const limiter = createRateLimiter({
      limits: ['$ 19', '$$ 2', '192.0.2.1 4', '10.0.0.0/8 1', '10.1.0.0/16 7'],
    });
    expect(allowed(limiter, '203.0.113.1', 9, 0)).toBe(3);
    expect(allowed(limiter, '192.0.2.1:5', 9, 0)).toBe(5);
    expect(allowed(limiter, '10.1.0.1', 9, 0)).toBe(2);
    expect(allowed(limiter, '10.1.0.2', 9, 0)).toBe(2);
    expect(allowed(limiter, '[::ffff:10.1.0.2]:5', 9, 0)).toBe(0);
    expect(allowed(limiter, '/run/x.sock', 9, 0)).toBe(3);
    expect(allowed(limiter, '203.0.113.2', 9, 0)).toBe(3);
    expect(allowed(limiter, '203.0.113.3', 9, 0)).toBe(2);
  });

  test('who is refused for himself takes nothing from all', () => {
    const limiter = createRateLimiter({ limits: ['$ 3', '192.0.2.1 0.5'] });
    expect(allowed(limiter, '192.0.2.1', 100, 0)).toBe(1);
    expect(allowed(limiter, '192.0.2.2', 9, 0)).toBe(3);
  });

  test('hosts are forgotten once nobody can tell', () => {
    const limiter = createRateLimiter({ limits: ['$$ 1'] });
    for (let host = 0; host < 1000; host++)
      limiter.allow(`10.0.${String(host >> 8)}.${String(host & 255)}`, 0);
    expect(limiter.remembered).toBe(1000);
    for (let ask = 0; ask < 1000; ask++) limiter.allow('192.0.2.1', 10_000);
    expect(limiter.remembered).toBe(1);
  });

  test('the table is bounded', () => {
    const limiter = createRateLimiter({ limits: ['$$ 1', '192.0.2.1 1'] });
    for (let host = 0; host < 70_000; host++) limiter.allow(`host ${String(host)}`, 0);
    expect(limiter.remembered).toBe(65_536);
    expect(allowed(limiter, 'host 69999', 9, 0)).toBe(1);
  });

  test('new limits leave used up what is used up', () => {
    const limiter = createRateLimiter({ limits: ['$$ 1'] });
    expect(allowed(limiter, '192.0.2.1', 9, 0)).toBe(2);
    limiter.reconfigure({ limits: ['$$ 10'] });
    expect(allowed(limiter, '192.0.2.1', 9, 0)).toBe(0);
    expect(allowed(limiter, '192.0.2.1', 9, 500)).toBe(5);
    expect(() => {
      limiter.reconfigure({ limits: ['$$ x'] });
    }).toThrow(TypeError);
    limiter.reconfigure({});
    expect(allowed(limiter, '192.0.2.1', 99, 500)).toBe(99);
  });

  test('the clock is the machine’s where none is given', () => {
    const limiter = createRateLimiter({ limits: ['$ 0.001'] });
    expect([limiter.allow('192.0.2.1'), limiter.allow('192.0.2.1')]).toEqual([true, false]);
  });

  test.each(['', '$', '$ 1 2', '$ 1KB', '$ Infinity', '$ 1e3', 'example.com 1'])(
    'the line %j is none',
    (line) => {
      expect(() => createRateLimiter({ limits: [line] })).toThrow(TypeError);
    },
  );
});
