import { performance } from 'node:perf_hooks';

/** Something that happens at a time unless it is taken back. The fields belong to {@link Deadlines}. */
export interface Deadline {
  /** Called once when the time has come. It must not throw. */
  onDeadline(): void;
  dueMs: number;
  previous: Deadline | undefined;
  next: Deadline | undefined;
}

const slotMs = 4;
const slots = 1024;

/**
 * Many deadlines on one timer: a wheel of slots of 4 ms, so that setting and taking back one costs no timer of the
 * runtime. A deadline is never early and at most about a slot late. The timer does not keep the process alive: what is
 * waited for has a socket that does.
 */
export class Deadlines {
  // Each slot's list is a ring through its own head.
  readonly #heads: Deadline[] = Array.from({ length: slots }, makeHead);
  #count = 0;
  /** The next slot to look at, counted from the beginning of time. */
  #cursor = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerSlot = Number.POSITIVE_INFINITY;

  /** Sets a deadline that is not set. */
  set(deadline: Deadline, delayMs: number): void {
    const now = performance.now();
    deadline.dueMs = now + Math.max(0, delayMs);
    if (this.#count === 0) this.#cursor = Math.max(this.#cursor, Math.floor(now / slotMs));
    // Never a slot that the cursor has passed: it would wait for the wheel to come round.
    const due = Math.max(Math.ceil(deadline.dueMs / slotMs), this.#cursor);
    this.#count++;
    const head = this.#heads[due % slots]!;
    const last = head.previous!;
    deadline.previous = last;
    deadline.next = head;
    last.next = deadline;
    head.previous = deadline;
    if (due < this.#timerSlot) this.#arm(due, now);
  }

  /** Takes a deadline back. One that is not set, or has passed, is left alone. */
  clear(deadline: Deadline): void {
    const { previous, next } = deadline;
    if (previous === undefined || next === undefined) return;
    previous.next = next;
    next.previous = previous;
    deadline.previous = undefined;
    deadline.next = undefined;
    // The timer stays: while calls come and go it would be set anew for each of them.
    this.#count--;
  }

  #arm(slot: number, nowMs: number): void {
    clearTimeout(this.#timer);
    this.#timerSlot = slot;
    this.#timer = setTimeout(this.#onTimer, Math.max(1, Math.ceil(slot * slotMs - nowMs)));
    this.#timer.unref();
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    this.#timerSlot = Number.POSITIVE_INFINITY;
    const now = performance.now();
    const until = Math.floor(now / slotMs);
    // After a long pause each slot is looked at once, not once for each turn of the wheel.
    const first = Math.max(this.#cursor, until - slots + 1);
    this.#cursor = until + 1;
    for (let slot = first; slot <= until; slot++) this.#expire(this.#heads[slot % slots]!, now);
    if (this.#count > 0 && this.#timer === undefined) this.#arm(this.#nextSlot(), now);
  };

  #expire(head: Deadline, now: number): void {
    // What a callback sets anew is due later, so the walk ends.
    let deadline = head.next!;
    while (deadline !== head) {
      const following = deadline.next!;
      if (deadline.dueMs <= now) {
        this.clear(deadline);
        deadline.onDeadline();
        // The callback may have taken the following one back; the list is short, so it is walked again.
        deadline = head.next!;
      } else {
        deadline = following;
      }
    }
  }

  #nextSlot(): number {
    for (let slot = this.#cursor; slot < this.#cursor + slots; slot++) {
      const head = this.#heads[slot % slots]!;
      if (head.next !== head) return slot;
    }
    return this.#cursor;
  }
}

function makeHead(): Deadline {
  const head: Deadline = { onDeadline: () => {}, dueMs: 0, previous: undefined, next: undefined };
  head.previous = head;
  head.next = head;
  return head;
}

/** The one wheel of this process. */
export const deadlines = new Deadlines();
