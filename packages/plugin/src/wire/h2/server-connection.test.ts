import { afterEach, describe, expect, test } from 'vitest';
import { serveH2 } from '../grpc-server.ts';
import type { H2Served, H2ServeOptions } from '../grpc-server.ts';
import type { GrpcHandler } from '../grpc.ts';
import { clientPreface, flag, frameType, h2Code } from './codes.ts';
import { readUint32 } from './frames.ts';
import { HpackEncoder } from './hpack.ts';
import {
  block,
  connectRaw,
  frame,
  listenRaw,
  message,
  request,
  requestBlock,
  requestFields,
  settings,
  uint32,
} from './raw-peer.fixture.ts';
import type { RawPeer } from './raw-peer.fixture.ts';

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

const echo: GrpcHandler = (call) => ({ message: call.message });

async function serve(
  options: Partial<H2ServeOptions> = {},
): Promise<{ peer: RawPeer; served: Promise<H2Served> }> {
  let resolve: (served: H2Served) => void;
  const served = new Promise<H2Served>((done) => (resolve = done));
  const { port, close } = await listenRaw((socket) => {
    resolve(serveH2(socket, { grpc: echo, http: () => ({ status: 404, body: '' }), ...options }));
  });
  opened.push(close);
  const peer = await connectRaw(port);
  opened.push(async () => peer.socket.destroy());
  return { peer, served };
}

/** Reads one whole answer: its text and its status. */
async function answer(peer: RawPeer): Promise<{ id: number; text: string; status: string | undefined }> {
  const head = await peer.section();
  if ((head.flags & flag.endStream) !== 0) return { id: head.id, text: '', status: statusOf(head.fields) };
  const data = await peer.next(frameType.data);
  const end = await peer.section();
  return { id: head.id, text: data.payload.toString('latin1', 5), status: statusOf(end.fields) };
}

function statusOf(fields: string[]): string | undefined {
  return fields[fields.indexOf('grpc-status') + 1];
}

