import { afterEach, describe, expect, test } from 'vitest';
import { serveH2 } from '../grpc-server.ts';
import type { GrpcHandler } from '../grpc.ts';
import { clientPreface, flag, frameType, h2Code } from './codes.ts';
import { HpackEncoder } from './hpack.ts';
import type { ConnectionEnd } from './connection-options.ts';
import type { H2Limits } from './limits.ts';
import type { RawPeer } from './raw-peer.fixture.ts';
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

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

interface Victim {
  readonly peer: RawPeer;
  /** How the server saw the end. */
  readonly end: Promise<ConnectionEnd>;
  readonly handled: () => number;
}

const never: GrpcHandler = () => new Promise(() => {});
const echo: GrpcHandler = (call) => ({ message: call.message });

async function attack(limits: Partial<H2Limits> = {}, grpc: GrpcHandler = never): Promise<Victim> {
  let handled = 0;
  let resolve: (end: ConnectionEnd) => void;
  const end = new Promise<ConnectionEnd>((done) => (resolve = done));
  const { port, close } = await listenRaw((socket) => {
    serveH2(socket, {
      grpc: (call) => {
        handled++;
        return grpc(call);
      },
      http: () => ({ status: 404, body: '' }),
      limits,
      onEnd: (how) => resolve(how),
    });
  });
  opened.push(close);
  const peer = await connectRaw(port);
  opened.push(async () => peer.socket.destroy());
  return { peer, end, handled: () => handled };
}

/** Sends rounds until the server has closed the connection. */
async function flood(peer: RawPeer, round: (i: number) => Uint8Array, rounds = 100_000): Promise<void> {
  let isClosed = false;
  void peer.closed.then(() => (isClosed = true));
  for (let i = 0; i < rounds && !isClosed; i++) {
    peer.send(round(i));
    if (i % 16 === 15) await new Promise((resolve) => setImmediate(resolve));
  }
  await peer.closed;
}

const repeat = (bytes: Uint8Array, times: number): Buffer =>
  Buffer.concat(Array.from({ length: times }, () => bytes));
const calm = { by: 'error', code: h2Code.enhanceYourCalm };

