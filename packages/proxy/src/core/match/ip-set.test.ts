import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { createIpSet } from './ip-set.ts';
import { networkOfOne, parseIp, parseNetwork } from './ip.ts';

const ip = (text: string) => parseIp(text)!;

describe('a set of networks', () => {
  test('knows the smallest and the largest that hold an address', () => {
    const set = createIpSet<string>();
    for (const text of ['10.1.0.0/16', '10.0.0.0/8', '10.1.2.0/24', 'fd00::/8', 'fd00:1::/32']) {
      set.add(parseNetwork(text)!, text);
    }
    set.add(networkOfOne(ip('192.0.2.1')), 'one');
    expect(set.size).toBe(6);
    expect(set.mostSpecific(ip('10.1.2.3'))).toBe('10.1.2.0/24');
    expect(set.broadest(ip('10.1.2.3'))).toBe('10.0.0.0/8');
    expect(set.mostSpecific(ip('::ffff:10.1.3.3'))).toBe('10.1.0.0/16');
    expect(set.mostSpecific(ip('fd00:1::1'))).toBe('fd00:1::/32');
    expect(set.broadest(ip('fd00:1::1'))).toBe('fd00::/8');
    expect(set.mostSpecific(ip('192.0.2.1'))).toBe('one');
    expect(set.mostSpecific(ip('192.0.2.2'))).toBeUndefined();
    expect(set.mostSpecific(ip('::1'))).toBeUndefined();
  });

  test('the whole of one family is nothing of the other', () => {
    const set = createIpSet<string>();
    set.add(parseNetwork('::/0')!, 'v6');
    expect(set.mostSpecific(ip('1.2.3.4'))).toBeUndefined();
    set.add(parseNetwork('0.0.0.0/0')!, 'v4');
    expect(set.mostSpecific(ip('1.2.3.4'))).toBe('v4');
    expect(set.mostSpecific(ip('255.255.255.255'))).toBe('v4');
  });

  test('of two values for one network the later counts', () => {
    const set = createIpSet<number>();
    set.add(parseNetwork('10.0.0.0/8')!, 1);
    set.add(parseNetwork('10.9.9.9/8')!, 2);
    expect([set.size, set.mostSpecific(ip('10.0.0.1'))]).toEqual([1, 2]);
  });

  test('agrees with looking through all of them', () => {
    const network = fc.record({
      base: fc.integer({ min: 0, max: 255 }),
      length: fc.integer({ min: 24, max: 32 }),
    });
    fc.assert(
      fc.property(fc.array(network, { maxLength: 20 }), fc.integer({ min: 0, max: 255 }), (list, last) => {
        const set = createIpSet<number>();
        for (const { base, length } of list)
          set.add(parseNetwork(`10.0.0.${String(base)}/${String(length)}`)!, length);
        const holding = list
          .filter(({ base, length }) => base >> (32 - length) === last >> (32 - length))
          .map(({ length }) => length);
        const at = ip(`10.0.0.${String(last)}`);
        expect(set.mostSpecific(at)).toBe(holding.length === 0 ? undefined : Math.max(...holding));
        expect(set.broadest(at)).toBe(holding.length === 0 ? undefined : Math.min(...holding));
      }),
    );
  });

  test('100,000 networks of four lengths are four probes', () => {
    const set = createIpSet<number>();
    for (let index = 0; index < 100_000; index++) {
      set.add({ base: (index * 4096) >>> 0, length: 20 + (index % 4) }, index);
    }
    expect(set.size).toBe(100_000);
    const probes = vi.spyOn(Map.prototype, 'get');
    try {
      expect(set.mostSpecific(ip('255.255.255.255'))).toBeUndefined();
      expect(probes).toHaveBeenCalledTimes(4);
    } finally {
      probes.mockRestore();
    }
    expect(set.mostSpecific((99_999 * 4096) >>> 0)).toBe(99_999);
  });
});
