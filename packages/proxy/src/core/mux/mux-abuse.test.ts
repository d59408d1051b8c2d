import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import type { Conn } from '../conn.ts';
import { nearly } from '../../wire/splits.fixture.ts';
import { yamuxFlags } from '../../wire/yamux.ts';
import { muxKinds } from './mux-pair.fixture.ts';
import { rawPeer, smuxFrame, yamuxFrame } from './mux-raw.fixture.ts';
import type { MuxSettings } from './settings.ts';

const { syn, ack, fin, rst } = yamuxFlags;
const open = (settings: MuxSettings, id: number) =>
  settings.type === 'yamux'
    ? yamuxFrame({ type: 'windowUpdate', flags: syn, stream: id })
    : smuxFrame(settings.version!, 'syn', id);
const end = (settings: MuxSettings, id: number) =>
  settings.type === 'yamux'
    ? yamuxFrame({ type: 'windowUpdate', flags: rst, stream: id })
    : smuxFrame(settings.version!, 'fin', id);
const data = (settings: MuxSettings, id: number, bytes: Buffer) =>
  settings.type === 'yamux'
    ? yamuxFrame({ stream: id }, bytes)
    : smuxFrame(settings.version!, 'psh', id, bytes);

/** What a handler does with a stream. */
async function serve(stream: Conn): Promise<void> {
  try {
    while ((await stream.read()) !== null);
    await stream.end();
  } catch {
    stream.reset();
  }
}

/** Reads all that the session says, so that only what it does counts. */
async function drain(conn: Conn): Promise<void> {
  try {
    while ((await conn.read()) !== null);
  } catch {
    // It was cut, which is what these tests are about.
  }
}

