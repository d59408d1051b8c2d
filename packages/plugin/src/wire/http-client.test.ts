import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { PluginError } from '../errors.ts';
import type { HttpRequest } from './http.ts';
import {
  answering,
  ask,
  closeAll,
  endpointAt,
  failure,
  listen,
  ok,
  open,
  post,
} from './http-peer.fixture.ts';

afterEach(closeAll);

describe('a request', () => {
  it('is written as HTTP/1.1 has it', async () => {
    const peer = await listen((socket) => {
      socket.once('data', (bytes) => {
        socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes.length}\r\n\r\n${bytes.toString()}`);
      });
    });
    const client = open({ ...endpointAt(peer.port), authority: 'plugin.test' });
    const text = async (request: Partial<HttpRequest>): Promise<string> =>
      (await client.request({ ...post, headers: ['X-A', 'b'], ...request })).body.toString();
    const head = 'Host: plugin.test\r\nAccept-Encoding: gzip\r\nX-A: b\r\n';
    expect(await text({})).toBe(`POST /auth HTTP/1.1\r\n${head}Content-Length: 2\r\n\r\n{}`);
    expect(await text({ path: '/x?y=1', body: '"ž"' })).toBe(
      `POST /x?y=1 HTTP/1.1\r\n${head}Content-Length: 4\r\n\r\n"ž"`,
    );
    expect(await text({ verb: 'GET', body: undefined })).toBe(`GET /auth HTTP/1.1\r\n${head}\r\n`);
    expect(await text({ verb: 'DELETE', body: '' })).toContain('Content-Length: 0\r\n\r\n');
  });

  it('that cannot be written fails and breaks nothing', async () => {
    const peer = await listen(answering(ok));
    const client = open(endpointAt(peer.port));
    const attempts: Partial<HttpRequest>[] = [
      { path: '/a b' },
      { path: '/a\r\nX: y' },
      { path: '' },
      { path: '/ž' },
      { verb: 'G T' },
      { verb: '' },
      { headers: ['X-A', 'b\r\nX-B: c'] },
      { headers: ['X A', 'b'] },
      { headers: ['X-A', 'é'] },
    ];
    for (const attempt of attempts) {
      expect(await failure(client.request({ ...post, ...attempt }))).toMatchObject({
        code: 'internal',
        unsent: true,
      });
    }
    expect((await client.request(post)).body.toString()).toBe('ok');
    expect(peer.sockets).toHaveLength(1);
  });
});

describe('an answer', () => {
  it('comes with its headers and its size', async () => {
    const text = 'HTTP/1.1 200 OK\r\nSallyport-TTL-ms: 5\r\nContent-Length: 2\r\n\r\nok';
    const reply = await ask(text);
    expect(reply).toMatchObject({
      status: 200,
      headers: ['sallyport-ttl-ms', '5', 'content-length', '2'],
      bytesReceived: text.length,
    });
    expect(reply.bytesSent).toBeGreaterThan(100);
    expect(reply.body.toString()).toBe('ok');
  });

  it('may be chunked, without a length, empty, or after interim ones', async () => {
    const body = async (answer: string, then: 'stay' | 'end' = 'stay'): Promise<string> =>
      (await ask(answer, then)).body.toString();
    expect(
      await body(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\n{"\r\n3\r\na":\r\n2\r\n1}\r\n0\r\nT: x\r\n\r\n',
      ),
    ).toBe('{"a":1}');
    // As Python's http.server and PHP's built-in server answer.
    expect(await body('HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"ok": true}', 'end')).toBe(
      '{"ok": true}',
    );
    expect(await body('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}', 'end')).toBe('{}');
    expect(await body('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')).toBe('');
    expect(await body(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${ok}`)).toBe(
      'ok',
    );
  });

  it('is decoded', async () => {
    const text = '{"ok":true}';
    for (const [coding, bytes] of [
      ['gzip', gzipSync(text)],
      ['X-GZIP', gzipSync(text)],
      ['deflate', deflateSync(text)],
      ['deflate', deflateRawSync(text)],
      ['identity', Buffer.from(text)],
    ] as const) {
      const head = `HTTP/1.1 200 OK\r\nContent-Encoding: ${coding}\r\nContent-Length: ${bytes.length}\r\n\r\n`;
      const reply = await ask(Buffer.concat([Buffer.from(head), bytes]));
      expect(reply.body.toString(), coding).toBe(text);
    }
  });

  it('is the same however it is split', async () => {
    const bytes = Buffer.from(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n',
    );
    let pieces: Buffer[] = [bytes];
    const peer = await listen((socket) => {
      socket.setNoDelay(true);
      socket.on('data', () => {
        const mine = pieces;
        const next = (index: number): void => {
          if (index < mine.length) socket.write(mine[index]!, () => setImmediate(next, index + 1));
        };
        next(0);
      });
    });
    const client = open(endpointAt(peer.port));
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 1, max: bytes.length - 1 }), { maxLength: 8 }),
        async (cuts) => {
          const places = [0, ...cuts.sort((a, b) => a - b), bytes.length];
          pieces = places.slice(1).map((place, i) => bytes.subarray(places[i], place));
          const reply = await client.request(post);
          expect(reply.body.toString()).toBe('hello world');
          expect(reply.headers).toEqual(['transfer-encoding', 'chunked', 'x-a', 'b']);
        },
      ),
      { numRuns: 100 },
    );
    expect(peer.sockets).toHaveLength(1);
  });

  it('does not change when the connection reads again', async () => {
    const peer = await listen(answering(ok, 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno'));
    const client = open(endpointAt(peer.port));
    const first = await client.request(post);
    const second = await client.request(post);
    expect([first.body.toString(), second.body.toString()]).toEqual(['ok', 'no']);
  });
});

