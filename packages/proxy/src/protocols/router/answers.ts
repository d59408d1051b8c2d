import { ProxyError } from '../../core/errors.ts';
import { threadWheel } from '../../core/wheel.ts';
import type { Wheel, WheelTimer } from '../../core/wheel.ts';

/** In whose name something is asked and waits. */
export interface Asker {
  /** Counts a packet of its that was not passed on. */
  drop(): void;
  /** Whether one more question may be asked in its name. Whoever asked tells {@link asked} how it went. */
  mayAsk(): boolean;
  asked(hasFailed: boolean): void;
  /** Whether a packet of so many bytes may wait in its name. One that has waited is told to {@link waited}. */
  wait(bytes: number): boolean;
  waited(bytes: number): void;
}

/** What waits while one thing is asked about: packets, and how long. */
const maxWaiting = 64;
const maxWaitMs = 1000;

/** Answers that are kept; of more the oldest goes. */
const maxEntries = 4096;

/** An answer that is used is asked for anew when this part of its time is left, so that a stream of packets never waits. */
const aheadPart = 1 / 10;

/** What is asked, and what becomes of packets that waited for it. */
export interface AnswersOptions<Key, Answer, From> {
  /** How long an answer counts that was asked for in this site's name, in milliseconds. */
  keptMs(site: From): number;
  /** Rejects where nobody could be asked; that is not kept. */
  ask(key: Key, site: From): Promise<Answer>;
  /** Passes on a packet that waited, in the order in which they came. The frame is the bytes from 0 to their end. */
  pass(answer: Answer, frame: Buffer, site: From): void;
  /** Default: the thread's. */
  readonly wheel?: Wheel;
}

interface Waiting<From> {
  readonly frame: Buffer;
  readonly from: From;
}

interface Entry<Answer, From> {
  answer: Answer | undefined;
  /** Until when it counts, on the wheel's clock. */
  until: number;
  /** From when on a use of it asks anew. */
  aheadFrom: number;
  isAsking: boolean;
  /** Present while packets may wait. */
  waiting: Waiting<From>[] | undefined;
  timer: WheelTimer | undefined;
}

/**
 * Answers to one kind of question, each asked once, whatever number of packets needs it: they wait meanwhile, 64 of them for a
 * second. It holds a bounded number of answers, and of packets for each site.
 */
export class Answers<Key extends number | string, Answer extends object, From extends Asker> {
  readonly #options: AnswersOptions<Key, Answer, From>;
  readonly #entries = new Map<Key, Entry<Answer, From>>();
  readonly #wheel: Wheel;
  #isClosed = false;

  constructor(options: AnswersOptions<Key, Answer, From>) {
    this.#options = options;
    this.#wheel = options.wheel ?? threadWheel;
  }

  /** How many answers are kept or asked for. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * The answer that counts now. Undefined: it is not known, and the frame waits for it, or was dropped because there is no room.
   */
  find(key: Key, bytes: Buffer, start: number, end: number, from: From): Answer | undefined {
    const entry = this.#entries.get(key);
    if (entry?.answer !== undefined) {
      const now = this.#wheel.now();
      if (now < entry.until) {
        if (now >= entry.aheadFrom && !entry.isAsking && from.mayAsk()) this.#ask(key, entry, from);
        return entry.answer;
      }
      entry.answer = undefined;
      // What was asked ahead of time is still on its way, and is now waited for.
      if (entry.isAsking) this.#waitFrom(entry);
    }
    const asked = entry ?? this.#add(key);
    if (!asked.isAsking) {
      if (!from.mayAsk()) {
        from.drop();
        if (entry === undefined) this.#entries.delete(key);
        return undefined;
      }
      // What is in use is last, and goes last.
      this.#entries.delete(key);
      this.#entries.set(key, asked);
      this.#waitFrom(asked);
      this.#ask(key, asked, from);
    }
    this.#hold(asked, bytes, start, end, from);
    return undefined;
  }

  /** Forgets everything; packets that wait are dropped. */
  close(): void {
    this.#isClosed = true;
    for (const entry of this.#entries.values()) this.#waited(entry, drop);
    this.#entries.clear();
  }

  #add(key: Key): Entry<Answer, From> {
    if (this.#entries.size >= maxEntries) {
      const [oldest, entry] = this.#entries.entries().next().value!;
      this.#entries.delete(oldest);
      this.#waited(entry, drop);
    }
    const entry: Entry<Answer, From> = {
      ...{ answer: undefined, until: 0, aheadFrom: 0 },
      ...{ isAsking: false, waiting: undefined, timer: undefined },
    };
    this.#entries.set(key, entry);
    return entry;
  }

  #waitFrom(entry: Entry<Answer, From>): void {
    entry.waiting = [];
    entry.timer ??= this.#wheel.timer(
      () => {
        this.#waited(entry, drop);
      },
      { isIdle: true },
    );
    entry.timer.start(maxWaitMs);
  }

  #hold(entry: Entry<Answer, From>, bytes: Buffer, start: number, end: number, from: From): void {
    const { waiting } = entry;
    if (waiting === undefined || waiting.length >= maxWaiting || !from.wait(end - start)) {
      from.drop();
      return;
    }
    // What it came in would be kept for as long.
    waiting.push({ frame: Buffer.from(bytes.subarray(start, end)), from });
  }

  /** The site has been asked whether it may. */
  #ask(key: Key, entry: Entry<Answer, From>, site: From): void {
    entry.isAsking = true;
    this.#options.ask(key, site).then(
      (answer) => {
        site.asked(false);
        this.#answered(entry, answer, this.#options.keptMs(site));
      },
      (error: unknown) => {
        // Why is told where it was asked.
        const hasLeft = error instanceof ProxyError && error.code === 'clientClosed';
        site.asked(!hasLeft);
        this.#failed(key, entry, hasLeft);
      },
    );
  }

  #answered(entry: Entry<Answer, From>, answer: Answer, keptMs: number): void {
    entry.isAsking = false;
    entry.answer = answer;
    entry.until = this.#wheel.now() + keptMs;
    entry.aheadFrom = entry.until - keptMs * aheadPart;
    this.#waited(entry, ({ frame, from }) => {
      this.#options.pass(answer, frame, from);
    });
  }

  #failed(key: Key, entry: Entry<Answer, From>, hasLeft: boolean): void {
    entry.isAsking = false;
    // An answer that was to be renewed counts for the rest of its time.
    if (entry.answer !== undefined && this.#wheel.now() < entry.until) return;
    entry.answer = undefined;
    // In whose name it was asked has gone; that is nothing to those whose packets wait as well.
    const other = hasLeft && !this.#isClosed ? entry.waiting?.find(({ from }) => from.mayAsk()) : undefined;
    if (other !== undefined) {
      this.#ask(key, entry, other.from);
      return;
    }
    this.#waited(entry, drop);
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
  }

  /** Nothing waits any more; what did is given to `each`. */
  #waited(entry: Entry<Answer, From>, each: (one: Waiting<From>) => void): void {
    const { waiting } = entry;
    entry.timer?.stop();
    entry.waiting = undefined;
    for (const one of waiting ?? []) {
      one.from.waited(one.frame.length);
      each(one);
    }
  }
}

function drop({ from }: Waiting<Asker>): void {
  from.drop();
}
