import { performance } from 'node:perf_hooks';

/** A clock and an alarm. Tests give one that they move by hand. */
export interface Clock {
  /** Milliseconds that never go back. */
  now(): number;
  /** Runs once after so many milliseconds or a little later. */
  alarm(delayMs: number, run: () => void): Alarm;
}

/** An alarm that has been set. One that is held keeps the process alive; it is held at first. */
export interface Alarm {
  hold(held: boolean): void;
  cancel(): void;
}

// What `performance.now` counts from differs from thread to thread; what `process.hrtime` counts from does not.
const [seconds, nanos] = process.hrtime();
const sinceBootMs = seconds * 1000 + nanos / 1e6 - performance.now();

/** The system's monotonic clock: the same reading in all threads of the process, and what C calls CLOCK_MONOTONIC. */
const monotonicClock: Clock = {
  now: () => sinceBootMs + performance.now(),
  alarm(delayMs, run) {
    const timeout = setTimeout(run, delayMs);
    return {
      hold: (held) => void (held ? timeout.ref() : timeout.unref()),
      cancel: () => {
        clearTimeout(timeout);
      },
    };
  },
};

/** One thing that may happen later, again and again; made once, so that waiting allocates nothing. */
export interface WheelTimer {
  /** Runs once, after at least so many milliseconds, counted from now; what was set before no longer counts. */
  start(delayMs: number): void;
  /** It does not run any more, unless it is started again. */
  stop(): void;
  readonly pending: boolean;
}

/** How a timer differs from others. */
export interface WheelTimerOptions {
  /** The process may end while the timer waits. Default false. */
  readonly isIdle?: boolean;
}

/** Any number of timers on one alarm of the system. */
export interface Wheel {
  /** Milliseconds on the wheel's clock. */
  now(): number;
  /**
   * A timer that runs nothing until it is started. `run` returns at once. While it waits it keeps the process alive, unless it
   * is for something that nobody waits for.
   */
  timer(run: () => void, options?: WheelTimerOptions): WheelTimer;
  /** How many timers wait. */
  readonly pending: number;
}

/** What a wheel is made of. */
export interface WheelOptions {
  /**
   * How exact the timers are, in milliseconds; default 5. A connection that is held to a rate waits up to a tick too long, and
   * then sends as much more, so that the rate itself never suffers (the buckets hold at least ten ticks' worth); what a tick
   * decides is how even the flow is. 5 ms is well below what a person or TCP's delayed acknowledgement (40 ms) notices,
   * and costs 200 wake-ups a second at most, for all connections together. For idle timeouts it is more than exact.
   */
  readonly tickMs?: number;
  readonly clock?: Clock;
}

const slotsPerLevel = 256;
/** 256 slots of one tick, of 256, and of 65,536: 23 hours with ticks of 5 ms. What is due later goes around once more. */
const levels = 3;
const ticksPerSlot = Array.from({ length: levels }, (_, level) => slotsPerLevel ** level);

/**
 * Makes a wheel. Starting and stopping a timer costs the same however many wait. While none waits it does not keep the
 * process alive; there is nothing to close. A timer that throws stops no other; the error is the process's, as with setTimeout.
 */
export function createWheel(options: WheelOptions = {}): Wheel {
  return new HierarchicalWheel(options);
}

class HierarchicalWheel implements Wheel {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #startMs: number;
  readonly #slots = ticksPerSlot.map(() => Array.from({ length: slotsPerLevel }, () => new Link()));
  /** Everything that was due up to here has run. */
  #tick = 0;
  #pending = 0;
  /** Those of the pending that keep the process alive. */
  #holding = 0;
  #alarm: Alarm | undefined;
  /** The tick at which the alarm goes off. */
  #alarmTick = Infinity;
  #turning = false;

  constructor({ tickMs = 5, clock = monotonicClock }: WheelOptions) {
    this.#clock = clock;
    this.#tickMs = tickMs;
    this.#startMs = clock.now();
  }

  now(): number {
    return this.#clock.now();
  }

  get pending(): number {
    return this.#pending;
  }

  timer(run: () => void, { isIdle = false }: WheelTimerOptions = {}): WheelTimer {
    return new Timer(this, run, isIdle);
  }

