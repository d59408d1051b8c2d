import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cleanup, connectPeer, startOrigin, startProxy } from './proxy.fixture.ts';
import type { TestOrigin, TestProxy } from './proxy.fixture.ts';

const cleanup = new Cleanup();
let origin: TestOrigin;
let proxy: TestProxy;
beforeAll(async () => {
  origin = await startOrigin(cleanup);
  proxy = await startProxy(cleanup);
});
afterAll(() => cleanup.run());

/** Text that is a message but for a few bytes that were changed, left out or put in. */
const damaged = (message: string) =>
  fc
    .array(fc.tuple(fc.nat(message.length), fc.nat(3), fc.string({ unit: 'binary', maxLength: 3 })), {
      minLength: 1,
      maxLength: 4,
    })
    .map((changes) =>
      changes.reduce(
        (text, [at, dropped, put]) =>
          text.slice(0, at) + Buffer.from(put, 'latin1').toString('latin1') + text.slice(at + dropped),
        message,
      ),
    );

describe('whatever comes, the connection ends or is answered, and the service goes on', () => {
  test('from a client', async () => {
    const request = () =>
      `POST http://127.0.0.1:${String(origin.port)}/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`;
    await fc.assert(
      fc.asyncProperty(fc.oneof(damaged(request()), fc.string({ unit: 'binary' })), async (text) => {
        const before = origin.peers.length;
        const client = await connectPeer(cleanup, proxy.port);
        // Half-closed at once: what is not whole by then never will be.
        client.socket.end(text, 'latin1');
        const answer = setInterval(() => {
          for (const { socket } of origin.peers.slice(before)) {
            if (!socket.writableEnded) socket.end('HTTP/1.1 204 No Content\r\n\r\n');
          }
        }, 1);
        const reply = await client.all();
        clearInterval(answer);
        expect(reply).toMatch(/^$|^(HTTP\/1\.1 \d{3} |.*$)/s);
        if (reply !== '') expect(reply).toMatch(/^HTTP\/1\.1 [245]\d\d /);
        client.socket.destroy();
      }),
      { numRuns: 150 },
    );
  });

  test('from an origin', async () => {
    const other = await startOrigin(cleanup);
    const answer =
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n';
    await fc.assert(
      fc.asyncProperty(fc.oneof(damaged(answer), fc.string({ unit: 'binary' })), async (text) => {
        const client = await connectPeer(cleanup, proxy.port);
        client.say(
          `GET http://127.0.0.1:${String(other.port)}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
        );
        const server = await other.next();
        server.socket.end(text, 'latin1');
        const reply = await client.all();
        expect(reply).toMatch(/^HTTP\/1\.1 \d{3} /);
        client.socket.destroy();
        server.socket.destroy();
      }),
      { numRuns: 150 },
    );
    await proxy.service.stop();
    const internal = proxy.events.filter(
      (event) => 'error' in event && event.error !== undefined && event.error.code === 'internal',
    );
    expect(internal).toEqual([]);
  });
});
