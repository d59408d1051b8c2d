import { expect, test } from 'vitest';
import { hex } from '../../wire/splits.fixture.ts';
import { formatAddressOf, formatLinkUp, formatRouteTo, parseAnswer } from './netlink.ts';

test('a device goes up, with the length of its packets', () => {
  expect(formatLinkUp(7, 1420)).toEqual(
    hex(`28000000 1000 0500 00000000 00000000
         00 00 0000 07000000 01000000 01000000
         0800 0400 8c050000`),
  );
});

test('addresses of both families', () => {
  expect(formatAddressOf(7, { address: '192.0.2.1', length: 24 })).toEqual(
    hex(`28000000 1400 0505 00000000 00000000
         02 18 00 00 07000000
         0800 0200 c0000201 0800 0100 c0000201`),
  );
  const six = formatAddressOf(7, { address: 'fd00::1', length: 64 });
  expect(six.length).toBe(16 + 8 + 2 * 20);
  expect(six.subarray(16, 24)).toEqual(hex('0a 40 02 00 07000000'));
});

test('routes to the device, and by a gateway', () => {
  const to = { address: '10.0.0.0', length: 8 };
  expect(formatRouteTo(7, { to, gateway: undefined })).toEqual(
    hex(`2c000000 1800 0505 00000000 00000000
         02 08 00 00 fe 04 fd 01 00000000
         0800 0100 0a000000 0800 0400 07000000`),
  );
  expect(formatRouteTo(7, { to, gateway: '192.0.2.9' }).subarray(16)).toEqual(
    hex('02 08 00 00 fe 04 00 01 00000000 0800 0100 0a000000 0800 0500 c0000209'),
  );
});

test('an answer is a yes, an error or none', () => {
  const head = '24000000 0200 0000 00000000 00000000';
  expect(parseAnswer(hex(`${head} 00000000`))).toBe(0);
  expect(parseAnswer(hex(`${head} ffffffff`))).toBe(1);
  expect(parseAnswer(hex(head))).toBeUndefined();
  expect(parseAnswer(hex('24000000 0300 0000 00000000 00000000 00000000'))).toBeUndefined();
  expect(parseAnswer(Buffer.alloc(0))).toBeUndefined();
});
