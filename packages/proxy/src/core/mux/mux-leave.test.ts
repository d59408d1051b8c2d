import { afterEach, describe, expect, test, vi } from 'vitest';
import { memoryConnPair } from '../memory-conn.fixture.ts';
import type { MemoryEnd } from '../memory-conn.fixture.ts';
import type { MuxEvents } from './dialect.ts';
import { muxKinds, muxPair } from './mux-pair.fixture.ts';
import { rawPeer } from './mux-raw.fixture.ts';
import { createMuxSession } from './mux-session.ts';
import { completeMuxSettings } from './settings.ts';
import { createSmuxDialect } from './smux-dialect.ts';
import { createYamuxDialect } from './yamux-dialect.ts';

afterEach(() => {
  vi.useRealTimers();
});

/** Long enough for all to happen that nothing holds up. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe.each(muxKinds)('%s', (_, settings) => {
  test('what a peer opens before it has heard that we take leave is served, and then both go', async () => {
    const { client, server } = muxPair(settings);
    const near = client.session.open();
    const far = await server.next();
    await Promise.all([near.end(), far.end(), near.closed, far.closed]);
    server.session.drain();
    const last = client.session.open();
    await last.write(Buffer.from('not too late'));
    const taken = await server.next();
    expect(String(await taken.read())).toBe('not too late');
    await Promise.all([last.end(), taken.end()]);
    expect(await Promise.all([client.session.closed, server.session.closed])).toEqual([undefined, undefined]);
  });

  test('a peer that has heard that we take leave, and stays, is left after a while', async () => {
    const { session, conn, raw } = rawPeer(settings);
    const create = settings.type === 'yamux' ? createYamuxDialect : createSmuxDialect;
    const ours = create('client', 'client', completeMuxSettings(settings), {} as MuxEvents);
    await raw.write(ours.hello());
    await expect.poll(() => session.isPeerOurs).toBe(true);
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
    });
    session.drain();
    await turns();
    await vi.advanceTimersByTimeAsync(4990);
    expect((conn as MemoryEnd).isEnded).toBe(false);
    await vi.advanceTimersByTimeAsync(20);
    await turns();
    expect((conn as MemoryEnd).isEnded).toBe(true);
    await raw.end();
    expect(await session.closed).toBeUndefined();
  });
});

test('the streams of a client that is listened for are upstreams, and the session is the client`s', async () => {
  const [node, client] = memoryConnPair();
  const session = createMuxSession(node, { role: 'client', side: 'client', streamSide: 'upstream' });
  const [stream, other] = [session.open(), session.open()];
  const far = createMuxSession(client, { role: 'server', side: 'upstream', accept: (one) => one.reset() });
  const closed = { code: 'upstreamClosed', at: 'upstream' };
  // FIN is all that smux has for a stream that is ended, and to a GOST it means that nothing is read any more.
  await stream.closed;
  await other.closed;
  await expect(stream.write(Buffer.from('x'))).rejects.toMatchObject(closed);
  const last = session.open();
  far.reset();
  await expect(last.read()).rejects.toMatchObject(closed);
  expect(await session.closed).toMatchObject({ code: 'clientClosed', at: 'client' });
  expect(() => session.open()).toThrow(expect.objectContaining(closed));
});
