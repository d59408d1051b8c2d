import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatSocks5AuthStatus,
  formatSocks5Choice,
  formatSocks5Credentials,
  formatSocks5Offer,
  formatSocks5Reply,
  formatSocks5Request,
  parseSocks5AuthStatus,
  parseSocks5Choice,
  parseSocks5Credentials,
  parseSocks5Offer,
  parseSocks5Reply,
  parseSocks5Request,
  socks5AuthStatus,
  socks5Codes,
  socks5Commands,
  socks5Methods,
} from './socks5.ts';
import { expectSplitsParseAlike, hex, refusal } from './splits.fixture.ts';

const secret = 'x'.repeat(255);
const name = { host: 'a'.repeat(255), port: 1 };

describe('a conversation, message by message', () => {
  test('the methods (RFC 1928, section 3; 0x80 and 0x82 as GOST offers them)', () => {
    const { noAuth, userPass, tls, tlsUserPass, none } = socks5Methods;
    const offer = [noAuth, userPass, tls, tlsUserPass];
    expect(formatSocks5Offer(offer)).toEqual(hex('05 04 00 02 80 82'));
    expect(parseSocks5Offer(hex('05 04 00 02 80 82 05'))).toEqual({ message: offer, length: 6 });
    expect(formatSocks5Choice(none)).toEqual(hex('05 ff'));
    expect(parseSocks5Choice(hex('05 82'))).toEqual({ message: tlsUserPass, length: 2 });
  });

  test('user name and password (RFC 1929)', () => {
    const credentials = { username: 'gost', password: 'pä' };
    expect(formatSocks5Credentials(credentials)).toEqual(hex('01 04 676f7374 03 70c3a4'));
    expect(parseSocks5Credentials(hex('01 04 676f7374 03 70c3a4'))?.message).toEqual(credentials);
    expect(parseSocks5Credentials(hex('01 00 00'))?.message).toEqual({ username: '', password: '' });
    expect(formatSocks5AuthStatus(socks5AuthStatus.refused)).toEqual(hex('01 01'));
    expect(parseSocks5AuthStatus(hex('01 00'))?.message).toBe(socks5AuthStatus.accepted);
  });

  test('request and answer (RFC 1928, sections 4 and 6)', () => {
    const request = { command: socks5Commands.connect, address: { host: 'a.b', port: 443 } };
    expect(formatSocks5Request(request)).toEqual(hex('05 01 00 03 03 612e62 01bb'));
    expect(parseSocks5Request(hex('05 01 00 03 03 612e62 01bb 1603'))).toEqual({
      message: request,
      length: 10,
    });
    const tunnel = { command: socks5Commands.udpTunnel, address: { host: '0.0.0.0', port: 0 } };
    expect(formatSocks5Request(tunnel)).toEqual(hex('05 f3 00 01 00000000 0000'));
    expect(formatSocks5Reply(socks5Codes.notAllowed)).toEqual(hex('05 02 00 01 00000000 0000'));
    expect(formatSocks5Reply(0, { host: '::1', port: 1080 })).toEqual(
      hex('05 00 00 04 00000000000000000000000000000001 0438'),
    );
    expect(parseSocks5Reply(hex('05 03 00 01 7f000001 0050'))?.message).toEqual({
      code: 3,
      bound: { host: '127.0.0.1', port: 80 },
    });
  });

  test('an answer without an address says so in one of two ways', () => {
    expect(parseSocks5Reply(hex('05 00 00 03 00 0000 aa'))).toEqual({
      message: { code: 0, bound: { host: '0.0.0.0', port: 0 } },
      length: 7,
    });
    expect(refusal(() => parseSocks5Request(hex('05 01 00 03 00 0050')))).toBe('malformedRequest at client');
  });
});

