import { describe, expect, test } from 'vitest';
import type { PluginError } from '../errors.ts';
import { answering, ask, connect, data, failure, grpc, headers, serve } from './grpc-client.fixture.ts';
import { frameType, h2Code } from './h2/codes.ts';
import { frame, reply, settings, uint32 } from './h2/raw-peer.fixture.ts';
import type { RawPeer } from './h2/raw-peer.fixture.ts';

describe('a call is sent once more', () => {
  test('when its stream was refused', async () => {
    let count = 0;
    const port = await serve(
      answering((id) => (count++ === 0 ? frame(3, 0, id, uint32(h2Code.refusedStream)) : reply(id))),
    );
    expect((await connect(port).call(ask)).message.toString()).toBe('x');
    expect(count).toBe(2);
  });

  test('but not a third time', async () => {
    let count = 0;
    const port = await serve(
      answering((id) => {
        count++;
        return frame(3, 0, id, uint32(h2Code.refusedStream));
      }),
    );
    expect(await failure(connect(port).call(ask))).toMatchObject({
      code: 'unreachable',
      unsent: true,
      grpcStatus: 14,
    });
    expect(count).toBe(2);
  });

  test('on a new connection when a GOAWAY says that it was not processed, and the processed one is waited for', async () => {
    const connections: number[] = [];
    const port = await serve((peer, number) => {
      connections.push(number);
      if (number > 0) {
        answering((id) => reply(id, 'second'))(peer);
        return;
      }
      const first = async (): Promise<void> => {
        await peer.next(frameType.headers);
        await peer.next(frameType.headers);
        peer.send(frame(frameType.goAway, 0, 0, uint32(1, 0)));
        // The answer to the first one comes only after the other has gone elsewhere.
        while (connections.length < 2) await new Promise((resolve) => setImmediate(resolve));
        peer.send(reply(1, 'first'));
      };
      first().catch(() => {});
    });
    const client = connect(port);
    const replies = await Promise.all([client.call(ask), client.call(ask)]);
    expect(replies.map((one) => one.message.toString())).toEqual(['first', 'second']);
  });

  test('not when the connection broke after it was sent', async () => {
    let count = 0;
    const port = await serve((peer) => {
      count++;
      peer.next(frameType.data).then(
        () => peer.socket.destroy(),
        () => {},
      );
    });
    const error = await failure(connect(port).call(ask));
    expect(error).toMatchObject({ code: 'unreachable', unsent: false, grpcStatus: 14 });
    expect(error.message).toContain('closed the connection');
    expect(count).toBe(1);
  });

  test('over another connection after the server closed a kept one', async () => {
    const port = await serve((peer) => {
      answering((id) => reply(id))(peer);
      peer.next(frameType.data).then(
        () => peer.socket.end(),
        () => {},
      );
    });
    const client = connect(port);
    for (let i = 0; i < 5; i++) {
      // The end may be seen before the answer's promise or after the next call was written; then the call fails as sent.
      const result = await client.call(ask).catch((error: PluginError) => error.code);
      if (typeof result !== 'string') expect(result.message.toString()).toBe('x');
    }
  });

  test('over another connection after a GOAWAY that names no stream', async () => {
    const port = await serve((peer, number) => {
      answering((id) => reply(id, `${number}`))(peer);
      if (number === 0) peer.send(frame(frameType.goAway, 0, 0, uint32(0x7fff_ffff, 0)));
    });
    const client = connect(port);
    const replies = await Promise.all([client.call(ask), client.call(ask), client.call(ask)]);
    expect(replies.length).toBe(3);
  });
});

describe('a deadline', () => {
  test('ends a call that is not answered, and resets its stream', async () => {
    let peer: RawPeer | undefined;
    const port = await serve((one) => (peer = one));
    const before = performance.now();
    const error = await failure(connect(port).call({ ...ask, timeoutMs: 50 }));
    expect(error).toMatchObject({ code: 'timeout', grpcStatus: 4, unsent: false });
    expect(performance.now() - before).toBeGreaterThanOrEqual(49);
    expect(await peer!.resetCode()).toBe(h2Code.cancel);
  });

  test('ends a call whose answer trickles', async () => {
    const port = await serve(
      answering((id) => Buffer.concat([headers(id, ...grpc), data(id, Buffer.alloc(2))])),
    );
    const error = await failure(connect(port).call({ ...ask, timeoutMs: 50 }));
    expect(error).toMatchObject({ code: 'timeout', grpcStatus: 4 });
    expect(error.message).toContain('finish');
  });

  test('ends a call that waits for a stream', async () => {
    const port = await serve(() => {}, settings([3, 1]));
    const client = connect(port);
    const [first, second] = await Promise.all([
      failure(client.call({ ...ask, timeoutMs: 80 })),
      failure(client.call({ ...ask, timeoutMs: 40 })),
    ]);
    expect([first.code, second.code]).toEqual(['timeout', 'timeout']);
  });

  test('of no time at all fails at once', async () => {
    expect(await failure(connect(1).call({ ...ask, timeoutMs: 0 }))).toMatchObject({
      code: 'timeout',
      unsent: true,
    });
  });
});

