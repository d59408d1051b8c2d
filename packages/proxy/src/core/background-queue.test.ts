import { PluginError } from '@sallyport/plugin';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createBackgroundQueue } from './background-queue.ts';
import type { BackgroundQueueOptions } from './background-queue.ts';
import { manualWheel, settled } from './manual-clock.fixture.ts';

/** A queue on a clock of its own, and what it tells whom. Calls are called `key:kind:what`. */
function scene(
  answer: (said: string, signal: AbortSignal) => unknown = () => undefined,
  options: Partial<BackgroundQueueOptions> = {},
) {
  const { clock, wheel } = manualWheel();
  const tried: string[] = [];
  const told: string[] = [];
  const notes: string[] = [];
  const queue = createBackgroundQueue({
    what: 'sd nodes',
    problem: ({ code, message }) => notes.push(`${code}: ${message}`),
    inform: (text) => notes.push(text),
    random: () => 0.5,
    wheel,
    ...options,
  });
  const push = (said: string) => {
    const [key, kind] = said.split(':');
    queue.push(key!, {
      kind: kind!,
      async run(signal) {
        tried.push(said);
        await answer(said, signal);
        told.push(said);
      },
    });
  };
  return { clock, queue, push, tried, told, notes };
}

const down = () => Promise.reject(new PluginError('unreachable', 'nobody listens'));
/** Promises that a test settles. */
function held() {
  const open: { readonly said: string; yes(): void; no(): void }[] = [];
  const answer = (said: string) =>
    new Promise<void>((resolve, reject) => {
      open.push({
        said,
        yes: resolve,
        no: () => {
          reject(new PluginError('timeout', 'too slow'));
        },
      });
    });
  return { open, answer };
}

