import { once } from 'node:events';
import * as http2 from 'node:http2';
import type * as net from 'node:net';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { serveH2 } from './grpc-server.ts';
import type { H2ServeOptions, H2Served } from './grpc-server.ts';
import { GrpcStatus } from './grpc.ts';
import type { GrpcHandler, GrpcServedCall } from './grpc.ts';
import { clientPreface, flag, frameType, h2Code } from './h2/codes.ts';
import {
  block,
  connectRaw,
  frame,
  listenRaw,
  message,
  request,
  requestFields,
  settings,
  uint32,
} from './h2/raw-peer.fixture.ts';
import type { RawPeer } from './h2/raw-peer.fixture.ts';
import type { HttpHandler } from './http.ts';

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

const echo: GrpcHandler = (call) => ({ message: call.message });
const notFound: HttpHandler = () => ({ status: 404, body: 'nothing here' });

async function listen(
  options: Partial<H2ServeOptions> = {},
): Promise<{ port: number; served: Promise<H2Served> }> {
  let resolve: (served: H2Served) => void = () => {};
  const served = new Promise<H2Served>((done) => (resolve = done));
  const { port, close } = await listenRaw((socket: net.Socket) => {
    resolve(serveH2(socket, { grpc: echo, http: notFound, ...options }));
  });
  opened.push(close);
  return { port, served };
}

async function connect(options: Partial<H2ServeOptions> = {}): Promise<RawPeer> {
  const { port } = await listen(options);
  const peer = await connectRaw(port);
  opened.push(async () => peer.socket.destroy());
  peer.greet();
  return peer;
}

function fieldsOf(list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i], list[2 * i + 1]]),
  );
}

/** Sends a call with further headers and a body as given; returns everything of the answer. */
async function call(
  peer: RawPeer,
  extra: string[],
  body: Uint8Array,
): Promise<{ head: Record<string, string>; data: Buffer; end: Record<string, string> }> {
  const fields = [...requestFields];
  for (let i = 0; i < extra.length; i += 2) {
    const at = fields.indexOf(extra[i]!);
    if (at >= 0) fields[at + 1] = extra[i + 1]!;
    else fields.push(extra[i]!, extra[i + 1]!);
  }
  peer.send(
    frame(frameType.headers, flag.endHeaders, 1, block(...fields)),
    frame(frameType.data, flag.endStream, 1, body),
  );
  const first = await peer.section();
  if ((first.flags & flag.endStream) !== 0) {
    return { head: fieldsOf(first.fields), data: Buffer.alloc(0), end: fieldsOf(first.fields) };
  }
  const data = await peer.next(frameType.data);
  const end = await peer.section();
  return { head: fieldsOf(first.fields), data: data.payload, end: fieldsOf(end.fields) };
}

const compressed = (bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([1]), uint32(bytes.length), bytes]);

describe('a call that is none gets the status that says so:', () => {
  const cases: [string, string, string[], Uint8Array][] = [
    ['no message', '12', [], Buffer.alloc(0)],
    ['two messages', '12', [], Buffer.concat([message('a'), message('b')])],
    ['half a message', '13', [], message('abc').subarray(0, 6)],
    ['half a prefix', '13', [], Buffer.alloc(2)],
    ['a compressed flag of 3', '13', [], Buffer.from([3, 0, 0, 0, 0])],
    ['too large', '8', [], Buffer.concat([Buffer.from([0]), uint32(1001)])],
    ['a gzip bomb', '8', ['grpc-encoding', 'gzip'], compressed(gzipSync(Buffer.alloc(100_000)))],
    ['gzip that is none', '13', ['grpc-encoding', 'gzip'], compressed(Buffer.from('abc'))],
    ['compressed, but not saying how', '13', [], compressed(gzipSync('abc'))],
    ['a compression that nobody knows', '12', ['grpc-encoding', 'snappy'], message('a')],
    ['another message format', '12', ['content-type', 'application/grpc+json'], message('a')],
    ['another verb', '12', [':method', 'GET'], message('a')],
    ['a grpc-timeout that is none', '13', ['grpc-timeout', 'soon'], message('a')],
  ];
  test.each(cases)('%s', async (_, status, extra, body) => {
    const peer = await connect({ limits: { maxRequestBytes: 1000 } });
    expect((await call(peer, extra, body)).end['grpc-status']).toBe(status);
  });
});