describe('an attack ends in a closed connection:', () => {
  test.each([
    ['with handlers that take their time', never],
    ['with handlers that answer at once', echo],
  ])('rapid reset, %s', async (_, grpc) => {
    const { peer, end, handled } = await attack({}, grpc);
    peer.greet();
    await flood(peer, (i) =>
      Buffer.concat([request(2 * i + 1), frame(frameType.rstStream, 0, 2 * i + 1, uint32(h2Code.cancel))]),
    );
    expect(await end).toMatchObject(calm);
    // Handlers that never end count against the limit, whether their stream is still there or not.
    expect(handled()).toBeLessThanOrEqual(grpc === never ? 512 : 20_000);
  });

  test('CONTINUATION without an end, whether full or empty', async () => {
    for (const part of [Buffer.alloc(16_384, block('x', 'y')), Buffer.alloc(0)]) {
      const { peer, end, handled } = await attack();
      peer.greet();
      peer.send(frame(frameType.headers, 0, 1, requestBlock));
      await flood(peer, () => frame(frameType.continuation, 0, 1, part));
      expect(await end).toMatchObject(calm);
      expect(handled()).toBe(0);
    }
  });

  test.each([
    ['SETTINGS', settings([4, 70_000])],
    ['empty SETTINGS', settings()],
    ['acknowledgements of SETTINGS', frame(frameType.settings, flag.ack, 0)],
    ['PING', frame(frameType.ping, 0, 0, Buffer.alloc(8))],
    ['answers to PING', frame(frameType.ping, flag.ack, 0, Buffer.alloc(8))],
    ['PRIORITY', frame(frameType.priority, 0, 1, Buffer.from([0, 0, 0, 0, 5]))],
    ['unknown frames', frame(0x42, 0, 0)],
    ['WINDOW_UPDATE', frame(frameType.windowUpdate, 0, 0, uint32(1))],
    ['GOAWAY', frame(frameType.goAway, 0, 0, uint32(0, 0))],
  ])('a flood of %s', async (_, one) => {
    const { peer, end } = await attack();
    peer.greet();
    // A stream stays open, so that a GOAWAY does not end the connection by itself.
    peer.send(frame(frameType.headers, flag.endHeaders, 1, requestBlock));
    await flood(peer, () => repeat(one, 100));
    expect(await end).toMatchObject(calm);
  });

  test('a flood of empty DATA', async () => {
    const { peer, end } = await attack();
    peer.greet();
    peer.send(frame(frameType.headers, flag.endHeaders, 1, requestBlock));
    await flood(peer, () => repeat(frame(frameType.data, 0, 1), 100));
    expect(await end).toMatchObject(calm);
  });

  test('a flood whose answers nobody reads', async () => {
    const { peer, end } = await attack({ maxIdleFrames: Number.MAX_SAFE_INTEGER, stallTimeoutMs: 500 });
    peer.greet();
    peer.socket.pause();
    const pings = repeat(frame(frameType.ping, 0, 0, Buffer.alloc(8)), 10_000);
    let isEnded = false;
    const ended = end.then((how) => {
      isEnded = true;
      return how;
    });
    while (!isEnded) {
      if (peer.socket.writableLength < 4 * pings.length) peer.send(pings);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(await ended).toMatchObject(calm);
  });

  test('HPACK bombs', async () => {
    const encoder = new HpackEncoder({ maxTableBytes: 4096 });
    // One entry that fits into the table, then nothing but references to it: 1 byte each for more than 900.
    const field = ['bomb', 'x'.repeat(900)];
    const seed = encoder.encode([...requestFields, ...field]);
    const bomb = Buffer.concat([seed, Buffer.alloc(16_000 - seed.length, 0x80 | 62)]);
    const { peer, end, handled } = await attack();
    peer.greet();
    await flood(peer, (i) => frame(frameType.headers, flag.endHeaders | flag.endStream, 2 * i + 1, bomb));
    expect(await end).toMatchObject(calm);
    expect(handled()).toBe(0);
  });

  test('header lists that are larger than allowed, again and again', async () => {
    const { peer, end } = await attack({ maxHeaderListBytes: 8192 });
    peer.greet();
    const large = block(...requestFields, 'x', 'y'.repeat(9000));
    await flood(peer, (i) => frame(frameType.headers, flag.endHeaders | flag.endStream, 2 * i + 1, large));
    expect(await end).toMatchObject(calm);
  });

  test('one header list that is larger than allowed costs only its stream', async () => {
    const { peer } = await attack({ maxHeaderListBytes: 8192 }, echo);
    peer.greet();
    const large = block(...requestFields, 'x', 'y'.repeat(9000));
    peer.send(frame(frameType.headers, flag.endHeaders | flag.endStream, 1, large), request(3));
    expect(await peer.resetCode()).toBe(h2Code.enhanceYourCalm);
    expect((await peer.section()).id).toBe(3);
  });

  test('windows that stay at zero while answers wait', async () => {
    const { peer, end } = await attack({ stallTimeoutMs: 500 }, echo);
    peer.greet([4, 0]);
    for (let i = 0; i < 100; i++) peer.send(request(2 * i + 1, 'answer me'));
    expect(await end).toMatchObject(calm);
  });

  test.each([
    ['a preface', clientPreface.subarray(0, 10)],
    ['SETTINGS', clientPreface],
    [
      'a frame',
      Buffer.concat([
        clientPreface,
        settings(),
        frame(frameType.ping, 0, 0, Buffer.alloc(8)).subarray(0, 12),
      ]),
    ],
    [
      'a header block',
      Buffer.concat([clientPreface, settings(), frame(frameType.headers, 0, 1, requestBlock)]),
    ],
  ])('%s that does not come to an end', async (_, bytes) => {
    const { peer, end } = await attack({ frameTimeoutMs: 500 });
    peer.send(bytes);
    expect(await end).toMatchObject(calm);
    await peer.closed;
  });

  test('requests that do not come to an end', async () => {
    const { peer, end } = await attack({ requestTimeoutMs: 500, maxIdleFrames: 50 });
    peer.greet();
    for (let i = 0; i < 20; i++)
      peer.send(frame(frameType.headers, flag.endHeaders, 2 * i + 1, requestBlock));
    expect(await end).toMatchObject(calm);
  });

  test('more requests in parts than memory is given for', async () => {
    const { peer } = await attack({ maxBufferedBytes: 100_000 });
    peer.greet();
    const part = Buffer.concat([Buffer.from([0]), uint32(1_000_000), Buffer.alloc(16_000)]);
    for (let i = 0; i < 10; i++) {
      peer.send(
        frame(frameType.headers, flag.endHeaders, 2 * i + 1, requestBlock),
        frame(frameType.data, 0, 2 * i + 1, part),
      );
    }
    expect(await peer.resetCode()).toBe(h2Code.enhanceYourCalm);
  });

  test('a window of the connection that overflows', async () => {
    const { peer } = await attack();
    peer.greet();
    peer.send(frame(frameType.windowUpdate, 0, 0, uint32(0x7fff_ffff)));
    expect(await peer.goAwayCode()).toBe(h2Code.flowControlError);
    await peer.closed;
  });

  test('a window of a stream that overflows costs the stream', async () => {
    const { peer } = await attack();
    peer.greet();
    peer.send(frame(frameType.headers, flag.endHeaders, 1, requestBlock));
    peer.send(frame(frameType.windowUpdate, 0, 1, uint32(0x7fff_ffff)));
    expect(await peer.resetCode()).toBe(h2Code.flowControlError);
  });
});

test('ordinary use is never taken for an attack', async () => {
  const { peer, handled } = await attack({}, echo);
  peer.greet();
  for (let i = 0; i < 5000; i++) {
    peer.send(
      request(2 * i + 1, message('a').toString('latin1')),
      frame(frameType.ping, 0, 0, Buffer.alloc(8)),
      frame(frameType.windowUpdate, 0, 0, uint32(100)),
    );
    if (i % 100 === 99) {
      while (handled() <= i) await new Promise((resolve) => setImmediate(resolve));
    }
  }
  expect(handled()).toBe(5000);
  expect(peer.frames.some((one) => one.type === frameType.goAway)).toBe(false);
});
