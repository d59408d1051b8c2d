import { once } from 'node:events';
import * as net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { clientPreface, flag, frameType, h2Code } from './codes.ts';
import { H2Connection } from './connection.ts';
import type { ConnectionEnd, H2Options } from './connection-options.ts';
import { readUint32 } from './frames.ts';
import { defaultH2Limits } from './limits.ts';
import {
  RawPeer,
  block,
  frame,
  listenRaw,
  message,
  reply,
  replyBlock,
  requestFields,
  settings,
  uint32,
} from './raw-peer.fixture.ts';
import type { StreamFailure, StreamSink } from './stream.ts';

const opened: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

interface Pair {
  readonly connection: H2Connection;
  readonly peer: RawPeer;
  readonly end: Promise<ConnectionEnd>;
  readonly draining: Promise<void>;
}

async function connect(options: Partial<H2Options> = {}): Promise<Pair> {
  let onPeer: (peer: RawPeer) => void = () => {};
  const peer = new Promise<RawPeer>((resolve) => (onPeer = resolve));
  const { port, close } = await listenRaw((one) => onPeer(new RawPeer(one, 'server')));
  opened.push(close);
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  let onEnd: (end: ConnectionEnd) => void = () => {};
  let onDraining: () => void = () => {};
  const end = new Promise<ConnectionEnd>((resolve) => (onEnd = resolve));
  const draining = new Promise<void>((resolve) => (onDraining = resolve));
  const connection = new H2Connection(socket, {
    role: 'client',
    limits: defaultH2Limits,
    streamWindowBytes: 100_000,
    connectionWindowBytes: 200_000,
    events: { closed: onEnd, draining: onDraining },
    ...options,
  });
  opened.push(async () => socket.destroy());
  return { connection, peer: await peer, end, draining };
}

/** A sink that keeps what it is told. */
function listener(): StreamSink & { readonly ended: Promise<StreamFailure | 'ended'>; bytes: number } {
  let done: (how: StreamFailure | 'ended') => void = () => {};
  const ended = new Promise<StreamFailure | 'ended'>((resolve) => (done = resolve));
  return {
    ended,
    bytes: 0,
    headers(_fields, isEnd) {
      if (isEnd) done('ended');
    },
    data(_bytes, from, to, isEnd) {
      this.bytes += to - from;
      if (isEnd) done('ended');
    },
    failed: (failure) => done(failure),
  };
}

function ask({ connection }: Pair, body = 'x'): ReturnType<typeof listener> {
  const sink = listener();
  const stream = connection.open(sink);
  connection.sendHeaders(stream, requestFields, false);
  connection.sendBody(stream, 0, Buffer.from(body));
  return sink;
}