describe('an answer', () => {
  test('is compressed for whoever compresses and takes it, and for nobody else', async () => {
    const both = ['grpc-encoding', 'gzip', 'grpc-accept-encoding', 'identity, gzip'];
    const answer = await call(await connect(), both, compressed(gzipSync('abc')));
    expect(answer.head['grpc-encoding']).toBe('gzip');
    expect(gunzipSync(answer.data.subarray(5)).toString()).toBe('abc');
    const plain = await call(await connect(), both.slice(0, 2), compressed(gzipSync('abc')));
    expect(plain.head['grpc-encoding']).toBeUndefined();
    expect(plain.data.subarray(5).toString()).toBe('abc');
  });

  test('has the content type of the question', async () => {
    const answer = await call(await connect(), ['content-type', 'application/grpc+proto'], message('a'));
    expect(answer.head['content-type']).toBe('application/grpc+proto');
  });

  test('with metadata that cannot be sent is INTERNAL, and the connection lives', async () => {
    for (const trailers of [
      ['X', 'y'],
      ['x', 'a\nb'],
      ['x', 'ü'],
    ]) {
      const peer = await connect({ grpc: () => ({ message: Buffer.alloc(0), trailers }) });
      expect((await call(peer, [], message('a'))).end['grpc-status']).toBe('13');
    }
  });

  test('that is none, as plain JavaScript may give, is INTERNAL, and the connection lives', async () => {
    const wrong = [undefined, null, {}, { message: 'text' }, { message: Buffer.alloc(0), trailers: 5 }];
    for (const value of wrong) {
      for (const grpc of [() => value, () => Promise.resolve(value)]) {
        const peer = await connect({ grpc: grpc as unknown as GrpcHandler });
        expect((await call(peer, [], message('a'))).end['grpc-status']).toBe('13');
      }
    }
  });

  test('of a status keeps its words and details whatever they are', async () => {
    const grpc: GrpcHandler = () => {
      throw new GrpcStatus(5, ' 100% Ünïcode\n ', {
        details: Buffer.from([255, 0]),
        trailers: ['ok', '1', 'Bad\n', '2'],
      });
    };
    const { end } = await call(await connect({ grpc }), [], message('a'));
    expect(end['grpc-status']).toBe('5');
    expect(decodeURIComponent(end['grpc-message']!)).toBe(' 100% Ünïcode\n ');
    expect(end['grpc-status-details-bin']).toBe('/wA');
  });
});

describe('the signal of a call', () => {
  /** A handler that waits, and what it saw. */
  function waiting(): { grpc: GrpcHandler; seen: Promise<GrpcServedCall>; aborted: Promise<void> } {
    let see: (call: GrpcServedCall) => void = () => {};
    let abort: () => void = () => {};
    const seen = new Promise<GrpcServedCall>((resolve) => (see = resolve));
    const aborted = new Promise<void>((resolve) => (abort = resolve));
    const grpc: GrpcHandler = (one) => {
      one.signal.addEventListener('abort', () => abort());
      see(one);
      return new Promise(() => {});
    };
    return { grpc, seen, aborted };
  }

  test('fires when the client resets the stream', async () => {
    const { grpc, seen, aborted } = waiting();
    const peer = await connect({ grpc });
    peer.send(request(1));
    await seen;
    peer.send(frame(frameType.rstStream, 0, 1, uint32(h2Code.cancel)));
    await aborted;
  });

  test('fires when the connection is gone', async () => {
    const { grpc, seen, aborted } = waiting();
    const peer = await connect({ grpc });
    peer.send(request(1));
    await seen;
    peer.socket.destroy();
    await aborted;
  });

  test('fires when the deadline passes, and the client is told', async () => {
    const { grpc, aborted } = waiting();
    const peer = await connect({ grpc });
    const answer = await call(peer, ['grpc-timeout', '30m'], message('a'));
    expect(answer.end['grpc-status']).toBe('4');
    await aborted;
  });

  test('has fired already for whoever looks late', async () => {
    let late: GrpcServedCall | undefined;
    const peer = await connect({
      grpc: (one) => {
        late = one;
        return new Promise(() => {});
      },
    });
    peer.send(request(1));
    while (late === undefined) await new Promise((resolve) => setImmediate(resolve));
    peer.socket.destroy();
    await peer.closed;
    while (!late.signal.aborted) await new Promise((resolve) => setImmediate(resolve));
  });
});

