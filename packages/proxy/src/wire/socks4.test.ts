import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatSocks4Reply,
  formatSocks4Request,
  parseSocks4Reply,
  parseSocks4Request,
  socks4Codes,
  socks4Commands,
} from './socks4.ts';
import { expectSplitsParseAlike, hex, refusal } from './splits.fixture.ts';

const { connect } = socks4Commands;
const request = { command: connect, address: { host: '66.102.7.99', port: 80 }, userId: 'Fred' };
const named = { command: connect, address: { host: 'example.com', port: 80 }, userId: '' };
const longest = 'a'.repeat(255);

describe('SOCKS4 and 4a', () => {
  test('a request for an address, and one for a name', () => {
    const bytes = hex('04 01 0050 42660763 46726564 00');
    expect(formatSocks4Request(request)).toEqual(bytes);
    expect(parseSocks4Request(Buffer.concat([bytes, Buffer.from('early')]))).toEqual({
      message: request,
      length: bytes.length,
    });
    const withName = hex('04 01 0050 00000001 00 6578616d706c652e636f6d 00');
    expect(formatSocks4Request(named)).toEqual(withName);
    expect(parseSocks4Request(withName)?.message).toEqual(named);
    // The mark may be any of 255.
    withName[7] = 0xff;
    expect(parseSocks4Request(withName)?.message).toEqual(named);
  });

  test('answers', () => {
    expect(formatSocks4Reply(socks4Codes.granted)).toEqual(hex('00 5a 0000 00000000'));
    expect(formatSocks4Reply(socks4Codes.rejected, { host: '1.2.3.4', port: 5 })).toEqual(
      hex('00 5b 0005 01020304'),
    );
    expect(parseSocks4Reply(hex('00 5d 0005 01020304 aa'))).toEqual({
      message: { code: 93, bound: { host: '1.2.3.4', port: 5 } },
      length: 8,
    });
  });

  test('0.0.0.0 is an address, not the mark of a name', () => {
    expect(parseSocks4Request(hex('04 01 0050 00000000 00'))?.message.address.host).toBe('0.0.0.0');
  });

  test.each([
    ['another version', '05 01'],
    ['an endless user id', `04 01 0050 01020304 ${'61'.repeat(256)}`],
    ['a user id that is no text', '04 01 0050 01020304 ff 00'],
    ['an empty name', '04 01 0050 00000001 00 00'],
    ['an endless name', `04 01 0050 00000001 00 ${'61'.repeat(256)}`],
    ['a name with a space', '04 01 0050 00000001 00 6120 00'],
  ])('%s is refused', (_, bytes) => {
    expect(refusal(() => parseSocks4Request(hex(bytes)))).toBe('malformedRequest at client');
  });

  test('an answer that is none', () => {
    expect(refusal(() => parseSocks4Reply(hex('04 5a')))).toBe('badUpstreamReply at upstream');
    expect(refusal(() => parseSocks4Reply(Buffer.from('HTTP/1.1')))).toBe('badUpstreamReply at upstream');
  });

  test('what cannot be said', () => {
    const asked = (host: string, port = 80) => ({ ...request, address: { host, port } });
    for (const say of [
      () => formatSocks4Request(asked('2001:db8::1')),
      () => formatSocks4Request(asked('::ffff:1.2.3.4')),
      () => formatSocks4Request(asked('fe80::1%eth0')),
      () => formatSocks4Request(asked('0.0.0.7')),
      () => formatSocks4Request(asked(`${longest}a`)),
      () => formatSocks4Request(asked('')),
      () => formatSocks4Request(asked('a\0b')),
      () => formatSocks4Request(asked('a', 65536)),
      () => formatSocks4Request({ ...request, userId: 'a\0b' }),
      () => formatSocks4Request({ ...request, userId: `${longest}a` }),
      () => formatSocks4Request({ ...request, command: 256 }),
      () => formatSocks4Reply(90, { host: '::1', port: 1 }),
      () => formatSocks4Reply(-1),
    ]) {
      expect(refusal(say)).toBe('unsupported at self');
    }
  });

  test('any split parses alike, and garbage is an error', () => {
    const largest = formatSocks4Request({ command: 1, address: { host: longest, port: 1 }, userId: longest });
    expect(largest).toHaveLength(520);
    expectSplitsParseAlike(
      parseSocks4Request,
      [formatSocks4Request(request), formatSocks4Request(named), largest],
      {
        maxBytes: 520,
      },
    );
    expectSplitsParseAlike(parseSocks4Reply, [formatSocks4Reply(90)], { maxBytes: 8 });
  });

  test('what is written is read', () => {
    fc.assert(
      fc.property(
        fc.nat(255),
        fc.oneof(
          fc.ipV4().filter((host) => !/^0\.0\.0\.[1-9]/.test(host)),
          fc.domain(),
        ),
        fc.nat(65535),
        fc.string({ unit: 'grapheme', maxLength: 60 }).filter((text) => !text.includes('\0')),
        (command, host, port, userId) => {
          const message = { command, address: { host, port }, userId };
          expect(parseSocks4Request(formatSocks4Request(message))?.message).toEqual(message);
        },
      ),
    );
  });
});