describe('a status other than 200', () => {
  it.each([
    [201, 'badReply'],
    [204, 'badReply'],
    [206, 'badReply'],
    [301, 'badReply'],
    [302, 'badReply'],
    [307, 'badReply'],
    [400, 'internal'],
    [401, 'unauthenticated'],
    [403, 'unauthenticated'],
    [404, 'internal'],
    [405, 'internal'],
    [429, 'overloaded'],
    [500, 'internal'],
    [502, 'unreachable'],
    [503, 'unreachable'],
    [504, 'unreachable'],
  ] as const)('%i is %s', async (status, code) => {
    const error = await failure(
      ask(`HTTP/1.1 ${status} Odd\r\nContent-Length: ${status === 204 ? 0 : 11}\r\n\r\n{"ok":true}`),
    );
    expect(error).toMatchObject({ code, httpStatus: status, unsent: false });
    expect(error.message).toContain(`/auth answered ${status} Odd`);
    expect(error.endpoint).toMatch(/^http:/);
  });

  it('is quoted on one line, and its connection used again', async () => {
    const body = `no \0such\nmodule ${'x'.repeat(1000)}`;
    const peer = await listen(
      answering(`HTTP/1.1 404 Not Found\r\nContent-Length: ${body.length}\r\n\r\n${body}`, ok),
    );
    const client = open(endpointAt(peer.port));
    const { message } = await failure(client.request(post));
    expect(message).toMatch(/answered 404 Not Found: is the path right\? \(no such module x{1,200}…\)$/);
    expect((await client.request(post)).body.toString()).toBe('ok');
    expect(peer.sockets).toHaveLength(1);
  });

  it('names the cure where a plain request met a TLS port', async () => {
    const body = 'Client sent an HTTP request to an HTTPS server.\n';
    const error = await failure(ask(`HTTP/1.0 400 Bad Request\r\n\r\n${body}`, 'end'));
    expect(error).toMatchObject({ code: 'internal', httpStatus: 400 });
    expect(error.message).toContain('speaks TLS: write https:// in the address');
  });

  it('is not followed when it is a redirect', async () => {
    let isAsked = false;
    const other = await listen(() => (isAsked = true));
    const error = await failure(
      ask(`HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:${other.port}/\r\nContent-Length: 0\r\n\r\n`),
    );
    expect(error.message).toContain('redirect not followed (to http://127.0.0.1:');
    expect(isAsked).toBe(false);
  });

  it('says more than a body that hangs, breaks or is too large', async () => {
    const head = 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nx';
    const request = { timeoutMs: 50 };
    for (const error of [
      await failure(ask(head, 'stay', { request })),
      await failure(ask(head, 'end')),
      await failure(ask(head, 'stay', { maxReplyBytes: 10 })),
    ]) {
      expect(error).toMatchObject({ code: 'unauthenticated', httpStatus: 401 });
    }
  });
});