describe('an abort', () => {
  test('resets the stream', async () => {
    let peer: RawPeer | undefined;
    const port = await serve((one) => (peer = one));
    const controller = new AbortController();
    const call = failure(connect(port).call({ ...ask, signal: controller.signal }));
    while (peer === undefined) await new Promise((resolve) => setImmediate(resolve));
    await peer.next(frameType.data);
    controller.abort(new Error('gone'));
    const error = await call;
    expect(error).toMatchObject({ code: 'canceled', grpcStatus: 1 });
    expect(error.cause).toBe(controller.signal.reason);
    expect(await peer.resetCode()).toBe(h2Code.cancel);
  });

  test('before the call, and while it waits', async () => {
    const client = connect(await serve(() => {}, settings([3, 0])));
    expect(await failure(client.call({ ...ask, signal: AbortSignal.abort() }))).toMatchObject({
      code: 'canceled',
      unsent: true,
    });
    const controller = new AbortController();
    const call = failure(client.call({ ...ask, signal: controller.signal }));
    setImmediate(() => controller.abort());
    expect(await call).toMatchObject({ code: 'canceled' });
  });
});

describe('a client', () => {
  test('queues what MAX_CONCURRENT_STREAMS does not allow', async () => {
    let most = 0;
    const port = await serve(
      (peer) => {
        const serveAll = async (): Promise<void> => {
          let open: number[] = [];
          for (let i = 0; i < 40; i++) {
            open.push((await peer.next(frameType.headers)).id);
            most = Math.max(most, open.length);
            if (open.length === 4 || i === 39) {
              peer.send(...open.map((id) => reply(id)));
              open = [];
            }
          }
        };
        serveAll().catch(() => {});
      },
      settings([3, 4]),
    );
    const client = connect(port);
    // The first call brings the SETTINGS, as nobody knows them before.
    const replies = await Promise.all(Array.from({ length: 40 }, () => client.call(ask)));
    expect(replies.length).toBe(40);
    expect(most).toBeLessThanOrEqual(4);
  });

  test('refuses to queue without bounds', async () => {
    const client = connect(await serve(() => {}, settings([3, 0])), { maxQueuedCalls: 10 });
    const calls = Array.from({ length: 12 }, () => failure(client.call({ ...ask, timeoutMs: 300 })));
    const codes = (await Promise.all(calls)).map((error) => error.code);
    expect(codes.filter((code) => code === 'overloaded').length).toBe(2);
  });

  test('gives up a server that is silent, by PING', async () => {
    const client = connect(await serve(() => {}), { keepaliveMs: 1000 });
    const error = await failure(client.call({ ...ask, timeoutMs: 15_000 }));
    expect(error).toMatchObject({ code: 'unreachable', grpcStatus: 14 });
    expect(error.message).toContain('PING');
  });

  test('keeps a server that answers PING, however long a call takes', async () => {
    const port = await serve((peer) => {
      const pong = async (): Promise<void> => {
        const { id } = await peer.next(frameType.headers);
        for (let i = 0; i < 2; i++) peer.send(frame(6, 1, 0, (await peer.next(frameType.ping)).payload));
        peer.send(reply(id));
      };
      pong().catch(() => {});
    });
    const client = connect(port, { keepaliveMs: 1000 });
    expect((await client.call({ ...ask, timeoutMs: 15_000 })).message.toString()).toBe('x');
  });

  test('refuses metadata that cannot be sent', async () => {
    const client = connect(await serve(answering((id) => reply(id))));
    for (const metadata of [['Token', 'x'], ['token', 'a\r\nb'], ['token', 'ü'], ['token']]) {
      expect(await failure(client.call({ ...ask, metadata }))).toMatchObject({
        code: 'internal',
        unsent: true,
      });
    }
    for (const path of ['/ü', 'a', '/a b', '/a\n']) {
      expect(await failure(client.call({ ...ask, path }))).toMatchObject({ code: 'internal', unsent: true });
    }
    expect((await client.call(ask)).message.toString()).toBe('x');
  });

  test('after close fails every call, and closing twice is one', async () => {
    const client = connect(await serve(answering((id) => reply(id))));
    await client.call(ask);
    await Promise.all([client.close(), client.close()]);
    expect(await failure(client.call(ask))).toMatchObject({ code: 'unreachable', unsent: true });
  });

  test('lets running calls finish when it closes', async () => {
    let asked: (peer: RawPeer) => void = () => {};
    const peer = new Promise<RawPeer>((resolve) => (asked = resolve));
    const port = await serve((one) => {
      one.next(frameType.data).then(
        () => asked(one),
        () => {},
      );
    });
    const client = connect(port);
    const call = client.call(ask);
    const server = await peer;
    const closed = client.close(5000);
    server.send(reply(1));
    expect((await call).message.toString()).toBe('x');
    await closed;
  });

  test('cuts running calls short when they take longer than it was told to wait', async () => {
    const client = connect(await serve(() => {}));
    const call = failure(client.call(ask));
    await client.close(30);
    expect(await call).toMatchObject({ code: 'unreachable' });
  });
});
