import { afterEach, describe, expect, test, vi } from 'vitest';
import { yamuxFlags } from '../../wire/yamux.ts';
import { memoryConnPair } from '../memory-conn.fixture.ts';
import { muxKinds, muxPair, readAll } from './mux-pair.fixture.ts';
import { createMuxSession } from './mux-session.ts';
import { rawPeer, smuxFrame, smuxFrames, yamuxFrame } from './mux-raw.fixture.ts';

/** Time passes only when a test says so. */
function stopTime() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
}
afterEach(() => {
  vi.useRealTimers();
});

/** Long enough for all to happen that nothing holds up. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function opened(settings: (typeof muxKinds)[number][1]) {
  const { client, server } = muxPair(settings);
  const near = client.session.open();
  const far = await server.next();
  return { client, server, near, far };
}

describe.each(muxKinds)('%s', (_, settings) => {
  test('a stream is known by the connection beneath, and both ends open some', async () => {
    const { client, server, near, far } = await opened(settings);
    expect(near.under).toBe(client.conn);
    expect(far).toMatchObject({ remote: server.conn.remote, local: server.conn.local });
    const back = server.session.open();
    await back.write(Buffer.from('from the server'));
    expect(String(await (await client.next()).read())).toBe('from the server');
    expect([client.session.streams, server.session.streams]).toEqual([2, 2]);
  });

  test('a reset of one stream is seen as one, and harms no other', async () => {
    const { client, server, near, far } = await opened(settings);
    const other = client.session.open();
    const otherFar = await server.next();
    await near.write(Buffer.from('before'));
    near.reset();
    expect(String(await far.read())).toBe('before');
    await expect(far.read()).rejects.toMatchObject({ code: 'clientClosed', at: 'client' });
    await expect(far.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'clientClosed' });
    await Promise.all([near.closed, far.closed]);
    await other.write(Buffer.from('alive'));
    expect(String(await otherFar.read())).toBe('alive');
    expect(client.session.streams).toBe(1);
  });

  test('a half-closed stream is reset all the same', async () => {
    const { near, far } = await opened(settings);
    await near.end();
    expect(await far.read()).toBeNull();
    near.reset();
    await expect(
      far.write(Buffer.alloc(300_000)).then(() => far.write(Buffer.alloc(300_000))),
    ).rejects.toMatchObject({
      code: 'clientClosed',
    });
    await far.closed;
  });

  test('a connection that breaks breaks its streams, whatever had come before', async () => {
    const { client, server, near, far } = await opened(settings);
    await near.write(Buffer.from('half of it'));
    await expect.poll(() => server.session.streams).toBe(1);
    const reading = near.read().catch((error: unknown) => error);
    client.conn.reset();
    expect(await reading).toMatchObject({ code: 'upstreamClosed', at: 'upstream' });
    expect(String(await far.read())).toBe('half of it');
    await expect(far.read()).rejects.toMatchObject({ code: 'clientClosed', at: 'client' });
    await Promise.all([near.closed, far.closed]);
    expect(client.session.isOpen).toBe(false);
    expect(() => client.session.open()).toThrow(expect.objectContaining({ code: 'upstreamClosed' }));
  });

  test('a connection that is ended without an end of the stream is no end of the stream', async () => {
    const { client, far } = await opened(settings);
    await client.conn.end();
    await expect(far.read()).rejects.toMatchObject({ code: 'clientClosed' });
  });

  test('leave is taken when the last stream has ended, and the peer opens no more', async () => {
    const { client, server, near, far } = await opened(settings);
    server.session.drain();
    await expect.poll(() => client.session.isOpen).toBe(false);
    await near.write(Buffer.from('still'));
    expect(String(await far.read())).toBe('still');
    await Promise.all([near.end(), far.end()]);
    await Promise.all([readAll(near), readAll(far)]);
    expect(await Promise.all([client.session.closed, server.session.closed])).toEqual([undefined, undefined]);
  });

  test('a session without streams ends after a while, and one with streams does not', async () => {
    stopTime();
    const { client, server } = muxPair({ ...settings, idleMs: 1000 });
    const near = client.session.open();
    const far = await server.next();
    await vi.advanceTimersByTimeAsync(5000);
    await near.write(Buffer.from('x'));
    expect(String(await far.read())).toBe('x');
    await Promise.all([near.end(), far.end()]);
    await vi.advanceTimersByTimeAsync(999);
    expect(client.session.isOpen).toBe(true);
    await vi.advanceTimersByTimeAsync(1);
    expect(await client.session.closed).toBeUndefined();
  });

  test('signs of life keep a silent session', async () => {
    stopTime();
    const { client, server } = muxPair({ ...settings, keepAliveMs: 1000, keepAliveTimeoutMs: 3000 });
    const near = client.session.open();
    const far = await server.next();
    await vi.advanceTimersByTimeAsync(60_000);
    await near.write(Buffer.from('x'));
    expect(String(await far.read())).toBe('x');
    client.session.reset();
  });

  test('a peer that reads, and gives no sign of life, is given up in time', async () => {
    stopTime();
    const { session, raw } = rawPeer({ ...settings, keepAliveMs: 1000, keepAliveTimeoutMs: 3000 }, 'client');
    void readAll(raw).catch(() => undefined);
    const reading = session
      .open()
      .read()
      .catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(2000);
    expect(session.isOpen).toBe(true);
    await vi.advanceTimersByTimeAsync(2000);
    expect(await session.closed).toMatchObject({ code: 'upstreamClosed', at: 'upstream' });
    expect(await reading).toMatchObject({ code: 'upstreamClosed' });
  });

  test('without keepalive silence is no matter', async () => {
    stopTime();
    const { session, raw } = rawPeer({ ...settings, keepAliveMs: 0 }, 'client');
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(session.isOpen).toBe(true);
    raw.reset();
    await session.closed;
  });

  test('a peer whose bytes wait to be read is not taken for dead', async () => {
    stopTime();
    const limits = {
      keepAliveMs: 1000,
      keepAliveTimeoutMs: 3000,
      maxReceiveBytes: 1000,
      maxStreamBytes: 1000,
    };
    const { client, server } = muxPair({ ...settings, ...limits });
    const near = client.session.open();
    const far = await server.next();
    const sending = near.write(Buffer.alloc(100_000));
    await vi.advanceTimersByTimeAsync(60_000);
    let got = 0;
    while (got < 100_000) got += (await far.read())!.length;
    await sending;
    client.session.reset();
  });

  test.each(['reads it no more', 'was reset by the peer'])(
    'what a stream holds that %s makes room for others',
    async (why) => {
      const limits = { maxReceiveBytes: 100_000, maxStreamBytes: 100_000 };
      const { client, server } = muxPair({ ...settings, ...limits });
      for (let count = 0; count < 3; count++) {
        const near = client.session.open();
        const far = await server.next();
        await near.write(Buffer.alloc(60_000));
        await turns();
        if (why === 'reads it no more') far.reset();
        else near.reset();
        await Promise.all([near.closed, far.closed]);
      }
      const other = client.session.open();
      const far = await server.next();
      await Promise.all([other.write(Buffer.alloc(90_000)), turns()]);
      await other.end();
      expect(await readAll(far)).toHaveLength(90_000);
    },
  );

  test('no more streams are opened than may be open at a time', async () => {
    const { client, server } = muxPair({ ...settings, maxStreams: 1 });
    const first = client.session.open();
    await server.next();
    expect(client.session.isOpen).toBe(false);
    first.reset();
    expect(client.session.isOpen).toBe(true);
    await expect.poll(() => server.session.streams).toBe(0);
  });

  test('streams that nobody accepts are refused', async () => {
    const [own, peer] = memoryConnPair();
    const session = createMuxSession(own, { role: 'server', side: 'client', settings });
    const other = createMuxSession(peer, { role: 'client', side: 'upstream', settings });
    await expect(other.open().read()).rejects.toMatchObject({ code: 'upstreamClosed', at: 'upstream' });
    expect(session.streams).toBe(0);
    session.reset();
  });
});

describe.each([1, 2] as const)('smux %s with a peer that is not ours', (version) => {
  test('in a stream that it opened our end is told at once, as many wait for it', async () => {
    const { session, raw, next } = rawPeer({ version });
    const frames = smuxFrames(raw, version);
    await raw.write(smuxFrame(version, 'syn', 3));
    const stream = await next();
    await stream.write(Buffer.from('answer'));
    await stream.end();
    expect(await frames()).toMatchObject({ command: 'psh', data: Buffer.from('answer') });
    expect(await frames()).toMatchObject({ command: 'fin', stream: 3 });
    // What was under way is read.
    await raw.write(smuxFrame(version, 'psh', 3, Buffer.from('late')));
    expect(String(await stream.read())).toBe('late');
    expect(session.streams).toBe(1);
    await raw.write(smuxFrame(version, 'fin', 3));
    expect(await stream.read()).toBeNull();
    await stream.closed;
    expect(session.streams).toBe(0);
    session.reset();
  });

  test('its FIN ends both directions: what came is read, what is written is refused', async () => {
    const { session, raw, next } = rawPeer({ version });
    await raw.write(
      Buffer.concat([
        smuxFrame(version, 'syn', 3),
        smuxFrame(version, 'psh', 3, Buffer.from('last words')),
        smuxFrame(version, 'fin', 3),
      ]),
    );
    const stream = await next();
    expect(String(await stream.read())).toBe('last words');
    expect(await stream.read()).toBeNull();
    await expect(stream.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'clientClosed' });
    await stream.end();
    await stream.closed;
    expect(session.streams).toBe(0);
    session.reset();
  });

  test('a writer that waits hears of its FIN', async () => {
    const { session, raw, next } = rawPeer({ version });
    await raw.write(smuxFrame(version, 'syn', 3));
    const stream = await next();
    const writing = (async () => {
      for (;;) await stream.write(Buffer.alloc(64 * 1024));
    })().catch((error: unknown) => error);
    // Until nothing goes any more.
    await turns();
    await raw.write(smuxFrame(version, 'fin', 3));
    expect(await writing).toMatchObject({ code: 'clientClosed' });
    session.reset();
  });

  test('it is spoken to only after it has spoken, where it is the client', async () => {
    const { session, raw } = rawPeer({ version });
    session.drain();
    let isSpokenTo = false;
    void raw.read().then(
      () => (isSpokenTo = true),
      () => undefined,
    );
    await turns();
    expect(isSpokenTo).toBe(false);
    session.reset();
  });
});

test('smux: what means something between two of ours means nothing from others', async () => {
  const { session, raw, next } = rawPeer({ version: 1 });
  await raw.write(
    Buffer.concat([smuxFrame(1, 'syn', 3), smuxFrame(1, 'nop', 3), smuxFrame(1, 'nop', 0x5350_0002)]),
  );
  const stream = await next();
  await raw.write(smuxFrame(1, 'psh', 3, Buffer.from('alive')));
  expect(String(await stream.read())).toBe('alive');
  expect(session.isOpen).toBe(true);
  session.reset();
});

test('yamux: an opening is acknowledged with the whole window, a ping with itself', async () => {
  const { syn, ack } = yamuxFlags;
  const { session, raw, next } = rawPeer({ type: 'yamux', maxWindowBytes: 1 << 20 });
  await raw.write(
    Buffer.concat([
      yamuxFrame({ flags: syn, stream: 1 }, Buffer.from('with the first frame')),
      yamuxFrame({ type: 'ping', flags: syn, stream: 0, length: 0xabcd }),
    ]),
  );
  expect(String(await (await next()).read())).toBe('with the first frame');
  const growth = (1 << 20) - 262_144;
  const wanted = Buffer.concat([
    yamuxFrame({ type: 'windowUpdate', flags: ack, stream: 1, length: growth }),
    yamuxFrame({ type: 'ping', flags: ack, stream: 0, length: 0xabcd }),
  ]);
  expect(await raw.read()).toEqual(wanted);
  session.reset();
});

test('yamux: data and an end in one frame are the data, then the end', async () => {
  const { syn, fin } = yamuxFlags;
  const { session, raw, next } = rawPeer({ type: 'yamux' });
  const frame = yamuxFrame({ flags: syn | fin, stream: 1 }, Buffer.from('all of it'));
  for (const byte of frame) await raw.write(Buffer.from([byte]));
  expect(String(await readAll(await next()))).toBe('all of it');
  session.reset();
});

test('yamux: a peer that goes away because of an error ends the session', async () => {
  const { session, raw } = rawPeer({ type: 'yamux' }, 'client');
  await raw.write(yamuxFrame({ type: 'goAway', stream: 0, length: 2 }));
  expect(await session.closed).toMatchObject({ code: 'badUpstreamReply' });
});