describe('calls in the background', () => {
  test('are told at once, in order for each key, and several keys at a time', async () => {
    const { open, answer } = held();
    const { push, tried, told, queue, notes } = scene(answer);
    push('a:set:1');
    push('b:set:1');
    push('a:unset:2');
    expect(tried).toEqual(['a:set:1', 'b:set:1']);
    expect(queue.waiting).toBe(3);
    open[0]!.yes();
    await settled();
    expect(tried).toEqual(['a:set:1', 'b:set:1', 'a:unset:2']);
    for (const one of open.slice(1)) one.yes();
    await settled();
    expect(told).toEqual(['a:set:1', 'b:set:1', 'a:unset:2']);
    expect(queue.waiting).toBe(0);
    expect(notes).toEqual([]);
  });

  test('of one key and kind only the newest waits; what was said last is told last', async () => {
    const { open, answer } = held();
    const { push, told, queue } = scene(answer);
    push('a:set:1');
    for (const said of ['a:set:2', 'a:set:3', 'a:unset:4', 'a:set:5', 'b:set:1']) push(said);
    expect(queue.waiting).toBe(4);
    while (open.length > 0) {
      open.shift()!.yes();
      await settled();
    }
    expect(told.filter((said) => said.startsWith('a'))).toEqual(['a:set:1', 'a:unset:4', 'a:set:5']);
    expect(queue.dropped).toBe(0);
  });

  test('are told again with growing pauses until they are told, in their order', async () => {
    let isDown = true;
    const { push, tried, told, clock, notes } = scene(() => (isDown ? down() : undefined));
    push('a:set:1');
    push('a:unset:2');
    await settled();
    const pauses: number[] = [];
    for (let before = clock.nowMs; pauses.length < 6; before = clock.nowMs) {
      const count = tried.length;
      await clock.runUntil(() => tried.length > count);
      pauses.push(Math.round((clock.nowMs - before) / 100) * 100);
    }
    expect(pauses).toEqual([500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    expect(new Set(tried)).toEqual(new Set(['a:set:1']));
    isDown = false;
    await clock.runUntil(() => told.length === 2);
    expect(told).toEqual(['a:set:1', 'a:unset:2']);
    expect(notes).toEqual([
      'couldNotAsk: sd nodes cannot be told, and is told again until it can: nobody listens',
      'sd nodes can be told again',
    ]);
  });

  test('pauses are not alike', async () => {
    const after = async (random: number) => {
      const { push, tried, clock } = scene(down, { random: () => random });
      const start = clock.nowMs;
      push('a:set:1');
      await clock.runUntil(() => tried.length === 2);
      return clock.nowMs - start;
    };
    expect(await after(0)).toBeCloseTo(375, -2);
    expect(await after(0.999)).toBeCloseTo(625, -2);
  });

  test('a call that failed gives way to a newer one of its kind', async () => {
    const { open, answer } = held();
    const { push, told, clock, queue } = scene(answer);
    push('a:set:1');
    push('a:set:2');
    open.shift()!.no();
    await clock.runUntil(() => open.length === 1);
    expect(open[0]!.said).toBe('a:set:2');
    expect(queue.waiting).toBe(1);
    open[0]!.yes();
    await settled();
    expect(told).toEqual(['a:set:2']);
    expect([queue.waiting, queue.dropped]).toEqual([0, 0]);
  });

  test('a key that fails holds up no other', async () => {
    const { push, told, clock, tried } = scene((said) => (said.startsWith('bad') ? down() : undefined));
    push('bad:set:0');
    for (let i = 0; i < 100; i++) {
      push(`k${String(i)}:set:0`);
      await settled();
      expect(told).toHaveLength(i + 1);
      clock.advance(100);
    }
    expect(tried.filter((said) => said.startsWith('bad')).length).toBeLessThan(10);
  });

  test('a call that could not be told for five minutes is given up, counted, and said once', async () => {
    const { push, clock, queue, notes } = scene(down);
    for (let i = 0; i < 20; i++) push(`k${String(i)}:set:0`);
    clock.advance(200_000);
    await clock.runUntil(() => queue.waiting === 0);
    expect(clock.nowMs - 1_000_000).toBeGreaterThanOrEqual(300_000);
    expect(clock.nowMs - 1_000_000).toBeLessThan(320_000);
    expect(queue.dropped).toBe(20);
    expect(notes).toEqual([
      'couldNotAsk: sd nodes cannot be told, and is told again until it can: nobody listens',
      'couldNotAsk: sd nodes: what could not be told for 300 s is given up',
      'sd nodes has been told all that waited; 20 calls were given up',
    ]);
  });

  test('renewed in time it is not given up', async () => {
    let isDown = true;
    const { push, clock, queue, told } = scene(() => (isDown ? down() : undefined));
    for (let minute = 0; minute < 20; minute++) {
      push(`a:set:${String(minute)}`);
      await settled();
      clock.advance(60_000);
      await settled();
    }
    expect(queue.dropped).toBe(0);
    isDown = false;
    await clock.runUntil(() => queue.waiting === 0);
    expect(told).toEqual(['a:set:19']);
  });

  test('there is room for so many, and no more; dropping is said once until all is well', async () => {
    const { open, answer } = held();
    const { push, queue, notes } = scene(answer, { maxWaiting: 3, maxInFlight: 1 });
    for (let i = 0; i < 10; i++) push(`k${String(i)}:set:0`);
    expect([queue.waiting, queue.dropped]).toEqual([3, 7]);
    // Another word about a key that waits needs no room.
    push('k2:set:1');
    expect([queue.waiting, queue.dropped]).toEqual([3, 7]);
    while (open.length > 0) {
      open.shift()!.yes();
      await settled();
    }
    push('k0:set:2');
    open.shift()!.yes();
    await settled();
    expect(notes).toEqual([
      'couldNotAsk: sd nodes: 3 calls wait, and more are given up',
      'sd nodes has been told all that waited; 7 calls were given up',
    ]);
  });

  test('somebody who is down is tried now and then, however many keys there are, and all is told when they are back', async () => {
    let isDown = true;
    const { push, clock, tried, told, queue, notes } = scene(() => (isDown ? down() : undefined));
    for (let i = 0; i < 9_000; i++) push(`k${String(i)}:set:0`);
    await settled();
    for (let i = 0; i < 600; i++) {
      clock.advance(100);
      await settled();
    }
    // One a tenth of a second, for a minute.
    expect(tried.length).toBeLessThan(700);
    expect(queue.waiting).toBe(9_000);
    isDown = false;
    const start = clock.nowMs;
    await clock.runUntil(() => queue.waiting === 0);
    expect(clock.nowMs - start).toBeLessThan(6_500);
    expect(new Set(told).size).toBe(9_000);
    expect([queue.dropped, notes.length]).toEqual([0, 2]);
  });

  test('somebody who hangs is told no more than a few things at once', async () => {
    const { open, answer } = held();
    const { push, queue } = scene(answer);
    for (let i = 0; i < 100; i++) push(`k${String(i)}:set:0`);
    expect(open).toHaveLength(16);
    expect(queue.waiting).toBe(100);
  });

  test('a call that throws has failed, and one that is told by another call is told', async () => {
    let first = true;
    const { queue, push, clock, told } = scene(() => {
      if (!first) return;
      first = false;
      push('b:set:0');
      throw new TypeError('a fault');
    });
    push('a:set:0');
    await clock.runUntil(() => queue.waiting === 0);
    expect(told).toEqual(['b:set:0', 'a:set:0']);
  });
});

describe('the end', () => {
  test('tells what waits without delay', async () => {
    let failures = 3;
    const { push, queue, clock, told } = scene(() => (failures-- > 0 ? down() : undefined));
    push('a:set:1');
    push('a:unset:2');
    await settled();
    push('b:set:1');
    await settled();
    const start = clock.nowMs;
    let isClosed = false;
    void queue.close().then(() => (isClosed = true));
    await clock.runUntil(() => isClosed);
    expect(clock.nowMs - start).toBeLessThan(500);
    expect([...told].sort()).toEqual(['a:set:1', 'a:unset:2', 'b:set:1']);
    expect(queue.dropped).toBe(0);
    push('c:set:1');
    expect(queue.dropped).toBe(1);
    await queue.close();
  });

  test('waits for two seconds and no longer, and says what was not told', async () => {
    let signal: AbortSignal | undefined;
    const { push, queue, clock, notes } = scene((said, given) => {
      signal = given;
      return said.startsWith('hang') ? new Promise(() => undefined) : down();
    });
    for (let i = 0; i < 30; i++) push(`k${String(i)}:set:0`);
    push('hang:set:0');
    await settled();
    let isClosed = false;
    void queue.close().then(() => (isClosed = true));
    for (let i = 0; i < 19; i++) {
      clock.advance(100);
      await settled();
    }
    expect(isClosed).toBe(false);
    clock.advance(200);
    await settled();
    expect(isClosed).toBe(true);
    expect(signal!.aborted).toBe(true);
    expect([queue.waiting, queue.dropped]).toEqual([0, 31]);
    expect(notes.at(-1)).toBe('couldNotAsk: sd nodes: 31 calls could not be told before the end');
    expect(clock.nextAlarmMs === Infinity || !clock.isHeld).toBe(true);
  });

  test('of a queue in which nothing waits is at once', async () => {
    const { queue, push } = scene();
    push('a:set:0');
    await settled();
    await queue.close();
    await queue.close();
    expect(queue.dropped).toBe(0);
  });
});

test('whatever is pushed and whoever fails when: each key ends with what was said last, in order, and nothing is left', async () => {
  const step = fc.record({
    key: fc.constantFrom('a', 'b', 'c'),
    kind: fc.constantFrom('set', 'unset'),
    fails: fc.nat({ max: 3 }),
    waitMs: fc.constantFrom(0, 0, 10, 700),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const left = new Map<string, number>();
      const { push, clock, queue, told } = scene((said) => {
        const more = left.get(said) ?? 0;
        left.set(said, more - 1);
        return more > 0 ? down() : undefined;
      });
      const pushed: string[] = [];
      for (const [at, { key, kind, fails, waitMs }] of steps.entries()) {
        const said = `${key}:${kind}:${String(at)}`;
        left.set(said, fails);
        pushed.push(said);
        push(said);
        await settled();
        clock.advance(waitMs);
        await settled();
      }
      await clock.runUntil(() => queue.waiting === 0);
      for (const key of ['a', 'b', 'c']) {
        const ofKey = (list: readonly string[]) => list.filter((said) => said.startsWith(key));
        const order = ofKey(told).map((said) => Number(said.split(':')[2]));
        expect(order).toEqual([...new Set(order)].sort((a, b) => a - b));
        expect(ofKey(told).at(-1)).toBe(ofKey(pushed).at(-1));
      }
      expect(queue.dropped).toBe(0);
      await queue.close();
    }),
    { numRuns: 200 },
  );
});
