import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatIp, parseIp } from './ip.ts';

describe('IP addresses', () => {
  test.each([
    ['192.0.2.1', 'c0000201', '192.0.2.1'],
    ['0.0.0.0', '00000000', '0.0.0.0'],
    ['::', '00000000000000000000000000000000', '::'],
    ['::1', '00000000000000000000000000000001', '::1'],
    ['1::', '00010000000000000000000000000000', '1::'],
    ['2001:DB8::0:1', '20010db8000000000000000000000001', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '20010000000000010000000000000001', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
    ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.33', '0064ff9b0000000000000000c0000221', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:7.8.9.10', '0001000200030004000500060708090a', '1:2:3:4:5:6:708:90a'],
  ])('%s', (text, bytes, short) => {
    expect(parseIp(text)?.toString('hex')).toBe(bytes);
    expect(formatIp(Buffer.from(bytes, 'hex'))).toBe(short);
  });

  test('what is none', () => {
    for (const text of [
      '',
      'a',
      '1.2.3',
      '1.2.3.256',
      '01.2.3.4',
      ':::',
      '1::2::3',
      'fe80::1%eth0',
      '[::1]',
    ]) {
      expect(parseIp(text)).toBeUndefined();
    }
    expect(() => formatIp(Buffer.alloc(5))).toThrow(RangeError);
  });

  test('any bytes come back, in a text that others read and, for IPv6, write the same', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.array(fc.constantFrom(0, 0, 1, 255), { minLength: 16, maxLength: 16 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
    );
    fc.assert(
      fc.property(bytes, (raw) => {
        const text = formatIp(Buffer.from(raw));
        expect(isIP(text)).toBe(raw.length === 4 ? 4 : 6);
        expect(parseIp(text)).toEqual(Buffer.from(raw));
        if (raw.length === 16 && !text.includes('.')) {
          expect(new URL(`http://[${text}]`).hostname).toBe(`[${text}]`);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