describe.each(muxKinds)('a peer of %s', (_, settings) => {
  test('that floods streams gets no more than are allowed, and is cut', async () => {
    const { session, raw, next } = rawPeer({ ...settings, maxStreams: 20 });
    void drain(raw);
    for (let id = 1; id < 41; id += 2) await raw.write(open(settings, id));
    for (let count = 0; count < 20; count++) await next();
    expect(session.streams).toBe(20);
    const many = Array.from({ length: 1100 }, (__, index) => open(settings, 41 + 2 * index));
    let streams = 0;
    for (const one of many) {
      await raw.write(one).catch(() => undefined);
      streams = Math.max(streams, session.streams);
    }
    expect(streams).toBe(20);
    expect(await session.closed).toMatchObject({ code: 'tooManyRequests', at: 'client' });
    expect(session.streams).toBe(0);
    expect(raw.isReset).toBe(true);
  });

  test('that opens and resets as fast as it can is cut, and leaves nothing', async () => {
    const { session, raw, next } = rawPeer(settings);
    void drain(raw);
    const ended: Promise<void>[] = [];
    const serving = (async () => {
      for (;;) {
        const stream = await next();
        ended.push(stream.closed);
        void serve(stream);
      }
    })();
    void serving;
    let streams = 0;
    let sent = 0;
    for (; sent < 4000 && session.isOpen; sent++) {
      const id = 1 + 2 * sent;
      await raw.write(Buffer.concat([open(settings, id), end(settings, id)])).catch(() => undefined);
      streams = Math.max(streams, session.streams);
    }
    expect(await session.closed).toMatchObject({ code: 'tooManyRequests', at: 'client' });
    expect(sent).toBeLessThan(2000);
    expect(streams).toBeLessThan(100);
    await Promise.all(ended);
  });

  test('that sends what nobody reads is held up, and what is held is bounded', async () => {
    const { session, raw, next } = rawPeer({ ...settings, maxReceiveBytes: 1 << 20 });
    void drain(raw);
    const block = Buffer.alloc(32 * 1024, 'x');
    const opened: Conn[] = [];
    let sent = 0;
    let isWaiting = false;
    for (let stream = 0; stream < 64 && !isWaiting; stream++) {
      const id = 1 + 2 * stream;
      await raw.write(open(settings, id));
      opened.push(await next());
      // No more than every protocol lets a peer send on one stream at first.
      for (let count = 0; count < 8 && !isWaiting; count++) {
        const written = raw.write(data(settings, id, block)).then(() => true);
        // Whoever is read is read at once.
        isWaiting = !(await Promise.race([written, new Promise((resolve) => setImmediate(resolve, false))]));
        sent += block.length;
      }
    }
    expect(isWaiting).toBe(true);
    expect(sent).toBeLessThan((1 << 20) + 8 * block.length);
    // And all of it is there for whoever reads at last.
    let got = 0;
    for (const stream of opened) {
      const left = Math.min(8 * block.length, sent - got);
      for (let count = 0; count < left;) {
        const bytes = (await stream.read())!.length;
        count += bytes;
        got += bytes;
      }
    }
    expect(got).toBe(sent);
    session.reset();
  });

  test('that says it sends much and never reads holds no more than one writer has written', async () => {
    const { session, raw, next } = rawPeer(settings);
    await raw.write(open(settings, 1));
    const stream = await next();
    let written = 0;
    const writing = (async () => {
      for (;;) {
        await stream.write(Buffer.alloc(64 * 1024));
        written += 64 * 1024;
      }
    })().catch((error: unknown) => error);
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(written).toBeLessThan(1 << 20);
    raw.reset();
    expect(await writing).toMatchObject({ code: 'clientClosed', at: 'client' });
    await session.closed;
  });

  test('that opens what is not its to open is cut', async () => {
    for (const ids of [[2], [1, 1], ...(settings.type === 'yamux' ? [] : [[0]])]) {
      const { session, raw } = rawPeer(settings);
      void drain(raw);
      for (const id of ids) await raw.write(open(settings, id)).catch(() => undefined);
      expect(await session.closed).toMatchObject({ code: 'malformedRequest', at: 'client' });
    }
  });

  test('that says anything gets an error at most, never a crash and never more streams', async () => {
    const samples = [
      Buffer.concat([open(settings, 1), data(settings, 1, Buffer.from('hello')), end(settings, 1)]),
      Buffer.concat([open(settings, 3), data(settings, 3, Buffer.alloc(300)), open(settings, 5)]),
    ];
    await fc.assert(
      fc.asyncProperty(nearly(samples), async (bytes) => {
        const { session, raw, next } = rawPeer({ ...settings, maxStreams: 3 });
        void drain(raw);
        void (async () => {
          for (;;) void serve(await next());
        })();
        await raw.write(bytes).catch(() => undefined);
        expect(session.streams).toBeLessThanOrEqual(3);
        await raw.end();
        const error = await session.closed;
        if (error !== undefined) expect(error.code).toMatch(/^(malformedRequest|clientClosed)$/);
        expect(session.streams).toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});

describe('a peer that lies about its window', () => {
  test.each([
    ['smux 2', { type: 'smux', version: 2 }],
    ['yamux', { type: 'yamux' }],
  ] as const)('%s: sends more on one stream than it was let', async (_, settings) => {
    const { session, raw } = rawPeer(settings);
    void drain(raw);
    await raw.write(open(settings, 1));
    for (let sent = 0; sent <= 262_144; sent += 32_768)
      await raw.write(data(settings, 1, Buffer.alloc(32_768))).catch(() => undefined);
    expect(await session.closed).toMatchObject({ code: 'malformedRequest', at: 'client' });
  });

  test('yamux: announces four gigabytes', async () => {
    const { session, raw } = rawPeer({ type: 'yamux' });
    void drain(raw);
    await raw.write(open({ type: 'yamux' }, 1));
    await raw.write(yamuxFrame({ length: 0xffff_ffff }));
    for (let sent = 0; sent <= 262_144 && !raw.isReset; sent += 32_768)
      await raw.write(Buffer.alloc(32_768)).catch(() => undefined);
    expect(await session.closed).toMatchObject({ code: 'malformedRequest' });
  });

  test('yamux: lets us send more than there are numbers for', async () => {
    const { session, raw } = rawPeer({ type: 'yamux' });
    void drain(raw);
    await raw.write(open({ type: 'yamux' }, 1));
    await raw.write(yamuxFrame({ type: 'windowUpdate', length: 0xffff_ffff }));
    expect(await session.closed).toMatchObject({ code: 'malformedRequest' });
  });

  test('smux 2: has read more than was sent', async () => {
    const { session, raw, next } = rawPeer({ version: 2 });
    void drain(raw);
    await raw.write(smuxFrame(2, 'syn', 3));
    await (await next()).write(Buffer.alloc(100));
    const update = Buffer.alloc(8);
    update.writeUInt32LE(101);
    await raw.write(smuxFrame(2, 'upd', 3, update));
    expect(await session.closed).toMatchObject({ code: 'malformedRequest' });
  });

  test('smux 2: says late what it said before, which is no news', async () => {
    const { session, raw, next } = rawPeer({ version: 2 });
    void drain(raw);
    await raw.write(smuxFrame(2, 'syn', 3));
    const stream = await next();
    await stream.write(Buffer.alloc(100));
    for (const consumed of [100, 50]) {
      const update = Buffer.alloc(8);
      update.writeUInt32LE(consumed);
      update.writeUInt32LE(65_536, 4);
      await raw.write(smuxFrame(2, 'upd', 3, update));
    }
    await stream.write(Buffer.alloc(65_536));
    expect(session.isOpen).toBe(true);
    session.reset();
  });
});

test('a peer that makes us answer and reads no answer is cut', async () => {
  const { session, raw } = rawPeer({ type: 'yamux' });
  const pings = Buffer.concat(
    Array.from({ length: 1000 }, (_, length) => yamuxFrame({ type: 'ping', flags: syn, stream: 0, length })),
  );
  let sent = 0;
  for (; sent < 1000 && !raw.isReset; sent++) await raw.write(pings).catch(() => undefined);
  expect(sent).toBeLessThan(100);
  expect(await session.closed).toMatchObject({ code: 'tooManyRequests', at: 'client' });
});

test('a node is to blame for the same, and another may be tried', async () => {
  const { session, raw } = rawPeer({ version: 1 }, 'client');
  const stream = session.open();
  const reading = stream.read().catch((error: unknown) => error);
  await raw.write(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'));
  expect(await session.closed).toMatchObject({ code: 'badUpstreamReply', at: 'upstream', retryable: true });
  expect(await reading).toMatchObject({ code: 'upstreamClosed', at: 'upstream' });
});

test('what the peer answers and nobody asked for does no harm', async () => {
  const { session, raw } = rawPeer({ type: 'yamux' });
  void drain(raw);
  await raw.write(open({ type: 'yamux' }, 1));
  await raw.write(yamuxFrame({ type: 'ping', flags: ack, stream: 0, length: 7 }));
  for (const flags of [ack, fin, rst]) await raw.write(yamuxFrame({ flags, stream: 99 }, Buffer.from('x')));
  expect(session.isOpen).toBe(true);
  session.reset();
  await session.closed;
});
