import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { maxSniffedBytes, sniffProtocol } from './sniff.ts';
import { hex } from './splits.fixture.ts';

describe('the first bytes', () => {
  test.each([
    ['tls', hex('160301 0200')],
    ['tls', hex('160303')],
    ['http', Buffer.from('GET / HTTP/1.1\r\n')],
    ['http', Buffer.from('CONNECT a:1')],
    ['http', Buffer.from('PROPFIND /')],
    ['http', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')],
    ['socks4', hex('04')],
    ['socks4', hex('0401 0050')],
    ['socks5', hex('05')],
    ['ssh', Buffer.from('SSH-2.0-OpenSSH_9\r\n')],
    ['redis', Buffer.from('*1\r\n$4\r\nPING\r\n')],
    ['unknown', Buffer.from('get / HTTP/1.1')],
    ['unknown', Buffer.from('GETS')],
    ['unknown', hex('160305')],
    ['unknown', hex('1602')],
    ['unknown', hex('00')],
    ['unknown', Buffer.from('SSH-1.5-x')],
    ['needMore', Buffer.alloc(0)],
    ['needMore', hex('16')],
    ['needMore', hex('1603')],
    ['needMore', Buffer.from('P')],
    ['needMore', Buffer.from('OPTIONS')],
    ['needMore', Buffer.from('PRI * HTTP/2.')],
    ['needMore', Buffer.from('SSH-')],
  ] as const)('%s', (expected, bytes) => {
    expect(sniffProtocol(bytes)).toBe(expected);
  });

  test('what has been said once stands, and no more than the longest prefix is waited for', () => {
    const start = fc.oneof(
      fc
        .constantFrom('GET ', 'PRI * HTTP/2.0\r\n', 'SSH-2', '\x16\x03\x01', 'PROPPATCH ')
        .chain((prefix) =>
          fc.nat(prefix.length).map((length) => Buffer.from(prefix.slice(0, length), 'latin1')),
        ),
      fc.uint8Array({ maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 20 }), (first, then) => {
        const early = sniffProtocol(first);
        const late = sniffProtocol(Buffer.concat([first, then]));
        if (early !== 'needMore') expect(late).toBe(early);
        if (first.length + then.length >= maxSniffedBytes) expect(late).not.toBe('needMore');
      }),
      { numRuns: 2000 },
    );
  });
});
