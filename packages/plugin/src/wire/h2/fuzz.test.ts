import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PluginError } from '../../errors.ts';
import { createGrpcClient } from '../grpc-client.ts';
import { serveH2 } from '../grpc-server.ts';
import type { GrpcClient } from '../grpc.ts';
import { clientPreface, flag, frameType, h2Code } from './codes.ts';
import type { ConnectionEnd } from './connection-options.ts';
import { HpackEncoder } from './hpack.ts';
import {
  RawPeer,
  connectRaw,
  frame,
  listenRaw,
  message,
  reply,
  requestFields,
  settings,
  uint32,
} from './raw-peer.fixture.ts';

/** What a peer does to the bytes of a sound session before it sends them. */
type Mutation =
  | { readonly kind: 'flip'; readonly at: number; readonly bits: number }
  | { readonly kind: 'drop' | 'repeat'; readonly at: number; readonly length: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'cut'; readonly at: number };

const place = fc.nat(5000);
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: place, bits: fc.integer({ min: 1, max: 255 }) }),
  fc.record({
    kind: fc.constantFrom('drop' as const, 'repeat' as const),
    at: place,
    length: fc.integer({ min: 1, max: 200 }),
  }),
  fc.record({
    kind: fc.constant('insert' as const),
    at: place,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 60 }),
  }),
  fc.record({ kind: fc.constant('cut' as const), at: place }),
);

function mutate(session: Buffer, mutations: readonly Mutation[]): Buffer {
  let bytes = Buffer.from(session);
  for (const one of mutations) {
    const at = one.at % (bytes.length + 1);
    const before = bytes.subarray(0, at);
    const after = bytes.subarray(at);
    if (one.kind === 'flip') {
      if (at < bytes.length) bytes[at]! ^= one.bits;
    } else if (one.kind === 'drop') bytes = Buffer.concat([before, after.subarray(one.length)]);
    else if (one.kind === 'repeat') bytes = Buffer.concat([before, after.subarray(0, one.length), after]);
    else if (one.kind === 'insert') bytes = Buffer.concat([before, one.bytes, after]);
    else bytes = Buffer.from(before);
  }
  return bytes;
}

