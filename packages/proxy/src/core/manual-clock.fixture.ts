import { createWheel } from './wheel.ts';
import type { Clock, Wheel } from './wheel.ts';

/** A clock that stands still until a test moves it; alarms go off on the way. */
export class ManualClock implements Clock {
  nowMs = 1_000_000;
  readonly #alarms = new Set<{ readonly atMs: number; readonly run: () => void; held: boolean }>();

  now(): number {
    return this.nowMs;
  }

  alarm(delayMs: number, run: () => void) {
    const alarm = { atMs: this.nowMs + delayMs, run, held: true };
    this.#alarms.add(alarm);
    return {
      hold: (held: boolean) => {
        alarm.held = held;
      },
      cancel: () => {
        this.#alarms.delete(alarm);
      },
    };
  }

  /** Whether an alarm keeps the process alive. */
  get isHeld(): boolean {
    return [...this.#alarms].some(({ held }) => held);
  }

  get nextAlarmMs(): number {
    return Math.min(Infinity, ...[...this.#alarms].map(({ atMs }) => atMs));
  }

  /** Moves on; each alarm goes off at its time, or `lateMs` later. */
  advance(ms: number, lateMs = 0): void {
    const until = this.nowMs + ms;
    for (let next = this.nextAlarmMs; next + lateMs <= until; next = this.nextAlarmMs) {
      this.nowMs = Math.max(this.nowMs, next + lateMs);
      for (const alarm of [...this.#alarms]) {
        if (alarm.atMs > this.nowMs || !this.#alarms.delete(alarm)) continue;
        alarm.run();
      }
    }
    this.nowMs = until;
  }

  /** Moves from alarm to alarm, letting everybody act in between, until `done`. Throws when nothing is left to happen. */
  async runUntil(done: () => boolean): Promise<void> {
    for (;;) {
      await settled();
      if (done()) return;
      const next = this.nextAlarmMs;
      if (next === Infinity) throw new Error('nothing is left that could happen');
      this.advance(Math.max(next - this.nowMs, 0));
    }
  }
}

/** Resolves when every promise that can be settled without waiting has been. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A wheel on a clock of its own. */
export function manualWheel(): { readonly clock: ManualClock; readonly wheel: Wheel } {
  const clock = new ManualClock();
  return { clock, wheel: createWheel({ clock }) };
}
