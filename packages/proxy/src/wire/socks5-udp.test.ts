import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatSocks5Datagram,
  formatSocks5Frame,
  parseSocks5Datagram,
  parseSocks5Frame,
} from './socks5-udp.ts';
import { cut, expectSplitsParseAlike, hex, nearly, refusal } from './splits.fixture.ts';
import { WireReader } from './wire-reader.ts';

const address = { host: '192.0.2.53', port: 53 };
const dns = Buffer.from('query');

describe('datagrams (RFC 1928, section 7)', () => {
  test('there and back', () => {
    const bytes = hex(`0000 00 01 c0000235 0035 ${dns.toString('hex')}`);
    expect(formatSocks5Datagram({ address, data: dns })).toEqual(bytes);
    expect(parseSocks5Datagram(bytes, 'client')).toEqual({ fragment: 0, address, data: dns });
    expect(parseSocks5Datagram(hex('0000 00 03 01 61 0035'), 'client').data).toHaveLength(0);
  });

  test('a fragment says that it is one', () => {
    expect(parseSocks5Datagram(hex('0000 81 01 c0000235 0035 00'), 'client').fragment).toBe(0x81);
  });

  test.each([
    ['nothing', ''],
    ['too short for a header', '0000 00 01 c00002'],
    ['a name that is cut off', '0000 00 03 05 6162'],
    ['a reserved byte', '0001 00 01 c0000235 0035'],
    ['an empty name', '0000 00 03 00 0035'],
  ])('%s is refused', (_, bytes) => {
    expect(refusal(() => parseSocks5Datagram(hex(bytes), 'client'))).toBe('malformedRequest at client');
    expect(refusal(() => parseSocks5Datagram(hex(bytes), 'upstream'))).toBe('badUpstreamReply at upstream');
  });

  test('garbage is an error or a datagram', () => {
    const samples = [formatSocks5Datagram({ address, data: dns })];
    fc.assert(
      fc.property(nearly(samples), (bytes) => {
        const expected = /^(nothing|malformedRequest at client|unsupported at client)$/;
        expect(refusal(() => parseSocks5Datagram(bytes, 'client'))).toMatch(expected);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('frames of the UDP tunnel', () => {
  test('the length stands in the place of RSV, and FRAG is 0xFF', () => {
    const bytes = hex(`0005 ff 01 c0000235 0035 ${dns.toString('hex')}`);
    expect(formatSocks5Frame({ address, data: dns })).toEqual(bytes);
    expect(parseSocks5Frame(bytes, 'client')).toEqual({ message: { address, data: dns }, length: 15 });
    // GOST v2 has 0 there.
    const old = Buffer.from(bytes);
    old[2] = 0;
    expect(parseSocks5Frame(old, 'client')?.message).toEqual({ address, data: dns });
  });

  test('an empty datagram can be read and not be written, because GOST would read on', () => {
    expect(parseSocks5Frame(hex('0000 ff 01 c0000235 0035 aa'), 'client')).toEqual({
      message: { address, data: Buffer.alloc(0) },
      length: 10,
    });
    for (const size of [0, 65536]) {
      expect(refusal(() => formatSocks5Frame({ address, data: Buffer.alloc(size) }))).toBe(
        'unsupported at self',
      );
    }
  });

  test('a stream that is out of step ends', () => {
    expect(refusal(() => parseSocks5Frame(hex('0005 01'), 'client'))).toBe('malformedRequest at client');
    expect(refusal(() => parseSocks5Frame(hex('0005 ff 07 00'), 'upstream'))).toBe(
      'badUpstreamReply at upstream',
    );
  });

  test('many frames in one stream, however it is cut', () => {
    const datagram = fc.record({
      address: fc.record({ host: fc.oneof(fc.ipV4(), fc.domain()), port: fc.nat(65535) }),
      data: fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    });
    fc.assert(
      fc.property(fc.array(datagram, { maxLength: 8 }), fc.array(fc.nat(2500)), (datagrams, places) => {
        const stream = Buffer.concat(datagrams.map(formatSocks5Frame));
        const reader = new WireReader((bytes) => parseSocks5Frame(bytes, 'client'));
        const got: unknown[] = [];
        for (const piece of cut(stream, places)) {
          for (let frame = reader.push(piece); frame !== undefined; frame = reader.push(reader.rest))
            got.push(frame);
        }
        expect(got).toEqual(datagrams);
        expect(reader.started).toBe(false);
      }),
    );
  });

  test('the largest frame, and any split of any bytes', () => {
    const largest = formatSocks5Frame({
      address: { host: 'a'.repeat(255), port: 1 },
      data: Buffer.alloc(65535, 7),
    });
    const maxBytes = 65797;
    expect(largest).toHaveLength(maxBytes);
    expect(parseSocks5Frame(largest, 'client')?.length).toBe(maxBytes);
    expect(parseSocks5Frame(largest.subarray(0, -1), 'client')).toBeUndefined();
    const samples = [formatSocks5Frame({ address, data: dns })];
    expectSplitsParseAlike((bytes) => parseSocks5Frame(bytes, 'client'), samples, { maxBytes, numRuns: 300 });
  });
});
