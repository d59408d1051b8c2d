import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { connect } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseClientHello } from './client-hello.ts';
import type { ClientHello } from './client-hello.ts';
import { expectSplitsParseAlike, hex, readOne, refusal } from './splits.fixture.ts';
import { WireReader } from './wire-reader.ts';

/** The one of RFC 8448, section 3. */
const published = hex(`
  16 03 01 00 c4 01 00 00 c0 03 03 cb 34 ec b1 e7 81 63 ba 1c 38 c6 da cb 19 6a 6d ff a2 1a 8d 99 12 ec 18 a2 ef 62 83
  02 4d ec e7 00 00 06 13 01 13 03 13 02 01 00 00 91 00 00 00 0b 00 09 00 00 06 73 65 72 76 65 72 ff 01 00 01 00 00 0a
  00 14 00 12 00 1d 00 17 00 18 00 19 01 00 01 01 01 02 01 03 01 04 00 23 00 00 00 33 00 26 00 24 00 1d 00 20 99 38 1d
  e5 60 e4 bd 43 d2 3d 8e 43 5a 7d ba fe b3 c0 6e 51 c1 3c ae 4d 54 13 69 1e 52 9a af 2c 00 2b 00 03 02 03 04 00 0d 00
  20 00 1e 04 03 05 03 06 03 02 03 08 04 08 05 08 06 04 01 05 01 06 01 02 01 04 02 05 02 06 02 02 02 00 2d 00 02 01 01
  00 1c 00 02 40 01`);

const sized = (size: 1 | 2 | 3, bytes: Buffer) => {
  const length = Buffer.alloc(size);
  length.writeUIntBE(bytes.length, 0, size);
  return Buffer.concat([length, bytes]);
};
const extension = (type: number, data: Buffer) =>
  Buffer.concat([Buffer.from([type >> 8, type & 255]), sized(2, data)]);
const serverName = (name: string) =>
  extension(0, sized(2, Buffer.concat([Buffer.from([0]), sized(2, Buffer.from(name))])));
const alpn = (...names: string[]) =>
  extension(16, sized(2, Buffer.concat(names.map((name) => sized(1, Buffer.from(name))))));

/** A ClientHello without its records. */
function message(extensions: Buffer | undefined, { sessionId = 0, suites = '1301' } = {}): Buffer {
  const body = Buffer.concat([
    hex('0303'),
    Buffer.alloc(32, 7),
    sized(1, Buffer.alloc(sessionId)),
    sized(2, hex(suites)),
    sized(1, hex('00')),
    extensions === undefined ? Buffer.alloc(0) : sized(2, extensions),
  ]);
  return Buffer.concat([Buffer.from([1]), sized(3, body)]);
}
const record = (bytes: Buffer) => Buffer.concat([hex('160301'), sized(2, bytes)]);
const records = (bytes: Buffer, each: number) => {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += each) pieces.push(record(bytes.subarray(at, at + each)));
  return Buffer.concat(pieces);
};

function parsed(bytes: Buffer): ClientHello {
  const result = parseClientHello(bytes)?.message;
  if (result === undefined || result === 'notTls') throw new Error(`got ${String(result)}`);
  return result;
}

