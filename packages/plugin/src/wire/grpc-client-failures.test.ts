import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import type { PluginError } from '../errors.ts';
import {
  answering,
  ask,
  compressed,
  connect,
  data,
  failure,
  grpc,
  headers,
  serve,
  trailers,
} from './grpc-client.fixture.ts';
import { flag, frameType, h2Code } from './h2/codes.ts';
import { block, frame, message, okTrailersBlock, reply, replyBlock, uint32 } from './h2/raw-peer.fixture.ts';

describe('an answer that is none:', () => {
  const cases: [string, Partial<PluginError>, (id: number) => Uint8Array][] = [
    [
      'no message',
      { code: 'badReply', grpcStatus: 12 },
      (id) => Buffer.concat([headers(id, ...grpc), trailers(id, 'grpc-status', '0')]),
    ],
    [
      'only trailers, and OK',
      { code: 'badReply', grpcStatus: 12 },
      (id) => trailers(id, ...grpc, 'grpc-status', '0'),
    ],
    [
      'two messages in one frame',
      { code: 'badReply', grpcStatus: 12 },
      (id) => Buffer.concat([headers(id, ...grpc), data(id, Buffer.concat([message('a'), message('b')]))]),
    ],
    [
      'two messages in two frames',
      { code: 'badReply', grpcStatus: 12 },
      (id) => Buffer.concat([headers(id, ...grpc), data(id, message('a')), data(id, message('b'))]),
    ],
    [
      'no status at the end',
      { code: 'badReply', grpcStatus: 13 },
      (id) => Buffer.concat([headers(id, ...grpc), data(id, message('a'), flag.endStream)]),
    ],
    [
      'trailers without grpc-status',
      { code: 'badReply', grpcStatus: 2 },
      (id) => Buffer.concat([headers(id, ...grpc), data(id, message('a')), trailers(id, 'x', 'y')]),
    ],
    [
      'a status that is no number',
      { code: 'badReply', grpcStatus: 2 },
      (id) =>
        Buffer.concat([headers(id, ...grpc), data(id, message('a')), trailers(id, 'grpc-status', 'fine')]),
    ],
    [
      'a message cut short',
      { code: 'badReply', grpcStatus: 13 },
      (id) =>
        Buffer.concat([
          headers(id, ...grpc),
          data(id, message('abc').subarray(0, 7)),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    [
      'a prefix cut short',
      { code: 'badReply', grpcStatus: 13 },
      (id) =>
        Buffer.concat([headers(id, ...grpc), data(id, Buffer.alloc(3)), trailers(id, 'grpc-status', '0')]),
    ],
    [
      'a compressed flag of 2',
      { code: 'badReply', grpcStatus: 13 },
      (id) =>
        Buffer.concat([
          headers(id, ...grpc),
          data(id, Buffer.from([2, 0, 0, 0, 0])),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    [
      'another content type',
      { code: 'badReply', grpcStatus: 2, httpStatus: 200 },
      (id) => trailers(id, ':status', '200', 'content-type', 'text/html'),
    ],
    [
      'another message format',
      { code: 'badReply', grpcStatus: 13 },
      (id) => headers(id, ':status', '200', 'content-type', 'application/grpc+json'),
    ],
    [
      'compressed, but not saying how',
      { code: 'badReply', grpcStatus: 13 },
      (id) =>
        Buffer.concat([
          headers(id, ...grpc),
          data(id, compressed(gzipSync('a'))),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    [
      'compressed in a way that nobody asked for',
      { code: 'badReply', grpcStatus: 13 },
      (id) =>
        Buffer.concat([
          headers(id, ...grpc, 'grpc-encoding', 'zstd'),
          data(id, compressed(Buffer.from('a'))),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    [
      'gzip that is none',
      { code: 'badReply', grpcStatus: 13 },
      (id) =>
        Buffer.concat([
          headers(id, ...grpc, 'grpc-encoding', 'gzip'),
          data(id, compressed(Buffer.from('a'))),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    [
      'a gzip bomb',
      { code: 'badReply', grpcStatus: 8 },
      (id) =>
        Buffer.concat([
          headers(id, ...grpc, 'grpc-encoding', 'gzip'),
          data(id, compressed(gzipSync(Buffer.alloc(5_000_000)))),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    [
      'too large',
      { code: 'badReply', grpcStatus: 8 },
      (id) =>
        Buffer.concat([
          headers(id, ...grpc),
          data(id, Buffer.concat([Buffer.from([0]), uint32(1024 * 1024 + 1)])),
        ]),
    ],
    [
      'a redirect',
      { code: 'badReply', grpcStatus: 2, httpStatus: 302 },
      (id) => trailers(id, ':status', '302', 'location', '/'),
    ],
    [
      '401',
      { code: 'unauthenticated', grpcStatus: 16, httpStatus: 401 },
      (id) => trailers(id, ':status', '401'),
    ],
    ['404', { code: 'internal', grpcStatus: 12, httpStatus: 404 }, (id) => trailers(id, ':status', '404')],
    ['429', { code: 'overloaded', grpcStatus: 14, httpStatus: 429 }, (id) => trailers(id, ':status', '429')],
    ['503', { code: 'unreachable', grpcStatus: 14, httpStatus: 503 }, (id) => trailers(id, ':status', '503')],
    [
      '500 with a page',
      { code: 'internal', grpcStatus: 2, httpStatus: 500 },
      (id) =>
        Buffer.concat([
          headers(id, ':status', '500', 'content-type', 'text/html'),
          data(id, Buffer.from('<p>'), 1),
        ]),
    ],
    [
      'headers that are malformed',
      { code: 'badReply', grpcStatus: 13 },
      (id) => headers(id, ...grpc, 'Upper', '1'),
    ],
    [
      'no :status',
      { code: 'badReply', grpcStatus: 13 },
      (id) => headers(id, 'content-type', 'application/grpc'),
    ],
    ['DATA before HEADERS', { code: 'badReply', grpcStatus: 13 }, (id) => data(id, message('a'))],
    [
      'a body longer than content-length',
      { code: 'badReply', grpcStatus: 13 },
      (id) => Buffer.concat([headers(id, ...grpc, 'content-length', '3'), data(id, message('a'))]),
    ],
    [
      'RST_STREAM INTERNAL_ERROR',
      { code: 'internal', grpcStatus: 13 },
      (id) => frame(3, 0, id, uint32(h2Code.internalError)),
    ],
    [
      'RST_STREAM CANCEL',
      { code: 'internal', grpcStatus: 1 },
      (id) => frame(3, 0, id, uint32(h2Code.cancel)),
    ],
    [
      'RST_STREAM ENHANCE_YOUR_CALM',
      { code: 'overloaded', grpcStatus: 8 },
      (id) => frame(3, 0, id, uint32(h2Code.enhanceYourCalm)),
    ],
    [
      'RST_STREAM REFUSED_STREAM behind the head, when it has been acted on',
      { code: 'unreachable', grpcStatus: 14 },
      (id) => Buffer.concat([headers(id, ...grpc), frame(3, 0, id, uint32(h2Code.refusedStream))]),
    ],
    [
      'GOAWAY below the call behind the head, when it has been acted on',
      { code: 'unreachable', grpcStatus: 14 },
      (id) => Buffer.concat([headers(id, ...grpc), frame(7, 0, 0, uint32(0, 0))]),
    ],
    [
      'two statuses, the first of them OK',
      { code: 'badReply', grpcStatus: 2 },
      (id) =>
        Buffer.concat([
          headers(id, ...grpc),
          data(id, message('a')),
          trailers(id, 'grpc-status', '0', 'grpc-status', '7'),
        ]),
    ],
    [
      'UNAVAILABLE',
      { code: 'unreachable', grpcStatus: 14 },
      (id) => trailers(id, ...grpc, 'grpc-status', '14'),
    ],
    [
      'PERMISSION_DENIED',
      { code: 'unauthenticated', grpcStatus: 7 },
      (id) => trailers(id, ...grpc, 'grpc-status', '7'),
    ],
    [
      'a status that nobody knows',
      { code: 'internal', grpcStatus: 2 },
      (id) => trailers(id, ...grpc, 'grpc-status', '99'),
    ],
    [
      'a broken header block',
      { code: 'unreachable', grpcStatus: 14 },
      (id) => frame(1, 4, id, Buffer.from([0xff, 0xff])),
    ],
    [
      'a frame that is too large',
      { code: 'unreachable', grpcStatus: 14 },
      (id) => data(id, Buffer.alloc(20_000)),
    ],
    [
      'DATA on a stream that was never opened',
      { code: 'unreachable', grpcStatus: 14 },
      () => data(77, message('a')),
    ],
    [
      'a push',
      { code: 'unreachable', grpcStatus: 14 },
      (id) => frame(5, 4, id, Buffer.concat([uint32(2), replyBlock])),
    ],
  ];
  test.each(cases)('%s', async (_, expected, bytes) => {
    const client = connect(await serve(answering(bytes)));
    const error = await failure(client.call(ask));
    expect({ ...error, message: error.message }).toMatchObject(expected);
    expect(error.unsent).toBe(false);
  });

  test('a header list beyond the limit', async () => {
    // Huffman makes the block two thirds of the list, so the block itself passes.
    const many = Array.from({ length: 70 }, (_, i) => [`x${i}`, 'a'.repeat(1000)]).flat();
    const bytes = (id: number): Buffer => {
      const whole = block(...grpc, ...many);
      expect(whole.length).toBeLessThan(64 * 1024);
      const cut = Math.ceil(whole.length / 5);
      const parts = [0, 1, 2, 3, 4].map((i) => whole.subarray(i * cut, (i + 1) * cut));
      return Buffer.concat(parts.map((part, i) => frame(i === 0 ? 1 : 9, i === 4 ? 4 : 0, id, part)));
    };
    const error = await failure(connect(await serve(answering(bytes))).call(ask));
    expect(error).toMatchObject({ code: 'badReply', grpcStatus: 13 });
    expect(error.message).toContain('header list');
  });

  test('spoils no other call', async () => {
    let count = 0;
    const port = await serve(
      answering((id) => (count++ % 2 === 0 ? data(id, message('a')) : reply(id, 'good'))),
    );
    const client = connect(port);
    for (let i = 0; i < 5; i++) {
      const [bad, good] = await Promise.allSettled([client.call(ask), client.call(ask)]);
      expect(bad.status).toBe('rejected');
      expect(good.status === 'fulfilled' && good.value.message.toString()).toBe('good');
    }
  });
});

describe('an answer that is one:', () => {
  const cases: [string, (id: number) => Uint8Array][] = [
    ['after 1xx', (id) => Buffer.concat([headers(id, ':status', '103'), reply(id)])],
    [
      'in padded frames',
      (id) =>
        Buffer.concat([
          headers(id, ...grpc),
          frame(
            frameType.data,
            flag.padded,
            id,
            Buffer.concat([Buffer.from([9]), message('x'), Buffer.alloc(9)]),
          ),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    [
      'byte by byte',
      (id) =>
        Buffer.concat([
          headers(id, ...grpc),
          ...[...message('x')].map((byte) => data(id, Buffer.from([byte]))),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    [
      'with grpc-status in the headers as well',
      (id) =>
        Buffer.concat([
          headers(id, ...grpc, 'grpc-status', '9'),
          data(id, message('x')),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    [
      'gzip',
      (id) =>
        Buffer.concat([
          headers(id, ...grpc, 'grpc-encoding', 'gzip'),
          data(id, compressed(gzipSync('x'))),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    [
      'gzip announced, but not used',
      (id) =>
        Buffer.concat([
          headers(id, ...grpc, 'grpc-encoding', 'gzip'),
          data(id, message('x')),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    [
      'with +proto and a charset',
      (id) =>
        Buffer.concat([
          headers(id, ':status', '200', 'content-type', 'application/grpc+proto; charset=utf-8'),
          data(id, message('x')),
          trailers(id, 'grpc-status', '0'),
        ]),
    ],
    ['followed by RST_STREAM NO_ERROR', (id) => Buffer.concat([reply(id), frame(3, 0, id, uint32(0))])],
  ];
  test.each(cases)('%s', async (_, bytes) => {
    const client = connect(await serve(answering(bytes)));
    for (let i = 0; i < 3; i++) expect((await client.call(ask)).message.toString()).toBe('x');
  });

  test('as large as allowed, however it is cut', async () => {
    const body = Buffer.alloc(1024 * 1024, 'abc');
    const whole = message(body);
    const bytes = (id: number): Buffer => {
      const parts: Buffer[] = [headers(id, ...grpc)];
      for (let at = 0; at < whole.length; at += 9999) parts.push(data(id, whole.subarray(at, at + 9999)));
      return Buffer.concat([...parts, trailers(id, 'grpc-status', '0')]);
    };
    const answer = await connect(await serve(answering(bytes))).call(ask);
    expect(answer.message.equals(body)).toBe(true);
  });

  test('understands a header block that the server sends in another table size', async () => {
    const port = await serve(
      answering((id) =>
        Buffer.concat([
          frame(1, 4, id, Buffer.concat([Buffer.from([0x20]), replyBlock])),
          data(id, message('x')),
          frame(1, 5, id, okTrailersBlock),
        ]),
      ),
    );
    const client = connect(port);
    for (let i = 0; i < 3; i++) expect((await client.call(ask)).message.toString()).toBe('x');
  });
});