describe('a client', () => {
  test('greets, and acknowledges SETTINGS', async () => {
    const { peer } = await connect();
    const own = await peer.next(frameType.settings);
    const pairs = new Map<number, number>();
    for (let at = 0; at < own.payload.length; at += 6) {
      pairs.set(own.payload.readUInt16BE(at), own.payload.readUInt32BE(at + 2));
    }
    // No table for answers, no push, a window for one answer, a bound for header lists.
    expect(Object.fromEntries(pairs)).toEqual({ 1: 0, 2: 0, 4: 100_000, 6: 65_536 });
    const window = await peer.next(frameType.windowUpdate);
    expect(readUint32(window.payload, 0)).toBe(200_000 - 65_535);
    peer.send(settings());
    expect((await peer.next(frameType.settings)).flags).toBe(flag.ack);
  });

  test('opens no stream beyond what the server takes, and a hundred while that is not known', async () => {
    const pair = await connect();
    for (let i = 0; i < 100; i++) ask(pair);
    expect(pair.connection.canOpen).toBe(false);
    pair.peer.send(settings([3, 101]));
    while (!pair.connection.hasSettings) await new Promise((resolve) => setImmediate(resolve));
    expect(pair.connection.canOpen).toBe(true);
    ask(pair);
    expect(pair.connection.canOpen).toBe(false);
  });

  test('gives back windows as it reads', async () => {
    const pair = await connect();
    const sink = ask(pair);
    await pair.peer.next(frameType.windowUpdate);
    pair.peer.send(settings(), frame(frameType.headers, flag.endHeaders, 1, replyBlock));
    let given = 0;
    for (let i = 0; i < 40; i++) pair.peer.send(frame(frameType.data, 0, 1, Buffer.alloc(10_000)));
    // 400,000 bytes are more than both windows; the stream's alone makes them wait for more than half of its size.
    while (given < 300_000) {
      const update = await pair.peer.next(frameType.windowUpdate);
      if (update.id === 1) given += readUint32(update.payload, 0);
    }
    pair.peer.send(frame(frameType.data, flag.endStream, 1));
    expect(await sink.ended).toBe('ended');
    expect(sink.bytes).toBe(400_000);
  });

  test('refuses more than a window that it did not give back', async () => {
    const pair = await connect({ streamWindowBytes: 65_535 });
    const sink = ask(pair);
    await pair.peer.next(frameType.headers);
    // Padding alone counts as well; the stream's window is given back behind half of it, so one frame cannot pass it.
    pair.peer.send(settings(), frame(frameType.headers, flag.endHeaders, 1, replyBlock));
    pair.peer.send(frame(frameType.data, 0, 1, Buffer.alloc(16_385)));
    expect(await sink.ended).toMatchObject({ by: 'connection', code: h2Code.frameSizeError });
  });

  test('goes on to the next connection when the numbers of streams run out', async () => {
    const pair = await connect({ firstStreamId: 0x7fff_fffd });
    const first = ask(pair);
    expect(pair.connection.canOpen).toBe(true);
    const last = ask(pair);
    await pair.draining;
    expect(pair.connection.canOpen).toBe(false);
    pair.peer.send(settings(), reply(0x7fff_fffd), reply(0x7fff_ffff));
    expect([await first.ended, await last.ended]).toEqual(['ended', 'ended']);
    expect(await pair.end).toMatchObject({ by: 'local' });
    expect(await pair.peer.goAwayCode()).toBe(h2Code.noError);
  });

  test('uses the table of the server as it is told, also when the same headers are sent again', async () => {
    const pair = await connect();
    const { peer } = pair;
    const fields = async (): Promise<string[]> => {
      ask(pair);
      return (await peer.section()).fields;
    };
    for (let i = 0; i < 3; i++) expect(await fields()).toEqual(requestFields);
    for (const size of [0, 100, 4096]) {
      const before = peer.frames.length;
      peer.send(settings([1, size]));
      while (!peer.frames.slice(before).some((one) => one.type === frameType.settings)) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      for (let i = 0; i < 3; i++) expect(await fields()).toEqual(requestFields);
    }
  });

  test('sends a header list that is larger than a frame in several', async () => {
    const pair = await connect();
    const sink = listener();
    const stream = pair.connection.open(sink);
    pair.connection.sendHeaders(stream, [...requestFields, 'x', 'ab~'.repeat(9000)], true);
    const first = await pair.peer.next(frameType.headers);
    expect(first.flags & flag.endHeaders).toBe(0);
    expect(first.payload.length).toBe(16_384);
    const second = await pair.peer.next(frameType.continuation);
    expect(second.flags & flag.endHeaders).toBe(flag.endHeaders);
  });

  test('sends nothing but the preface and its frames', async () => {
    const chunks: Buffer[] = [];
    const { port, close } = await listenRaw((socket) =>
      socket.on('data', (chunk: Buffer) => chunks.push(chunk)),
    );
    opened.push(close);
    const socket = net.connect(port, '127.0.0.1');
    opened.push(async () => socket.destroy());
    await once(socket, 'connect');
    const options: H2Options = {
      role: 'client',
      limits: defaultH2Limits,
      streamWindowBytes: 65_535,
      connectionWindowBytes: 65_536,
      events: { closed: () => {} },
    };
    const connection = new H2Connection(socket, options);
    const stream = connection.open(listener());
    connection.sendHeaders(stream, requestFields, false);
    connection.sendBody(stream, 0, Buffer.from('x'));
    while (chunks.length === 0) await new Promise((resolve) => setImmediate(resolve));
    // One turn, one write.
    expect(chunks.length).toBe(1);
    expect(chunks[0]!.subarray(0, clientPreface.length).equals(clientPreface)).toBe(true);
    expect(chunks[0]!.subarray(-6).equals(message('x'))).toBe(true);
  });

  test.each([
    ['PING', frame(frameType.ping, 0, 0, Buffer.alloc(8)), h2Code.enhanceYourCalm],
    ['SETTINGS', settings([4, 1000]), h2Code.enhanceYourCalm],
    ['1xx', frame(frameType.headers, flag.endHeaders, 1, block(':status', '103')), h2Code.enhanceYourCalm],
    ['empty DATA', frame(frameType.data, 0, 1), h2Code.enhanceYourCalm],
    ['WINDOW_UPDATE', frame(frameType.windowUpdate, 0, 1, uint32(1)), h2Code.enhanceYourCalm],
  ])('ends a connection that floods it with %s', async (what, one, code) => {
    const pair = await connect();
    const sink = ask(pair);
    pair.peer.send(settings());
    if (what === 'empty DATA') pair.peer.send(frame(frameType.headers, flag.endHeaders, 1, replyBlock));
    pair.peer.send(Buffer.concat(Array.from({ length: 12_000 }, () => one)));
    expect(await pair.end).toMatchObject({ by: 'error', code });
    expect(await sink.ended).toMatchObject({ by: 'connection' });
  });

  test('ends a connection whose header block does not end', async () => {
    const pair = await connect();
    ask(pair);
    pair.peer.send(settings(), frame(frameType.headers, 0, 1, replyBlock));
    for (let i = 0; i < 80; i++) pair.peer.send(frame(frameType.continuation, 0, 1, Buffer.alloc(10)));
    expect(await pair.end).toMatchObject({ by: 'error', code: h2Code.enhanceYourCalm });
  });
});
