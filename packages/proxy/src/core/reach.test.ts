import { afterEach, describe, expect, test, vi } from 'vitest';
import { ProxyError } from './errors.ts';
import { packets, withDeadline } from './reach.ts';
import type { Way } from './way.ts';

afterEach(() => {
  vi.useRealTimers();
});

describe('a deadline', () => {
  const gone = () => new AbortController();
  const target = { host: 'a.test', port: 1 };
  const until = (signal: AbortSignal) =>
    new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        reject(new ProxyError('clientClosed', 'client', String(signal.reason)));
      });
    });

  test('ends what takes longer, and says where to', async () => {
    vi.useFakeTimers();
    const running = withDeadline(gone().signal, 1500, () => target, until);
    const over = expect(running).rejects.toMatchObject({
      code: 'dialTimeout',
      message: 'no connection to a.test:1 within 1.5 s',
      retryable: true,
    });
    await vi.advanceTimersByTimeAsync(1500);
    await over;
    expect(vi.getTimerCount()).toBe(0);
  });

  test('tells a client that left from one that waited', async () => {
    const client = gone();
    const running = withDeadline(client.signal, 60_000, () => undefined, until);
    client.abort();
    await expect(running).rejects.toMatchObject({ code: 'clientClosed', message: 'left' });
  });

  test('leaves nothing behind', async () => {
    vi.useFakeTimers();
    const client = gone();
    const removed = vi.spyOn(client.signal, 'removeEventListener');
    expect(
      await withDeadline(
        client.signal,
        1000,
        () => undefined,
        () => Promise.resolve(1),
      ),
    ).toBe(1);
    const failure = new Error('no');
    await expect(
      withDeadline(
        client.signal,
        1000,
        () => undefined,
        () => Promise.reject(failure),
      ),
    ).rejects.toBe(failure);
    expect(vi.getTimerCount()).toBe(0);
    expect(removed).toHaveBeenCalledTimes(2);
  });

  test('that is longer than a timer can wait is not over at once', async () => {
    vi.useFakeTimers();
    let reason: unknown;
    const running = withDeadline(
      gone().signal,
      1e12,
      () => undefined,
      async (signal) => {
        await vi.advanceTimersByTimeAsync(60_000);
        reason = signal.reason;
      },
    );
    await running;
    expect(reason).toBeUndefined();
  });
});

test('datagrams through a node that carries none end in its name', () => {
  const way = { close: () => Promise.resolve() } as Way;
  const context = { signal: new AbortController().signal };
  expect(() => packets({ way, path: ['one@a.test:1', 'two@b.test:2'] }, undefined, context)).toThrow(
    /datagrams cannot be carried through two@b.test:2/,
  );
});
