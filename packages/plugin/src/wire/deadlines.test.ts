import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Deadlines } from './deadlines.ts';
import type { Deadline } from './deadlines.ts';

function deadline(onDeadline: () => void): Deadline {
  return { onDeadline, dueMs: 0, previous: undefined, next: undefined };
}

/** Keeps the process alive while deadlines, which do not, are waited for. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 1));
}

describe('deadlines', () => {
  test('come in their order, never early and hardly late', async () => {
    const wheel = new Deadlines();
    const delays = [40, 3, 17, 0, 90, 17];
    const late: number[] = [];
    for (const delay of delays) {
      const from = performance.now();
      wheel.set(
        deadline(() => late.push(performance.now() - from - delay)),
        delay,
      );
    }
    await until(() => late.length === delays.length);
    for (const ms of late) {
      expect(ms).toBeGreaterThanOrEqual(0);
      expect(ms).toBeLessThan(500);
    }
  });

  test('further away than the wheel is long do not come with a turn of it', async () => {
    const wheel = new Deadlines();
    let far = false;
    let near = false;
    const slotMs = 4;
    wheel.set(
      deadline(() => (far = true)),
      1024 * slotMs + 20,
    );
    wheel.set(
      deadline(() => (near = true)),
      20,
    );
    await until(() => near);
    expect(far).toBe(false);
  });

  test('that are taken back never come, also by another one of the same time', async () => {
    const wheel = new Deadlines();
    let wrong = 0;
    let right = 0;
    const taken = deadline(() => wrong++);
    const first = deadline(() => {
      right++;
      wheel.clear(taken);
    });
    wheel.set(first, 10);
    wheel.set(taken, 10);
    wheel.clear(taken);
    wheel.clear(taken);
    wheel.set(taken, 10);
    wheel.set(
      deadline(() => right++),
      30,
    );
    await until(() => right === 2);
    expect(wrong).toBe(0);
  });

  test('may be set again from inside, and go on after a pause', async () => {
    const wheel = new Deadlines();
    let count = 0;
    const again: Deadline = deadline(() => {
      if (++count < 5) wheel.set(again, 1);
    });
    wheel.set(again, 1);
    await until(() => count === 5);
    await new Promise((resolve) => setTimeout(resolve, 20));
    wheel.set(again, 1);
    await until(() => count === 6);
  });

  test('all come, whatever was taken back in between', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ delay: fc.nat(25), isTaken: fc.boolean() }), { minLength: 1, maxLength: 60 }),
        async (list) => {
          const wheel = new Deadlines();
          const came = new Set<number>();
          const all = list.map((one, i) => {
            const item = deadline(() => came.add(i));
            wheel.set(item, one.delay);
            return item;
          });
          list.forEach((one, i) => one.isTaken && wheel.clear(all[i]!));
          const expected = list.flatMap((one, i) => (one.isTaken ? [] : [i]));
          await until(() => came.size >= expected.length);
          expect([...came].sort((a, b) => a - b)).toEqual(expected);
        },
      ),
      { numRuns: 30 },
    );
  });
});