describe('what is refused', () => {
  test.each([
    ['another version', parseSocks5Offer, '04 01 00', 'malformedRequest at client'],
    ['no methods', parseSocks5Offer, '05 00', 'malformedRequest at client'],
    [
      'another version of the credentials',
      parseSocks5Credentials,
      '05 01 61 01 61',
      'malformedRequest at client',
    ],
    ['credentials that are no text', parseSocks5Credentials, '01 01 ff 01 61', 'malformedRequest at client'],
    ['a password that is no text', parseSocks5Credentials, '01 01 61 01 ff', 'malformedRequest at client'],
    ['a request of another version', parseSocks5Request, '04 01', 'malformedRequest at client'],
    ['a reserved byte in a request', parseSocks5Request, '05 01 01', 'malformedRequest at client'],
    ['an unknown kind of address', parseSocks5Request, '05 01 00 05', 'unsupported at client'],
    ['a choice of another version', parseSocks5Choice, '48 54', 'badUpstreamReply at upstream'],
    ['a status of another version', parseSocks5AuthStatus, '05 00', 'badUpstreamReply at upstream'],
    ['an answer of another version', parseSocks5Reply, '00 5a', 'badUpstreamReply at upstream'],
    ['a reserved byte in an answer', parseSocks5Reply, '05 00 ff', 'badUpstreamReply at upstream'],
    ['an answer with an unknown address', parseSocks5Reply, '05 00 00 07', 'badUpstreamReply at upstream'],
  ] as const)('%s', (_, parse, bytes, expected) => {
    expect(refusal(() => parse(hex(bytes)))).toBe(expected);
  });

  test('what cannot be said', () => {
    const port = { host: 'a', port: 70000 };
    for (const say of [
      () => formatSocks5Offer([]),
      () => formatSocks5Offer(Array.from({ length: 256 }, () => 0)),
      () => formatSocks5Offer([256]),
      () => formatSocks5Choice(-1),
      () => formatSocks5Credentials({ username: `${secret}x`, password: '' }),
      () => formatSocks5Credentials({ username: '', password: 'ü'.repeat(128) }),
      () => formatSocks5AuthStatus(1.5),
      () => formatSocks5Request({ command: 1, address: port }),
      () => formatSocks5Request({ command: 256, address: name }),
      () => formatSocks5Reply(0, { host: '', port: 0 }),
    ]) {
      expect(refusal(say)).toBe('unsupported at self');
    }
  });
});

describe('any split parses alike, garbage is an error, and nothing is read beyond', () => {
  test.each([
    [
      'offer',
      parseSocks5Offer,
      [formatSocks5Offer([0]), formatSocks5Offer(Array.from({ length: 255 }, (_, i) => i))],
      257,
    ],
    ['choice', parseSocks5Choice, [formatSocks5Choice(0)], 2],
    [
      'credentials',
      parseSocks5Credentials,
      [
        formatSocks5Credentials({ username: 'a', password: '' }),
        formatSocks5Credentials({ username: secret, password: secret }),
      ],
      513,
    ],
    ['status', parseSocks5AuthStatus, [formatSocks5AuthStatus(0)], 2],
    [
      'request',
      parseSocks5Request,
      [
        formatSocks5Request({ command: 1, address: { host: '1.2.3.4', port: 5 } }),
        formatSocks5Request({ command: 0xf3, address: { host: '::', port: 0 } }),
        formatSocks5Request({ command: 3, address: name }),
      ],
      262,
    ],
    [
      'reply',
      parseSocks5Reply,
      [formatSocks5Reply(0, name), formatSocks5Reply(1), hex('05 00 00 03 00 0000')],
      262,
    ],
  ] as const)('%s', (_, parse, samples, maxBytes) => {
    expectSplitsParseAlike<unknown>(parse, samples, { maxBytes });
  });

  test('what is written is read', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 60 });
    fc.assert(
      fc.property(
        text,
        text,
        fc.nat(255),
        fc.domain(),
        fc.nat(65535),
        (username, password, number, host, port) => {
          expect(parseSocks5Credentials(formatSocks5Credentials({ username, password }))?.message).toEqual({
            username,
            password,
          });
          const address = { host, port };
          expect(parseSocks5Request(formatSocks5Request({ command: number, address }))?.message).toEqual({
            command: number,
            address,
          });
          expect(parseSocks5Reply(formatSocks5Reply(number, address))?.message).toEqual({
            code: number,
            bound: address,
          });
        },
      ),
    );
  });
});