/** Sends bytes in parts, each in a turn of its own, then ends. */
async function sendInParts(peer: RawPeer, bytes: Buffer, cuts: readonly number[]): Promise<void> {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  for (let i = 1; i < places.length; i++) {
    peer.send(bytes.subarray(places[i - 1], places[i]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (!peer.socket.destroyed) peer.socket.end();
}

const cuts = fc.array(fc.nat(5000), { maxLength: 6 });
const mutations = fc.array(mutation, { maxLength: 4 });

describe('a server', () => {
  const ends: ConnectionEnd[] = [];
  let port: number;
  let close: () => Promise<void>;
  let good: GrpcClient;

  beforeAll(async () => {
    ({ port, close } = await listenRaw((socket) => {
      serveH2(socket, {
        // Half of the calls take a turn, so that streams are open when the bad bytes come.
        grpc: async (call) => {
          if (call.message.length % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
          return { message: call.message, trailers: ['sallyport-ttl-ms', '1'] };
        },
        http: ({ body }) => ({ status: 200, body: body.toString('latin1') }),
        onEnd: (end) => ends.push(end),
      });
    }));
    good = createGrpcClient({
      endpoint: { url: 'grpc://a', connect: { host: '127.0.0.1', port }, authority: 'a' },
    });
  });
  afterAll(async () => {
    await good.close(0);
    await close();
  });

  const encoder = new HpackEncoder({ maxTableBytes: 4096 });
  const session = Buffer.concat([
    clientPreface,
    settings([4, 40], [1, 100]),
    ...[1, 3, 5, 7].flatMap((id) => [
      frame(
        frameType.headers,
        flag.endHeaders,
        id,
        encoder.encode([...requestFields, 'token', `t${id}`, 'grpc-timeout', '2S']),
      ),
      frame(frameType.data, flag.endStream, id, message(`message of stream ${id}`)),
      frame(frameType.windowUpdate, 0, id === 7 ? 0 : id, uint32(1000)),
    ]),
    frame(frameType.ping, 0, 0, Buffer.from('12345678')),
    frame(
      frameType.headers,
      0,
      9,
      encoder.encode([':method', 'PUT', ':scheme', 'http', ':path', '/x', 'te', 'trailers']),
    ),
    frame(frameType.continuation, flag.endHeaders, 9, encoder.encode(['a', 'b'])),
    frame(
      frameType.data,
      flag.padded,
      9,
      Buffer.concat([Buffer.from([3]), Buffer.from('body'), Buffer.alloc(3)]),
    ),
    frame(frameType.headers, flag.endHeaders | flag.endStream, 9, encoder.encode(['trailer', '1'])),
    frame(frameType.rstStream, 0, 7, uint32(h2Code.cancel)),
    settings([4, 100_000]),
    frame(frameType.goAway, 0, 0, uint32(0, 0)),
  ]);

  async function play(bytes: Buffer, parts: readonly number[]): Promise<ConnectionEnd> {
    const peer = await connectRaw(port);
    const before = ends.length;
    await sendInParts(peer, bytes, parts);
    await peer.closed;
    while (ends.length === before) await new Promise((resolve) => setImmediate(resolve));
    return ends.at(-1)!;
  }

  test('survives whatever a client sends, and serves others meanwhile', async () => {
    let count = 0;
    await fc.assert(
      fc.asyncProperty(mutations, cuts, async (list, parts) => {
        const text = Buffer.from(`another client's ${count++}`);
        const [end, answer] = await Promise.all([
          play(mutate(session, list), parts),
          good.call({ path: '/a.B/C', message: text, timeoutMs: 10_000 }),
        ]);
        expect(end.code).not.toBe(h2Code.internalError);
        expect(answer.message.equals(text)).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  test('survives garbage behind the preface', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), cuts, async (garbage, parts) => {
        const end = await play(Buffer.concat([clientPreface, settings(), garbage]), parts);
        expect(end.code).not.toBe(h2Code.internalError);
      }),
      { numRuns: 150 },
    );
  });

  test('answers a sound session in the same way however it is split', async () => {
    await fc.assert(
      fc.asyncProperty(cuts, async (parts) => {
        const peer = await connectRaw(port);
        await sendInParts(peer, session.subarray(0, session.length - 17), parts);
        await peer.closed;
        for (const id of [1, 3, 5]) {
          const body = Buffer.concat(
            peer.frames
              .filter((one) => one.type === frameType.data && one.id === id)
              .map((one) => one.payload),
          );
          // The end of the client's bytes may overtake an answer; what came is of this stream.
          expect(message(`message of stream ${id}`).subarray(0, body.length).equals(body)).toBe(true);
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe('a client', () => {
  const ids = [1, 3, 5, 7];
  const session = Buffer.concat([
    settings([3, 10], [4, 70_000]),
    frame(frameType.settings, flag.ack, 0),
    ...ids.flatMap((id) => [reply(id, `answer ${id}`), frame(frameType.windowUpdate, 0, 0, uint32(100))]),
    frame(frameType.ping, 0, 0, Buffer.from('12345678')),
    frame(frameType.goAway, 0, 0, uint32(7, 0)),
  ]);

  /** Makes four calls of a server that answers with these bytes and hangs up; each must come to an end. */
  async function play(bytes: Buffer, parts: readonly number[]): Promise<PromiseSettledResult<string>[]> {
    const { port, close } = await listenRaw((socket) => {
      const peer = new RawPeer(socket, 'server');
      peer.next(frameType.data).then(
        () => sendInParts(peer, bytes, parts),
        () => {},
      );
    });
    const client = createGrpcClient({
      endpoint: { url: 'grpc://a', connect: { host: '127.0.0.1', port }, authority: 'a' },
    });
    const calls = ids.map(async () => {
      const answer = await client.call({ path: '/a.B/C', message: Buffer.from('x'), timeoutMs: 10_000 });
      return answer.message.toString();
    });
    const results = await Promise.allSettled(calls);
    await client.close(0);
    await close();
    return results;
  }

  test('ends every call, whatever a server answers', async () => {
    await fc.assert(
      fc.asyncProperty(mutations, cuts, async (list, parts) => {
        const before = performance.now();
        for (const result of await play(mutate(session, list), parts)) {
          if (result.status === 'fulfilled') continue;
          expect(result.reason).toBeInstanceOf(PluginError);
          expect((result.reason as PluginError).message).not.toContain('of our own');
        }
        expect(performance.now() - before).toBeLessThan(5000);
      }),
      { numRuns: 300 },
    );
  });

  test('gives each call its own answer, however the bytes are split', async () => {
    await fc.assert(
      fc.asyncProperty(cuts, async (parts) => {
        const results = await play(session, parts);
        expect(results.map((one) => one.status === 'fulfilled' && one.value)).toEqual(
          ids.map((id) => `answer ${id}`),
        );
      }),
      { numRuns: 50 },
    );
  });
});