describe('what is no whole answer', () => {
  it.each([
    [
      'a body that ends early',
      'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"ok":true}',
      'end',
      'cut short',
    ],
    [
      'chunks without the last',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n',
      'end',
      'cut short',
    ],
    ['half a head', 'HTTP/1.1 200 OK\r\nContent-', 'end', 'cut short'],
    ['garbage', 'hello, this is no HTTP\r\n', 'stay', 'no proper HTTP/1.1 answer'],
    ['garbage without a line end, closed', 'nonsense', 'end', 'cut short'],
    ['a bare LF', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok', 'stay', 'no proper HTTP/1.1 answer'],
    [
      'length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok',
      'stay',
      'contradict',
    ],
    [
      'lengths that differ',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk',
      'stay',
      'differ',
    ],
    [
      'a bad chunk size',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n',
      'stay',
      'chunk size',
    ],
    [
      'an unknown coding',
      'HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok',
      'stay',
      '"br"',
    ],
    [
      'two codings',
      'HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\nok',
      'stay',
      'gzip, gzip',
    ],
    [
      'gzip that is none',
      'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok',
      'stay',
      'encoding is broken',
    ],
    ['an upgrade', 'HTTP/1.1 101 Switching Protocols\r\n\r\n', 'stay', 'another protocol'],
    ['an endless row of interim answers', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(20), 'stay', 'interim'],
    ['a TLS alert', '\x15\x03\x03\0\x02\x02\x28', 'stay', 'https://'],
    ['an HTTP/2 server', '\0\0\x06\x04\0\0\0\0\0\0\x04\0\x10\0\0', 'stay', 'HTTP/2'],
  ] as const)('%s is badReply', async (_name, answer, then, words) => {
    const error = await failure(ask(Buffer.from(answer, 'latin1'), then));
    expect(error.message).toContain(words);
    expect(error.code).toBe('badReply');
  });

  it('is badReply when it is too large, said, sent, chunked, headed or decoded', async () => {
    const large = 'x'.repeat(2000);
    const bomb = gzipSync(Buffer.alloc(1024 * 1024 * 64));
    const encoded = `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`;
    const options = { maxReplyBytes: 1000 };
    for (const [answer, most] of [
      [`HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n`, options],
      [`HTTP/1.1 200 OK\r\n\r\n${large}`, options],
      [`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n${large}\r\n0\r\n\r\n`, options],
      [`HTTP/1.1 200 OK\r\n${`X-A: ${large}\r\n`.repeat(100)}`, options],
      [Buffer.concat([Buffer.from(encoded), bomb]), { maxReplyBytes: 1024 * 1024 }],
    ] as const) {
      const error = await failure(ask(answer, 'stay', most));
      expect(error.code).toBe('badReply');
      expect(error.message).toMatch(/larger than \d+ bytes/);
    }
    const exact = await ask(
      `HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n${'x'.repeat(1000)}`,
      'stay',
      options,
    );
    expect(exact.body).toHaveLength(1000);
  });

  it('is unreachable when the connection breaks', async () => {
    expect(await failure(ask('', 'end'))).toMatchObject({ code: 'unreachable', unsent: false });
    expect(await failure(ask('', 'reset'))).toMatchObject({ code: 'unreachable', unsent: false });
    // Some systems tell a reset after unread bytes as a plain end.
    const late = await failure(ask('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx', 'reset'));
    expect(['unreachable', 'badReply']).toContain(late.code);
    expect(late.unsent).toBe(false);
  });

  it('is an answer when 200 is whole before the reset', async () => {
    expect((await ask(ok, 'end')).body.toString()).toBe('ok');
  });
});

describe('garbage', () => {
  it('never does more than fail a call', async () => {
    let answer = Buffer.alloc(0);
    const peer = await listen((socket) => socket.once('data', () => socket.end(answer)));
    const client = open(endpointAt(peer.port));
    const piece = fc.oneof(
      fc.constantFrom(
        'HTTP/1.1 200 OK\r\n',
        'Content-Length: 2\r\n',
        'Transfer-Encoding: chunked\r\n',
        '\r\n',
        '2\r\nok\r\n',
        '0\r\n\r\n',
      ),
      fc.string({ maxLength: 5 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 10 }), async (pieces) => {
        answer = Buffer.from(pieces.join(''), 'latin1');
        await client.request(post).then(
          (reply) => expect(reply.status).toBe(200),
          (error: unknown) => expect(error).toBeInstanceOf(PluginError),
        );
      }),
      { numRuns: 200 },
    );
  });
});
