import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  conversationOf,
  destinationKey,
  formatDestinationKey,
  isIpPacket,
  parseIpPacket,
  staysOnLink,
} from './ip-packet.ts';
import { formatIp } from './ip.ts';
import { ipPacket } from './packets.fixture.ts';
import { hex } from './splits.fixture.ts';

const four = ipPacket('10.1.0.2', '10.2.0.5', 'hello');
const six = ipPacket('fd00::1', 'fd00:2::5', 'hello');

describe('an IP packet', () => {
  test('says where it is from and where it goes', () => {
    expect(parseIpPacket(four)).toEqual({ version: 4, source: '10.1.0.2', destination: '10.2.0.5' });
    expect(parseIpPacket(six)).toEqual({ version: 6, source: 'fd00::1', destination: 'fd00:2::5' });
    // A ping as Linux sends it: with options it would be longer before its data, and it is no shorter than its head.
    const ping = hex('4500001c 00004000 40010000 7f000001 7f000001 0800f7ff 00000000');
    expect(parseIpPacket(ping)).toMatchObject({ destination: '127.0.0.1' });
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a cut head', four.subarray(0, 19)],
    ['a cut head of IPv6', six.subarray(0, 39)],
    ['less than it says', four.subarray(0, -1)],
    ['more than it says', Buffer.concat([four, hex('00')])],
    ['less than it says, in IPv6', six.subarray(0, -1)],
    ['more than it says, in IPv6', Buffer.concat([six, hex('00')])],
    ['another version', Buffer.concat([hex('55'), four.subarray(1)])],
    ['a head shorter than a head', Buffer.concat([hex('44'), four.subarray(1)])],
    ['a head longer than all of it', Buffer.concat([hex('4f'), four.subarray(1)])],
  ])('%s is none', (_what, bytes) => {
    expect(parseIpPacket(bytes)).toBeUndefined();
  });

  test('garbage is none, or has addresses', () => {
    const near = fc
      .tuple(fc.constantFrom(four, six), fc.nat(60), fc.uint8Array({ maxLength: 3 }))
      .map(([sample, at, put]) => {
        const bytes = Buffer.from(sample);
        Buffer.from(put).copy(bytes, Math.min(at, bytes.length));
        return bytes;
      });
    const any = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(near, any), fc.nat(5), (bytes, before) => {
        const packet = parseIpPacket(bytes);
        // The same in the middle of other bytes.
        const all = Buffer.concat([Buffer.alloc(before, 0x45), bytes, Buffer.alloc(60, 0x60)]);
        expect(isIpPacket(all, before, before + bytes.length)).toBe(packet !== undefined);
        if (packet === undefined) return;
        expect(bytes[0]! >> 4).toBe(packet.version);
        expect(formatDestinationKey(destinationKey(all, before))).toBe(packet.destination);
      }),
      { numRuns: 2000 },
    );
  });
});

test('a destination is its own key', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.boolean(), (bytes, isFour) => {
      const address = formatIp(isFour ? bytes.subarray(0, 4) : bytes);
      const key = destinationKey(ipPacket(isFour ? '0.0.0.0' : '::', address), 0);
      expect(typeof key).toBe(isFour ? 'number' : 'string');
      expect(formatDestinationKey(key)).toBe(address);
    }),
  );
});

test('a conversation is known by its addresses, and by nothing else', () => {
  const of = (...what: Parameters<typeof ipPacket>) => conversationOf(ipPacket(...what), 0);
  for (const [a, b, c] of [
    ['10.0.0.1', '10.0.0.2', '10.0.0.3'],
    ['fd00::1', 'fd00::2', 'fd00::3'],
  ] as const) {
    expect(of(a, b, 'one')).toBe(of(a, b, 'another'));
    expect(of(a, b)).not.toBe(of(a, c));
    expect(of(a, b)).not.toBe(of(c, b));
  }
  // Neighbours are spread over two or three.
  for (const ways of [2, 3]) {
    const counts = Array.from({ length: ways }, () => 0);
    for (let host = 1; host < 200; host++) counts[of('10.0.0.1', `10.0.1.${String(host)}`) % ways]!++;
    for (const count of counts) expect(count).toBeGreaterThan(199 / ways / 2);
  }
});

test.each([
  ['224.0.0.251', true],
  ['224.0.1.1', false],
  ['239.1.2.3', false],
  ['255.255.255.255', true],
  ['10.0.0.255', false],
  ['ff02::2', true],
  ['ff12::fb', true],
  ['ff01::1', true],
  ['ff05::2', false],
  ['fe80::1', false],
  ['fd00::1', false],
])('%s stays on its link: %s', (address, expected) => {
  const from = address.includes(':') ? 'fd00::9' : '10.0.0.9';
  expect(staysOnLink(destinationKey(ipPacket(from, address), 0))).toBe(expected);
});