test('a connection whose first bytes were read by somebody else goes on where it was', async () => {
  const { port, close } = await listenRaw((socket) => {
    socket.once('data', (first: Buffer) => {
      socket.pause();
      serveH2(socket, { grpc: echo, http: notFound, first });
    });
  });
  opened.push(close);
  const peer = await connectRaw(port);
  opened.push(async () => peer.socket.destroy());
  peer.send(Buffer.concat([clientPreface, settings(), request(1, 'early')]).subarray(0, 60));
  await new Promise((resolve) => setImmediate(resolve));
  peer.send(Buffer.concat([clientPreface, settings(), request(1, 'early')]).subarray(60));
  await peer.section();
  expect((await peer.next(frameType.data)).payload.toString('latin1', 5)).toBe('early');
});

describe('HTTP over the same connection', () => {
  interface HttpAnswer {
    readonly headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader;
    readonly body: string;
  }

  async function ask(port: number, headers: http2.OutgoingHttpHeaders, body = ''): Promise<HttpAnswer> {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    opened.push(async () => session.destroy());
    const stream = session.request(headers, { endStream: body === '' });
    if (body !== '') stream.end(body);
    const [answer] = (await once(stream, 'response')) as [HttpAnswer['headers']];
    let text = '';
    for await (const chunk of stream) text += String(chunk);
    return { headers: answer, body: text };
  }

  test('a request arrives whole, and so does its answer', async () => {
    const seen: unknown[] = [];
    const { port } = await listen({
      http: (one) => {
        seen.push([one.verb, one.path, one.query, one.body.toString(), one.signal.aborted]);
        expect(one.headers).toContain('bearer x');
        expect(one.headers).toContain(`127.0.0.1:${port}`);
        return Promise.resolve({
          status: 201,
          headers: ['X-A', 'b', 'connection', 'close'],
          body: '{"ok":true}',
        });
      },
    });
    const headers = { ':method': 'POST', ':path': '/auth?a=b?c', authorization: 'bearer x' };
    const answer = await ask(port, headers, '{"username":"ü"}');
    expect(seen).toEqual([['POST', '/auth', 'a=b?c', '{"username":"ü"}', false]]);
    expect(answer.headers).toMatchObject({ ':status': 201, 'x-a': 'b', 'content-length': '11' });
    expect(answer.headers.connection).toBeUndefined();
    expect(answer.body).toBe('{"ok":true}');
  });

  test('a large answer and a large question pass', async () => {
    const { port } = await listen({ http: ({ body }) => ({ status: 200, body: body.toString() }) });
    const text = 'abcdefgh'.repeat(100_000);
    expect((await ask(port, { ':method': 'PUT', ':path': '/' }, text)).body).toBe(text);
  });

  test('a question that is too large is 413, a handler that breaks 500, HEAD has no body', async () => {
    const { port } = await listen({
      http: ({ verb }) => {
        if (verb === 'DELETE') throw new Error('secret');
        return { status: 200, body: 'hello' };
      },
      limits: { maxRequestBytes: 100 },
    });
    expect((await ask(port, { ':method': 'POST', ':path': '/' }, 'x'.repeat(101))).headers[':status']).toBe(
      413,
    );
    const broken = await ask(port, { ':method': 'DELETE', ':path': '/' });
    expect([broken.headers[':status'], broken.body]).toEqual([500, '']);
    for (const wrong of [undefined, { status: 99, body: '' }, { status: 200 }]) {
      const { port: at } = await listen({ http: (() => Promise.resolve(wrong)) as unknown as HttpHandler });
      expect((await ask(at, { ':method': 'GET', ':path': '/' })).headers[':status']).toBe(500);
    }
    const head = await ask(port, { ':method': 'HEAD', ':path': '/' });
    expect([head.headers['content-length'], head.body]).toEqual(['5', '']);
  });
});
