import { afterEach, describe, expect, test, vi } from 'vitest';
import { lingeringClose } from '../linger.ts';
import type { MemoryEnd } from '../memory-conn.fixture.ts';
import { rawPeer, smuxFrame, smuxFrames } from './mux-raw.fixture.ts';

afterEach(() => {
  vi.useRealTimers();
});

/** Time passes only when a test says so. */
function stopTime() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] });
}

/** The frames that say something of the stream itself, and not how much of it has been read. */
function wordsOf(raw: MemoryEnd, version: 1 | 2) {
  const frames = smuxFrames(raw, version);
  return async () => {
    for (;;) {
      const frame = await frames();
      if (frame.command !== 'upd') return frame;
    }
  };
}

/** Long enough for all to happen that nothing holds up. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
}

describe.each([1, 2] as const)('smux %s with a peer that is not ours', (version) => {
  test('in a stream that we opened our end waits for its own, as FIN would make it stop', async () => {
    const { session, raw } = rawPeer({ version }, 'client');
    const frames = wordsOf(raw, version);
    const stream = session.open();
    await stream.write(Buffer.from('question'));
    await stream.end();
    expect(await frames()).toMatchObject({ command: 'syn', stream: 3 });
    expect(await frames()).toMatchObject({ command: 'psh', data: Buffer.from('question') });
    await raw.write(smuxFrame(version, 'psh', 3, Buffer.from('answer')));
    expect(String(await stream.read())).toBe('answer');
    await raw.write(smuxFrame(version, 'fin', 3));
    expect(await stream.read()).toBeNull();
    await stream.closed;
    expect(await frames()).toMatchObject({ command: 'fin', stream: 3 });
    session.reset();
  });

  test('our end waits no longer than 10 s after the last word of a peer that may never end', async () => {
    stopTime();
    const { session, raw } = rawPeer({ version, keepAliveMs: 0 }, 'client');
    const frames = wordsOf(raw, version);
    const stream = session.open();
    await stream.end();
    expect(await frames()).toMatchObject({ command: 'syn', stream: 3 });
    let frame: unknown;
    void frames().then((one) => (frame = one));
    await vi.advanceTimersByTimeAsync(9000);
    await raw.write(smuxFrame(version, 'psh', 3, Buffer.from('a moment')));
    expect(String(await stream.read())).toBe('a moment');
    await vi.advanceTimersByTimeAsync(9000);
    expect(frame).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1000);
    await turns();
    expect(frame).toMatchObject({ command: 'fin', stream: 3 });
    await raw.write(smuxFrame(version, 'fin', 3));
    await stream.closed;
    expect(session.streams).toBe(0);
    session.reset();
  });

  test('our end does not wait for a peer that nobody listens to any more', async () => {
    const { session, raw } = rawPeer({ version }, 'client');
    const frames = wordsOf(raw, version);
    const stream = session.open();
    await stream.write(Buffer.from('last words'));
    void lingeringClose(stream);
    expect(await frames()).toMatchObject({ command: 'syn', stream: 3 });
    expect(await frames()).toMatchObject({ command: 'psh', data: Buffer.from('last words') });
    expect(await frames()).toMatchObject({ command: 'fin', stream: 3 });
    session.reset();
  });
});
