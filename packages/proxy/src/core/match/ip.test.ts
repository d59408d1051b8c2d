import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatIp, ipOfPeer, networksOfRange, parseIp, parseNetwork } from './ip.ts';
import type { Ip } from './ip.ts';

describe('an address is a number', () => {
  test.each<[string, Ip | undefined]>([
    ['1.2.3.4', 0x01020304],
    ['255.255.255.255', 0xffffffff],
    ['0.0.0.0', 0],
    ['::', 0n],
    ['::1', 1n],
    ['2001:db8::1', 0x20010db8000000000000000000000001n],
    ['2001:DB8::1.2.3.4', 0x20010db8000000000000000001020304n],
    ['::ffff:1.2.3.4', 0x01020304],
    ['::ffff:102:304', 0x01020304],
    ['1.2.3', undefined],
    ['1.2.3.4.5', undefined],
    ['1.2.3.', undefined],
    ['1..2.3', undefined],
    ['1.2.3.256', undefined],
    ['1.2.3.04', undefined],
    ['0x7f.0.0.1', undefined],
    ['fe80::1%eth0', undefined],
    ['[::1]', undefined],
    ['a.b', undefined],
    ['', undefined],
  ])('%s', (text, ip) => {
    expect(parseIp(text)).toBe(ip);
  });

  test('both families come back as they were, and what Node takes for an address is one', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()), (text) => {
        const ip = parseIp(text);
        expect(ip === undefined).toBe(isIP(text) === 0 || text.includes('%'));
        if (ip !== undefined) expect(parseIp(formatIp(ip))).toBe(ip);
      }),
    );
  });

  test.each([
    ['1.2.3.4:5', '1.2.3.4'],
    ['1.2.3.4', '1.2.3.4'],
    ['[::1]:5', '::1'],
    ['::1', '::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['[fe80::1%eth0]:5', 'fe80::1'],
    ['[::ffff:1.2.3.4]:5', '1.2.3.4'],
    ['/run/x.sock', undefined],
    ['@', undefined],
    ['example.com:80', undefined],
    ['', undefined],
  ])('the address in the peer %s', (peer, host) => {
    const ip = ipOfPeer(peer);
    expect(ip === undefined ? undefined : formatIp(ip)).toBe(host);
  });
});

describe('a network', () => {
  test.each([
    ['10.1.2.3/8', '10.0.0.0', 8],
    ['0.0.0.0/0', '0.0.0.0', 0],
    ['255.255.255.255/32', '255.255.255.255', 32],
    ['fd00::1/8', 'fd00::', 8],
    ['::/0', '::', 0],
    ['::ffff:10.1.2.3/104', '10.0.0.0', 8],
  ])('%s', (text, base, length) => {
    const network = parseNetwork(text)!;
    expect([formatIp(network.base), network.length]).toEqual([base, length]);
  });

  test.each([
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '::/129',
    '::ffff:1.2.3.4/129',
    'a/8',
    '10/8',
  ])('%s is none', (text) => {
    expect(parseNetwork(text)).toBeUndefined();
  });

  test('a range is exactly its networks, which are few', () => {
    const of = (a: number, b: number) => [Math.min(a, b), Math.max(a, b)] as const;
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        (a, b) => {
          const [first, last] = of(a, b);
          const networks = networksOfRange(first, last)!;
          expect(networks.length).toBeLessThanOrEqual(62);
          let at = first;
          for (const { base, length } of networks) {
            expect(base).toBe(at);
            at += 2 ** (32 - length);
          }
          expect(at).toBe(last + 1);
        },
      ),
    );
    expect(networksOfRange(0n, (1n << 128n) - 1n)).toEqual([{ base: 0n, length: 0 }]);
    expect(networksOfRange(1n, (1n << 128n) - 2n)).toHaveLength(254);
    expect(networksOfRange(2, 1)).toBeUndefined();
    expect(networksOfRange(1, 2n)).toBeUndefined();
  });
});
