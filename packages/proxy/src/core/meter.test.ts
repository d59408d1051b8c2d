import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createMeter, joinMeter } from './meter.ts';
import type { Bucket, BucketRate, Counter } from './meter.ts';

/** What a token bucket is, in plain numbers: tokens that come with time, up to a bound, and may be owed. */
class Model {
  rate: number;
  burst: number;
  tokens: number;
  lastMs: number;

  constructor({ ratePerSecond, burst = ratePerSecond }: BucketRate, nowMs: number) {
    this.rate = ratePerSecond;
    this.burst = Math.max(burst, Math.ceil(ratePerSecond / 20));
    this.tokens = this.burst;
    this.lastMs = nowMs;
  }

  refill(nowMs: number): void {
    this.tokens = Math.min(this.burst, this.tokens + ((nowMs - this.lastMs) * this.rate) / 1000);
    this.lastMs = nowMs;
  }
}

const rates = fc.record({
  ratePerSecond: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 30_000, max: 2_000_000_000 })),
  burst: fc.option(fc.integer({ min: 1, max: 1_000_000 }), { nil: undefined }),
});
const steps = fc.array(
  fc.record({
    afterMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 3000, noNaN: true })),
    bytes: fc.integer({ min: 0, max: 2 ** 20 }),
    what: fc.constantFrom('take' as const, 'take' as const, 'tryTake' as const, 'setRate' as const),
    rate: rates,
  }),
  { maxLength: 60 },
);

describe('a bucket', () => {
  test('does what a token bucket does', () => {
    const meter = createMeter();
    fc.assert(
      fc.property(rates, steps, (rate, list) => {
        // Long after boot, where a millisecond in a double has the fewest digits behind its point.
        let now = 5_000_000_000;
        const model = new Model(rate, now);
        const bucket = meter.bucket(rate);
        // What rounding to whole nanoseconds may have come to so far, in bytes.
        let slack = 0.01;
        for (const { afterMs, bytes, what, rate: next } of list) {
          now += afterMs;
          model.refill(now);
          slack += Math.max(model.rate, next.ratePerSecond) * 4e-9;
          if (what === 'take') {
            model.tokens -= bytes;
            const owed = (bucket.take(bytes, now) * model.rate) / 1000;
            expect(Math.abs(owed - Math.max(-model.tokens, 0))).toBeLessThan(slack);
          } else if (what === 'tryTake') {
            const holds = model.tokens >= bytes;
            const took = bucket.tryTake(bytes, now);
            if (Math.abs(model.tokens - bytes) > slack) expect(took).toBe(holds);
            if (took) model.tokens -= bytes;
          } else {
            const { lastMs, tokens } = model;
            Object.assign(model, new Model(next, lastMs));
            model.tokens = Math.min(tokens, model.burst);
            bucket.setRate(next, now);
            expect(bucket.ratePerSecond).toBe(next.ratePerSecond);
          }
        }
        bucket.free();
      }),
      { numRuns: 300 },
    );
    expect(meter.used).toBe(0);
  });

  test('without a limit it takes everything, and starts full when it gets one', () => {
    const bucket = createMeter().bucket({ ratePerSecond: 0 });
    expect(bucket.take(1e12, 5)).toBe(0);
    bucket.setRate({ ratePerSecond: 1000 }, 6);
    expect(bucket.take(1000, 6)).toBe(0);
    expect(bucket.take(500, 6)).toBe(500);
    expect(bucket.tryTake(1, 6)).toBe(false);
    for (const ratePerSecond of [-1, NaN, Infinity]) {
      bucket.setRate({ ratePerSecond }, 6);
      expect(bucket.waitMs(6)).toBe(0);
    }
  });

  test('an equal rate changes nothing, another one keeps what is owed', () => {
    const bucket = createMeter().bucket({ ratePerSecond: 1000 });
    expect(bucket.take(3000, 0)).toBe(2000);
    bucket.setRate({ ratePerSecond: 1000 }, 500);
    expect(bucket.waitMs(500)).toBe(1500);
    bucket.setRate({ ratePerSecond: 3000 }, 500);
    expect(bucket.waitMs(500)).toBe(500);
  });

  test('a larger burst is filled at the rate and not there at once', () => {
    const bucket = createMeter().bucket({ ratePerSecond: 1000 });
    bucket.setRate({ ratePerSecond: 1000, burst: 3000 }, 0);
    expect(bucket.tryTake(1001, 0)).toBe(false);
    expect(bucket.tryTake(1500, 500)).toBe(true);
  });
});

describe('slots', () => {
  test('never have two owners, and whoever has freed one no longer reaches it', () => {
    const maxSlots = 40;
    const commands = fc.array(
      fc.record({ kind: fc.constantFrom('counter', 'bucket', 'free', 'free again'), which: fc.nat() }),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(commands, (list) => {
        const meter = createMeter({ slots: 2, maxSlots });
        const live: { handle: Counter | Bucket; count: number }[] = [];
        const freed: (Counter | Bucket)[] = [];
        for (const { kind, which } of list) {
          if (kind === 'counter' || kind === 'bucket') {
            if (live.length === maxSlots) {
              expect(() => meter.counter()).toThrow(`all ${String(maxSlots)} counters`);
              continue;
            }
            const handle = kind === 'counter' ? meter.counter() : meter.bucket({ ratePerSecond: 100 });
            live.push({ handle, count: 0 });
          } else if (kind === 'free' && live.length > 0) {
            const [{ handle }] = live.splice(which % live.length, 1) as [(typeof live)[0]];
            handle.free();
            freed.push(handle);
          } else if (freed.length > 0) freed[which % freed.length]!.free();
          for (const old of freed) {
            if ('add' in old) old.add(1000);
            else {
              expect(old.take(1e9, 0)).toBe(0);
              old.setRate({ ratePerSecond: 1 }, 0);
            }
          }
          for (const owner of live) {
            if ('add' in owner.handle) {
              owner.handle.add(which % 7);
              owner.count += which % 7;
              expect(owner.handle.value).toBe(owner.count);
            } else expect(owner.handle).toMatchObject({ ratePerSecond: 100 });
          }
          expect(new Set(live.map(({ handle }) => handle.id.slot)).size).toBe(live.length);
          expect(meter.used).toBe(live.length);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('threads draw on one bucket and share the slots', async () => {
    const meter = createMeter({ slots: 4 });
    const bucket = meter.bucket({ ratePerSecond: 1000 });
    const counter = meter.counter();
    // Threads know nothing of how the tests read TypeScript.
    const script = new URL('./meter-thread.fixture.ts', import.meta.url).href;
    const code = `import('tsx/esm/api').then(({ tsImport }) => tsImport('${script}', '${script}'))`;
    const workerData = { block: meter.block, id: bucket.id };
    const workers = [1, 2].map(() => new Worker(code, { eval: true, workerData }));
    await Promise.all(
      workers.map(async (worker) => {
        await once(worker, 'message');
        await worker.terminate();
      }),
    );
    expect(bucket.waitMs(0)).toBe(39_000);
    counter.add(2);
    expect(counter.value).toBe(2);
    expect(joinMeter(meter.block).used).toBe(2);
    // Four counters at once at most, beside the two slots of this thread.
    const handedOut = new BigInt64Array(meter.block)[0]!;
    expect(handedOut).toBeLessThanOrEqual(6n);
  });
});
