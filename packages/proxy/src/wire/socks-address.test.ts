import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatHostName,
  formatPort,
  formatSocksAddress,
  maxSocksAddressBytes,
  parseSocksAddress,
} from './socks-address.ts';
import { expectSplitsParseAlike, hex, refusal } from './splits.fixture.ts';

const longest = 'a'.repeat(255);

/** Each kind of address, as it stands on the wire. */
const addresses = [
  ['192.0.2.1', 80, '01 c0000201 0050'],
  ['example.org', 443, '03 0b 6578616d706c652e6f7267 01bb'],
  ['2001:db8::1', 65535, '04 20010db8000000000000000000000001 ffff'],
  ['0.0.0.0', 0, '01 00000000 0000'],
  ['bücher.example', 1, '03 0f 62c3bc636865722e6578616d706c65 0001'],
  [longest, 7, `03 ff ${'61'.repeat(255)} 0007`],
] as const;

describe('addresses of SOCKS5', () => {
  test.each(addresses)('%s:%i', (host, port, bytes) => {
    const written = hex(bytes);
    expect(formatSocksAddress({ host, port })).toEqual(written);
    expect(parseSocksAddress(written, 'client')).toEqual({ message: { host, port }, length: written.length });
  });

  test('an address that is written as a name is read as it is written', () => {
    const parsed = parseSocksAddress(hex(`03 09 ${Buffer.from('127.0.0.1').toString('hex')} 0050`), 'client');
    expect(parsed?.message).toEqual({ host: '127.0.0.1', port: 80 });
  });

  test.each([
    ['an empty name', '03 00 0050', 'malformedRequest'],
    ['a name with a space', '03 02 6120 0050', 'malformedRequest'],
    ['a name with a zero', '03 02 6100 0050', 'malformedRequest'],
    ['a name with a line end', '03 03 610d0a 0050', 'malformedRequest'],
    ['a name that is not UTF-8', '03 02 61ff 0050', 'malformedRequest'],
    ['an unknown kind', '02 00', 'unsupported'],
    ['kind 0', '00', 'unsupported'],
  ])('%s is refused, and whose fault it is depends on who wrote it', (_, bytes, code) => {
    expect(refusal(() => parseSocksAddress(hex(bytes), 'client'))).toBe(`${code} at client`);
    expect(refusal(() => parseSocksAddress(hex(bytes), 'upstream'))).toBe('badUpstreamReply at upstream');
  });

  test.each([
    ['', 80],
    ['a'.repeat(256), 80],
    ['ü'.repeat(128), 80],
    ['a b', 80],
    ['a\n', 80],
    ['fe80::1%eth0', 80],
    ['a', -1],
    ['a', 65536],
    ['a', 1.5],
    ['a', NaN],
  ])('%j:%d cannot be said', (host, port) => {
    expect(refusal(() => formatSocksAddress({ host, port }))).toBe('unsupported at self');
  });

  test('the parts', () => {
    expect(formatPort(258)).toEqual(Buffer.from([1, 2]));
    expect(formatHostName('a.b').toString()).toBe('a.b');
  });

  test('any split parses alike, and garbage is an error', () => {
    const samples = addresses.map(([, , bytes]) => hex(bytes));
    for (const side of ['client', 'upstream'] as const) {
      expectSplitsParseAlike((bytes) => parseSocksAddress(bytes, side), samples, {
        maxBytes: maxSocksAddressBytes,
      });
    }
  });

  test('whatever was read can be written, and is read again as the same', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain(), fc.webAuthority()),
        fc.nat(65535),
        (host, port) => {
          const first = parseSocksAddress(formatSocksAddress({ host, port }), 'client')!.message;
          expect(first.port).toBe(port);
          expect(parseSocksAddress(formatSocksAddress(first), 'client')!.message).toEqual(first);
        },
      ),
    );
  });
});
