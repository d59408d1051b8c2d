import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ManualClock, manualWheel } from './manual-clock.fixture.ts';
import { createWheel } from './wheel.ts';

describe('a wheel', () => {
  test('runs each timer once, never early and at most a tick late, in whatever order they are started and stopped', () => {
    const delays = fc.oneof(
      fc.integer({ min: 0, max: 50 }),
      fc.double({ min: 0, max: 5000, noNaN: true }),
      fc.integer({ min: 0, max: 3_600_000 }),
      fc.integer({ min: 80_000_000, max: 200_000_000 }),
    );
    const commands = fc.array(
      fc.record({ which: fc.nat({ max: 9 }), delayMs: fc.option(delays), afterMs: delays }),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(commands, fc.integer({ min: 0, max: 30 }), (list, lateMs) => {
        const { clock, wheel } = manualWheel();
        const due = new Map<number, number>();
        const timers = Array.from({ length: 10 }, (_, which) =>
          wheel.timer(() => {
            const atMs = due.get(which);
            expect(atMs).toBeDefined();
            due.delete(which);
            expect(clock.nowMs).toBeGreaterThanOrEqual(atMs!);
            expect(clock.nowMs).toBeLessThan(atMs! + 6.001 + lateMs);
          }),
        );
        for (const { which, delayMs, afterMs } of list) {
          if (delayMs === null) {
            timers[which]!.stop();
            due.delete(which);
          } else {
            timers[which]!.start(delayMs);
            due.set(which, clock.nowMs + delayMs);
          }
          expect(wheel.pending).toBe(due.size);
          expect(clock.isHeld).toBe(due.size > 0);
          clock.advance(afterMs, lateMs);
          for (const atMs of due.values()) expect(atMs + 6.001 + lateMs).toBeGreaterThan(clock.nowMs);
        }
        clock.advance(300_000_000, lateMs);
        expect(due.size).toBe(0);
        expect(wheel.pending).toBe(0);
        expect(clock.isHeld).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  test('keeps the process alive only for timers that somebody waits for', () => {
    const { clock, wheel } = manualWheel();
    const idle = wheel.timer(() => undefined, { isIdle: true });
    const awaited = wheel.timer(() => undefined);
    idle.start(10_000);
    expect(clock.isHeld).toBe(false);
    awaited.start(50_000);
    expect(clock.isHeld).toBe(true);
    awaited.stop();
    expect(clock.isHeld).toBe(false);
    awaited.start(10);
    expect(clock.isHeld).toBe(true);
    clock.advance(20);
    expect(awaited.pending).toBe(false);
    expect(idle.pending).toBe(true);
    expect(clock.isHeld).toBe(false);
  });

  test('a timer may start itself and stop others while it runs; one that throws stops no other', () => {
    const clock = new ManualClock();
    const wheel = createWheel({ clock });
    const ran: string[] = [];
    const again = wheel.timer(() => {
      if (ran.push('again') < 3) again.start(0);
      stopped.stop();
    });
    const stopped = wheel.timer(() => ran.push('stopped'));
    const bad = wheel.timer(() => {
      throw new Error('bad');
    });
    const good = wheel.timer(() => ran.push('good'));
    again.start(10);
    stopped.start(10);
    clock.advance(100);
    expect(ran).toEqual(['again', 'again', 'again']);
    bad.start(10);
    good.start(10);
    expect(() => {
      clock.advance(100);
    }).toThrow('bad');
    clock.advance(1);
    expect(ran.at(-1)).toBe('good');
    expect(wheel.pending).toBe(0);
  });

  test('real time: a timer runs', async () => {
    const wheel = createWheel();
    const startMs = wheel.now();
    await new Promise<void>((resolve) => {
      wheel.timer(resolve).start(20);
    });
    expect(wheel.now() - startMs).toBeGreaterThanOrEqual(20);
  });
});