  add(timer: Timer, delayMs: number): void {
    const atMs = this.#clock.now() - this.#startMs + Math.max(delayMs, 0);
    // A wheel with nothing on it need not be turned to where it is by now.
    if (this.#pending === 0 && !this.#turning) this.#tick = Math.max(this.#tick, this.#currentTick());
    timer.dueTick = Math.max(Math.ceil(atMs / this.#tickMs), this.#tick + 1);
    const next = this.#place(timer);
    this.#count(timer, 1);
    // A turn sets the alarm at its end.
    if (this.#turning) return;
    if (next < this.#alarmTick) this.#setAlarm(next);
    else if (this.#holding === 1) this.#alarm?.hold(true);
  }

  remove(timer: Timer): void {
    timer.unlink();
    this.#count(timer, -1);
    // The alarm stays: the next timer is probably started before it goes off.
    if (this.#holding === 0) this.#alarm?.hold(false);
  }

  #count(timer: Timer, change: 1 | -1): void {
    this.#pending += change;
    if (!timer.isIdle) this.#holding += change;
  }

  #currentTick(): number {
    return Math.floor((this.#clock.now() - this.#startMs) / this.#tickMs);
  }

  /** Puts a timer into the finest level that reaches to its time; answers at which tick the wheel has to look at it. */
  #place(timer: Timer): number {
    const due = timer.dueTick;
    if (due - this.#tick < slotsPerLevel) {
      this.#slots[0]![due % slotsPerLevel]!.append(timer);
      return due;
    }
    for (let level = 1; ; level++) {
      const span = ticksPerSlot[level]!;
      const here = Math.floor(this.#tick / span);
      const ahead = Math.floor(due / span) - here;
      if (ahead < slotsPerLevel || level === levels - 1) {
        const place = here + Math.min(ahead, slotsPerLevel - 1);
        this.#slots[level]![place % slotsPerLevel]!.append(timer);
        return place * span;
      }
    }
  }

  /** The next tick at which something runs, or moves to a finer level; Infinity when nothing waits. */
  #nextTick(): number {
    if (this.#pending === 0) return Infinity;
    let next = Infinity;
    for (let level = 0; level < levels; level++) {
      const span = ticksPerSlot[level]!;
      const here = Math.floor(this.#tick / span);
      for (let ahead = 1; ahead < slotsPerLevel; ahead++) {
        if ((here + ahead) * span >= next) break;
        if (!this.#slots[level]![(here + ahead) % slotsPerLevel]!.isAlone) {
          next = (here + ahead) * span;
          break;
        }
      }
    }
    return next;
  }

  #setAlarm(tick: number): void {
    this.#alarm?.cancel();
    this.#alarmTick = tick;
    const delayMs = this.#startMs + tick * this.#tickMs - this.#clock.now();
    this.#alarm = this.#clock.alarm(Math.max(Math.ceil(delayMs), 0), () => {
      this.#alarm = undefined;
      this.#alarmTick = Infinity;
      this.#turn();
    });
    if (this.#holding === 0) this.#alarm.hold(false);
  }

  /** Runs everything that is due by now. */
  #turn(): void {
    const until = this.#currentTick();
    this.#turning = true;
    try {
      // Left over when one of them threw.
      this.#runDue();
      for (let next = this.#nextTick(); next <= until; next = this.#nextTick()) {
        this.#tick = next;
        for (let level = levels - 1; level > 0; level--) this.#refine(level);
        this.#runDue();
      }
      this.#tick = Math.max(this.#tick, until);
    } finally {
      this.#turning = false;
      const next = this.#dueNow.isAlone ? this.#nextTick() : this.#tick;
      if (next < Infinity) this.#setAlarm(next);
    }
  }

  get #dueNow(): Link {
    return this.#slots[0]![this.#tick % slotsPerLevel]!;
  }

  #runDue(): void {
    const due = this.#dueNow;
    for (let timer = due.next; timer !== due; timer = due.next) {
      timer.unlink();
      this.#count(timer as Timer, -1);
      (timer as Timer).run();
    }
  }

  /** Where a slot of a coarser level begins here, its timers get their exact places. */
  #refine(level: number): void {
    const span = ticksPerSlot[level]!;
    if (this.#tick % span !== 0) return;
    const slot = this.#slots[level]![(this.#tick / span) % slotsPerLevel]!;
    const moved: Timer[] = [];
    for (let timer = slot.next; timer !== slot; timer = slot.next) {
      timer.unlink();
      moved.push(timer as Timer);
    }
    for (const timer of moved) this.#place(timer);
  }
}

/** A link of a ring; one that stands for a slot holds the ring of its timers. */
class Link {
  next: Link = this;
  before: Link = this;

  get isAlone(): boolean {
    return this.next === this;
  }

  append(link: Link): void {
    link.before = this.before;
    link.next = this;
    this.before.next = link;
    this.before = link;
  }

  unlink(): void {
    this.before.next = this.next;
    this.next.before = this.before;
    this.next = this.before = this;
  }
}

class Timer extends Link implements WheelTimer {
  dueTick = 0;
  readonly run: () => void;
  readonly isIdle: boolean;
  readonly #wheel: HierarchicalWheel;

  constructor(wheel: HierarchicalWheel, run: () => void, isIdle: boolean) {
    super();
    this.#wheel = wheel;
    this.run = run;
    this.isIdle = isIdle;
  }

  get pending(): boolean {
    return !this.isAlone;
  }

  start(delayMs: number): void {
    this.stop();
    this.#wheel.add(this, delayMs);
  }

  stop(): void {
    if (this.pending) this.#wheel.remove(this);
  }
}

/** The wheel of this thread, for whatever is not given another one. */
export const threadWheel: Wheel = createWheel();
