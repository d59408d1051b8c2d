import { describe, expect, test } from 'vitest';
import { createConnLimiter } from './list.ts';

/** How many of `count` connections from a host get in. */
function admitted(limiter: ReturnType<typeof createConnLimiter>, host: string, count: number): number {
  return Array.from({ length: count }, () => limiter.enter(host)).filter((leave) => leave !== undefined)
    .length;
}

describe('the connection limiter whose limits stand in the configuration', () => {
  test('all together, each address, one address, each address of a network', () => {
    const limits = ['$ 20', '$$ 3', '192.0.2.1 5', '10.0.0.0/8 2', '10.1.0.0/16 4'];
    const limiter = createConnLimiter({ limits });
    expect(admitted(limiter, '203.0.113.1', 9)).toBe(3);
    expect(admitted(limiter, '192.0.2.1', 9)).toBe(5);
    expect(admitted(limiter, '10.1.0.1', 9)).toBe(2);
    expect(admitted(limiter, '10.1.0.2:99', 9)).toBe(2);
    expect(admitted(limiter, '/run/x.sock', 9)).toBe(3);
    expect(admitted(limiter, '203.0.113.2', 9)).toBe(3);
    expect(admitted(limiter, '203.0.113.3', 9)).toBe(2);
    expect(admitted(limiter, '203.0.113.4', 9)).toBe(0);
  });

  test('every spelling of an address is one host', () => {
    const limiter = createConnLimiter({ limits: ['$$ 1'] });
    expect(limiter.enter('192.0.2.1')).toBeDefined();
    expect(limiter.enter('[::ffff:192.0.2.1]:5')).toBeUndefined();
    expect(limiter.enter('::ffff:c000:201')).toBeUndefined();
  });

  test('who leaves makes room, once', () => {
    const limiter = createConnLimiter({ limits: ['$ 2', '$$ 1'] });
    const leave = limiter.enter('192.0.2.1')!;
    expect(limiter.enter('192.0.2.1')).toBeUndefined();
    expect(limiter.enter('192.0.2.2')).toBeDefined();
    leave();
    leave();
    expect(admitted(limiter, '192.0.2.1', 5)).toBe(1);
    expect(limiter.enter('192.0.2.3')).toBeUndefined();
  });

  test('new limits count those who are in already', () => {
    const limiter = createConnLimiter({});
    const leaves = Array.from({ length: 5 }, () => limiter.enter('192.0.2.1')!);
    limiter.reconfigure({ limits: ['$$ 3'] });
    expect(limiter.enter('192.0.2.1')).toBeUndefined();
    for (const leave of leaves.slice(0, 2)) leave();
    expect(limiter.enter('192.0.2.1')).toBeUndefined();
    leaves[2]!();
    expect(limiter.enter('192.0.2.1')).toBeDefined();
    expect(() => {
      limiter.reconfigure({ limits: ['$$ many'] });
    }).toThrow(TypeError);
    expect(limiter.enter('192.0.2.1')).toBeUndefined();
    limiter.reconfigure({ limits: ['$ 5'] });
    expect(admitted(limiter, '192.0.2.1', 9)).toBe(2);
  });

  test('0 and less is no limit', () => {
    expect(admitted(createConnLimiter({ limits: ['$ 0', '$$ -1'] }), '192.0.2.1', 100)).toBe(100);
  });

  test.each(['', '$', '$ 1 2', '$ 1KB', '$ 1.5', 'example.com 1', '$$$ 1'])('the line %j is none', (line) => {
    expect(() => createConnLimiter({ limits: [line] })).toThrow(TypeError);
  });
});