describe('a server takes', () => {
  test('a request whatever way it is cut', async () => {
    const { peer } = await serve();
    const bytes = Buffer.concat([clientPreface, settings(), request(1, 'cut')]);
    for (const byte of bytes) {
      peer.send(Buffer.from([byte]));
      if (byte % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await answer(peer)).toEqual({ id: 1, text: 'cut', status: '0' });
  });

  test('padding, priority, CONTINUATION and frames that nobody knows', async () => {
    const { peer } = await serve();
    peer.greet([99, 1]);
    const head = Buffer.concat([
      Buffer.from([3]),
      uint32(7),
      Buffer.from([200]),
      requestBlock.subarray(0, 5),
      Buffer.alloc(3),
    ]);
    const body = message('padded');
    peer.send(
      frame(frameType.priority, 0, 1, Buffer.from([0, 0, 0, 0, 5])),
      frame(0x55, 0xff, 1, Buffer.from('what is this')),
      frame(frameType.headers, flag.padded | flag.priority, 1, head),
      frame(frameType.continuation, 0, 1, requestBlock.subarray(5, 9)),
      frame(frameType.continuation, 0, 1),
      frame(frameType.continuation, flag.endHeaders, 1, requestBlock.subarray(9)),
      frame(
        frameType.data,
        flag.padded,
        1,
        Buffer.concat([Buffer.from([255]), body.subarray(0, 3), Buffer.alloc(255)]),
      ),
      frame(frameType.data, flag.padded, 1, Buffer.from([0])),
      frame(frameType.data, 0, 1, body.subarray(3)),
      frame(frameType.data, flag.endStream | flag.padded, 1, Buffer.from([1, 0])),
    );
    expect(await answer(peer)).toEqual({ id: 1, text: 'padded', status: '0' });
  });

  test('a request that ends with trailers', async () => {
    const { peer } = await serve();
    peer.greet();
    peer.send(
      frame(frameType.headers, flag.endHeaders, 1, requestBlock),
      frame(frameType.data, 0, 1, message('t')),
      frame(frameType.headers, flag.endHeaders | flag.endStream, 1, block('x-checksum', '1')),
    );
    expect(await answer(peer)).toEqual({ id: 1, text: 't', status: '0' });
  });

  test('blocks that use the table, the same block meaning different things', async () => {
    const paths: string[] = [];
    const { peer } = await serve({
      grpc: (call) => {
        paths.push(call.path);
        return { message: call.message };
      },
    });
    peer.greet();
    const encoder = new HpackEncoder({ maxTableBytes: 4096 });
    let id = 1;
    for (let round = 0; round < 3; round++) {
      for (const path of ['/a.B/C', '/a.B/D', '/a.B/C']) {
        const fields = requestFields.map((field) => (field === '/a.B/C' ? path : field));
        const head = encoder.encode([...fields, 'x-round', `${round}`]);
        peer.send(
          frame(frameType.headers, flag.endHeaders, id, head),
          frame(frameType.data, 1, id, message('')),
        );
        await answer(peer);
        id += 2;
      }
    }
    expect(paths).toEqual([1, 2, 3].flatMap(() => ['/a.B/C', '/a.B/D', '/a.B/C']));
  });
});

describe('a server sends', () => {
  test('no more than the windows allow, and goes on when they grow', async () => {
    const { peer } = await serve();
    peer.greet([4, 10]);
    peer.send(request(1, 'abcdefghijklmnopqrstuvwxyz'));
    await peer.section();
    expect((await peer.next(frameType.data)).payload.length).toBe(10);
    // A smaller initial window makes the stream's one negative (RFC 9113, section 6.9.2): 0 - 5 + 7 leaves 2.
    peer.send(settings([4, 5]), frame(frameType.windowUpdate, 0, 1, uint32(7)));
    expect((await peer.next(frameType.data)).payload.length).toBe(2);
    peer.send(settings([4, 1000]));
    const last = await peer.next(frameType.data);
    expect(last.payload.toString()).toBe('hijklmnopqrstuvwxyz');
    expect(statusOf((await peer.section()).fields)).toBe('0');
  });

  test('no more than the window of the connection allows', async () => {
    const { peer } = await serve();
    peer.greet([4, 1 << 20]);
    const parts = Array.from({ length: 7 }, () => Buffer.alloc(15_000, 'a'));
    peer.send(
      frame(frameType.headers, flag.endHeaders, 1, requestBlock),
      frame(frameType.data, 0, 1, Buffer.concat([Buffer.from([0]), uint32(105_000)])),
      ...parts.map((part, i) => frame(frameType.data, i === 6 ? 1 : 0, 1, part)),
    );
    let received = 0;
    while (received < 65_535) received += (await peer.next(frameType.data)).payload.length;
    expect(received).toBe(65_535);
    peer.send(frame(frameType.ping, 0, 0, Buffer.from('12345678')));
    // The answer to a PING does not wait for windows; that it comes next says that no more DATA did.
    expect((await peer.next(frameType.ping)).payload.toString()).toBe('12345678');
    expect(peer.frames.filter((one) => one.type === frameType.data).length).toBeLessThanOrEqual(5);
    peer.send(frame(frameType.windowUpdate, 0, 0, uint32(1 << 20)));
    while (received < 105_005) received += (await peer.next(frameType.data)).payload.length;
    expect(statusOf((await peer.section()).fields)).toBe('0');
  });

  test('all answers of one turn in one write', async () => {
    const { peer } = await serve();
    peer.greet();
    await peer.next(frameType.settings);
    let chunks = 0;
    peer.socket.on('data', () => chunks++);
    peer.send(...Array.from({ length: 50 }, (_, i) => request(2 * i + 1)));
    for (let i = 0; i < 50; i++) await answer(peer);
    expect(chunks).toBeLessThanOrEqual(3);
  });
});

describe('a server refuses', () => {
  const connectionErrors: [string, number, () => Buffer][] = [
    [
      'a first frame that is not SETTINGS',
      h2Code.protocolError,
      () => Buffer.concat([clientPreface, request(1)]),
    ],
    ['DATA on stream 0', h2Code.protocolError, () => frame(frameType.data, 0, 0)],
    ['HEADERS on stream 0', h2Code.protocolError, () => frame(frameType.headers, 4, 0, requestBlock)],
    ['an even stream', h2Code.protocolError, () => frame(frameType.headers, 5, 2, requestBlock)],
    ['DATA on an idle stream', h2Code.protocolError, () => frame(frameType.data, 0, 9)],
    ['RST_STREAM on an idle stream', h2Code.protocolError, () => frame(frameType.rstStream, 0, 9, uint32(0))],
    [
      'WINDOW_UPDATE on an idle stream',
      h2Code.protocolError,
      () => frame(frameType.windowUpdate, 0, 9, uint32(1)),
    ],
    ['WINDOW_UPDATE by 0', h2Code.protocolError, () => frame(frameType.windowUpdate, 0, 0, uint32(0))],
    [
      'a short WINDOW_UPDATE',
      h2Code.frameSizeError,
      () => frame(frameType.windowUpdate, 0, 0, Buffer.alloc(3)),
    ],
    ['a short PING', h2Code.frameSizeError, () => frame(frameType.ping, 0, 0, Buffer.alloc(7))],
    ['PING on a stream', h2Code.protocolError, () => frame(frameType.ping, 0, 1, Buffer.alloc(8))],
    ['a short RST_STREAM', h2Code.frameSizeError, () => frame(frameType.rstStream, 0, 1, Buffer.alloc(3))],
    ['a short PRIORITY', h2Code.frameSizeError, () => frame(frameType.priority, 0, 1, Buffer.alloc(4))],
    ['a short GOAWAY', h2Code.frameSizeError, () => frame(frameType.goAway, 0, 0, Buffer.alloc(7))],
    ['SETTINGS on a stream', h2Code.protocolError, () => frame(frameType.settings, 0, 1)],
    ['SETTINGS of 5 bytes', h2Code.frameSizeError, () => frame(frameType.settings, 0, 0, Buffer.alloc(5))],
    ['an ACK with a payload', h2Code.frameSizeError, () => frame(frameType.settings, 1, 0, Buffer.alloc(6))],
    ['an initial window beyond 2^31-1', h2Code.flowControlError, () => settings([4, 0x8000_0000])],
    ['a frame size below 16384', h2Code.protocolError, () => settings([5, 100])],
    ['ENABLE_PUSH 2', h2Code.protocolError, () => settings([2, 2])],
    ['PUSH_PROMISE', h2Code.protocolError, () => frame(frameType.pushPromise, 4, 1, uint32(2))],
    ['CONTINUATION from nowhere', h2Code.protocolError, () => frame(frameType.continuation, 4, 1)],
    [
      'a frame inside a header block',
      h2Code.protocolError,
      () =>
        Buffer.concat([
          frame(frameType.headers, 0, 1, requestBlock),
          frame(frameType.ping, 0, 0, Buffer.alloc(8)),
        ]),
    ],
    [
      'CONTINUATION of another stream',
      h2Code.protocolError,
      () =>
        Buffer.concat([frame(frameType.headers, 0, 1, requestBlock), frame(frameType.continuation, 4, 3)]),
    ],
    [
      'more padding than payload',
      h2Code.protocolError,
      () =>
        Buffer.concat([
          frame(frameType.headers, 4, 1, requestBlock),
          frame(frameType.data, 8, 1, Buffer.from([2, 0])),
        ]),
    ],
    [
      'a broken header block',
      h2Code.compressionError,
      () => frame(frameType.headers, 5, 1, Buffer.from([0xff, 0xff])),
    ],
    [
      'a frame of 16385 bytes',
      h2Code.frameSizeError,
      () => frame(frameType.data, 0, 1, Buffer.alloc(16_385)),
    ],
  ];
  test.each(connectionErrors)('%s, with the connection', async (_, code, bytes) => {
    const { peer } = await serve({ grpc: () => new Promise(() => {}) });
    if (code === h2Code.protocolError && bytes().subarray(0, 3).toString() === 'PRI') peer.send(bytes());
    else {
      peer.greet();
      peer.send(bytes());
    }
    expect(await peer.goAwayCode()).toBe(code);
    await peer.closed;
  });

  test('what is no preface', async () => {
    const { peer } = await serve();
    peer.send(Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'));
    expect(await peer.goAwayCode()).toBe(h2Code.protocolError);
    await peer.closed;
  });

  const swap = (name: string, value: string): string[] => {
    const fields = [...requestFields];
    fields[fields.indexOf(name) + 1] = value;
    return fields;
  };
  const without = (name: string): string[] => {
    const fields = [...requestFields];
    fields.splice(fields.indexOf(name), 2);
    return fields;
  };
  test.each([
    ['an upper-case name', [...requestFields, 'X-Upper', '1']],
    ['connection', [...requestFields, 'connection', 'close']],
    ['transfer-encoding', [...requestFields, 'transfer-encoding', 'chunked']],
    ['te: gzip', swap('te', 'gzip')],
    ['a pseudo-field that nobody knows', [':nonsense', '1', ...requestFields]],
    ['a pseudo-field of answers', [':status', '200', ...requestFields]],
    ['a pseudo-field at the end', [...without(':path'), ':path', '/']],
    ['two :path', [':path', '/', ...requestFields]],
    ['no :method', without(':method')],
    ['no :scheme', without(':scheme')],
    ['no :path', without(':path')],
    ['an empty :path', swap(':path', '')],
    ['a line break in a value', [...requestFields, 'x', 'a\r\nb: c']],
    ['NUL in a value', [...requestFields, 'x', 'a\0b']],
    ['a space in a name', [...requestFields, 'x y', '1']],
    ['an empty name', [...requestFields, '', '1']],
    ['a body longer than content-length', [...requestFields, 'content-length', '2']],
    ['a body shorter than content-length', [...requestFields, 'content-length', '2000']],
    ['a content-length that is no number', [...requestFields, 'content-length', '+6']],
  ])('%s, with the stream only', async (_, fields) => {
    const { peer } = await serve();
    peer.greet();
    peer.send(
      frame(frameType.headers, flag.endHeaders, 1, block(...fields)),
      frame(frameType.data, flag.endStream, 1, message('x')),
      request(3, 'fine'),
    );
    expect(await peer.resetCode()).toBe(h2Code.protocolError);
    expect(await answer(peer)).toEqual({ id: 3, text: 'fine', status: '0' });
  });

  test('streams beyond MAX_CONCURRENT_STREAMS as REFUSED_STREAM', async () => {
    const { peer } = await serve({ grpc: () => new Promise(() => {}), limits: { maxConcurrentStreams: 2 } });
    peer.greet();
    peer.send(request(1), request(3), request(5));
    const reset = await peer.next(frameType.rstStream);
    expect([reset.id, readUint32(reset.payload, 0)]).toEqual([5, h2Code.refusedStream]);
  });

  test('DATA behind the end of a stream', async () => {
    const { peer } = await serve({ grpc: () => new Promise(() => {}) });
    peer.greet();
    peer.send(request(1), frame(frameType.data, 0, 1, Buffer.from('more')));
    expect(await peer.resetCode()).toBe(h2Code.streamClosed);
  });

  test('HEADERS of a stream that is closed, with the connection', async () => {
    const { peer } = await serve();
    peer.greet();
    peer.send(request(1));
    await answer(peer);
    peer.send(frame(frameType.headers, 5, 1, requestBlock));
    expect(await peer.goAwayCode()).toBe(h2Code.streamClosed);
  });
});

describe('a server that closes', () => {
  test('takes what is on its way, finishes it, and names the last stream', async () => {
    let finish: () => void = () => {};
    const grpc: GrpcHandler = (call) =>
      new Promise((resolve) => {
        finish = () => resolve({ message: call.message });
      });
    const { peer, served } = await serve({ grpc });
    peer.greet();
    peer.send(request(1, 'first'));
    const closed = (await served).close(5000);
    const first = await peer.next(frameType.goAway);
    expect(readUint32(first.payload, 0)).toBe(0x7fff_ffff);
    const ping = await peer.next(frameType.ping);
    // This one crossed the GOAWAY, so it still counts.
    peer.send(request(3, 'second'), frame(frameType.ping, flag.ack, 0, ping.payload));
    expect(readUint32((await peer.next(frameType.goAway)).payload, 0)).toBe(3);
    peer.send(request(5, 'too late'));
    const reset = await peer.next(frameType.rstStream);
    expect([reset.id, readUint32(reset.payload, 0)]).toEqual([5, h2Code.refusedStream]);
    finish();
    expect((await answer(peer)).text).toBe('second');
    // The first one's handler never ends; its stream does when the peer goes.
    peer.send(frame(frameType.rstStream, 0, 1, uint32(h2Code.cancel)));
    await peer.closed;
    await closed;
  });

  test('does not wait longer than it was told', async () => {
    const { peer, served } = await serve({ grpc: () => new Promise(() => {}) });
    peer.greet();
    peer.send(request(1));
    await peer.next(frameType.settings);
    await (await served).close(20);
    await peer.closed;
  });
});