describe('a ClientHello', () => {
  test('the published one', () => {
    expect(parseClientHello(published)).toEqual({
      message: { serverName: 'server', alpn: [], versions: [0x0304] },
      length: published.length,
    });
  });

  test.each<[string, ConnectionOptions, ClientHello]>([
    [
      'a name, protocols and both versions',
      { servername: 'www.example.org', ALPNProtocols: ['h2', 'http/1.1'] },
      { serverName: 'www.example.org', alpn: ['h2', 'http/1.1'], versions: [0x0304, 0x0303] },
    ],
    [
      'TLS 1.2 alone, without a name',
      { servername: '', maxVersion: 'TLSv1.2' },
      { serverName: undefined, alpn: [], versions: [0x0303] },
    ],
  ])('of OpenSSL: %s', async (_, options, expected) => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect({ ...options, port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
    // It ends when the test does, in the middle of its handshake.
    client.on('error', () => undefined);
    const [socket] = (await once(server, 'connection')) as [Socket];
    const reader = new WireReader(parseClientHello);
    let hello: ClientHello | 'notTls' | undefined;
    while (hello === undefined) {
      const [bytes] = (await once(socket, 'data')) as [Buffer];
      hello = reader.push(bytes);
    }
    client.destroy();
    socket.destroy();
    server.close();
    expect(hello).toEqual(expected);
    expect(reader.rest).toHaveLength(0);
  });

  test('without extensions', () => {
    expect(parsed(record(message(undefined)))).toEqual({
      serverName: undefined,
      alpn: [],
      versions: [0x0303],
    });
    expect(parsed(record(message(Buffer.alloc(0)))).versions).toEqual([0x0303]);
  });

  test('over several records, also where the head of the message is cut', () => {
    const bytes = message(Buffer.concat([serverName('a.example'), alpn('h2')]));
    for (const each of [2, 3, 5, 40]) {
      const cut = records(bytes, each);
      expect(parseClientHello(Buffer.concat([cut, hex('140303')]))).toEqual({
        message: { serverName: 'a.example', alpn: ['h2'], versions: [0x0303] },
        length: cut.length,
      });
    }
    expect(refusal(() => parseClientHello(records(bytes, 1)))).toBe('malformedRequest at client');
  });

  test('16 KiB are the most', () => {
    const padding = (size: number) => extension(21, Buffer.alloc(size));
    const overhead = message(padding(0)).length;
    const largest = message(padding(16 * 1024 - overhead));
    expect(parsed(record(largest)).versions).toEqual([0x0303]);
    const larger = record(Buffer.concat([hex('01 004000'), Buffer.alloc(4)]));
    expect(refusal(() => parseClientHello(larger))).toBe('malformedRequest at client');
    // What a client may make us hold before it is refused or understood.
    expectSplitsParseAlike(parseClientHello, [records(largest, 300)], { maxBytes: 34_000, numRuns: 20 });
  });
});

describe('what is none', () => {
  test.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n')],
    ['another record', hex('17 03 03 00 10')],
    ['SSL 2', hex('80 2e 01 03 01')],
    ['another major version', hex('16 02 00')],
    ['an empty record', hex('16 03 01 00 00')],
    ['a record that is too long', hex('16 03 01 40 01')],
    ['a ServerHello', hex('16 03 03 00 31 02')],
  ])('%s is not TLS', (_, bytes) => {
    expect(parseClientHello(bytes)).toEqual({ message: 'notTls', length: 0 });
    const reader = new WireReader(parseClientHello);
    expect(reader.push(bytes)).toBe('notTls');
    expect(reader.rest).toEqual(bytes);
  });

  test.each([
    ['a message that is longer than its body', Buffer.concat([message(undefined), hex('00')])],
    ['a session id of 33 bytes', message(undefined, { sessionId: 33 })],
    ['no cipher suites', message(undefined, { suites: '' })],
    ['half a cipher suite', message(undefined, { suites: '130113' })],
    ['an extension twice', message(Buffer.concat([serverName('a'), serverName('b')]))],
    ['an extension that is cut off', message(serverName('abc').subarray(0, -1))],
    ['an empty name', message(serverName(''))],
    ['a name with a zero', message(serverName('a\0b'))],
    ['a name of another kind', message(extension(0, hex('0004 01 0001 61')))],
    ['two names', message(extension(0, hex('0008 00 0001 61 00 0001 62')))],
    ['an empty list of names', message(extension(0, hex('0000')))],
    ['an empty server_name', message(extension(0, hex('')))],
    ['an empty list of protocols', message(extension(16, hex('0000')))],
    ['an empty protocol', message(alpn('h2', ''))],
    ['half a version', message(extension(43, hex('03 030403')))],
    ['no version', message(extension(43, hex('00')))],
    ['bytes after a list', message(extension(43, hex('02 0304 00')))],
  ])('%s is malformed', (_, bytes) => {
    expect(refusal(() => parseClientHello(record(bytes)))).toBe('malformedRequest at client');
  });

  test('a record of another kind in its middle', () => {
    const [first, second] = [record(message(undefined).subarray(0, 20)), hex('15 0303 0002 0100')];
    expect(refusal(() => parseClientHello(Buffer.concat([first, second])))).toBe(
      'malformedRequest at client',
    );
    expect(refusal(() => parseClientHello(Buffer.concat([first, hex('16 02')])))).toBe(
      'malformedRequest at client',
    );
    expect(refusal(() => parseClientHello(Buffer.concat([first, hex('16 03 03 00 00')])))).toBe(
      'malformedRequest at client',
    );
    expect(readOne(parseClientHello, [first])).toEqual({});
  });

  test('any split parses alike, and garbage is an error', () => {
    const samples = [
      published,
      records(message(Buffer.concat([serverName('a.example'), alpn('h2', 'http/1.1')])), 30),
    ];
    expectSplitsParseAlike(parseClientHello, samples, { maxBytes: 34_000 });
  });

  test('any extensions are read or refused', () => {
    const any = fc.array(fc.tuple(fc.constantFrom(0, 16, 43, 13), fc.uint8Array({ maxLength: 20 })), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(any, (extensions) => {
        const bytes = Buffer.concat(extensions.map(([type, data]) => extension(type, Buffer.from(data))));
        expect(refusal(() => parseClientHello(record(message(bytes))))).toMatch(
          /^nothing$|^malformedRequest/,
        );
      }),
      { numRuns: 2000 },
    );
  });
});
