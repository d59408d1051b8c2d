import type { ObserverEvent } from '@sallyport/plugin';
import { ProxyError } from '../core/errors.ts';
import type { PolicyOf } from '../core/policies.ts';
import type { Wheel } from '../core/wheel.ts';

/** Events that go into one call. */
export interface Batch {
  readonly events: readonly ObserverEvent[];
  /** The observer has them. */
  done(): void;
}

/** Where events come from. */
export interface Source {
  /** A period has passed: what has been counted is due. */
  sample(): void;
  /** What is due now; undefined: nothing. After a failure it holds what came since as well. */
  next(afterFailure: boolean): Batch | undefined;
}

/** How events reach an observer. */
export interface ReporterOptions {
  /** How a person calls it: `the observer of front`. */
  readonly what: string;
  readonly observer: PolicyOf<'observer'>;
  readonly source: Source;
  readonly periodMs: number;
  /** How long `close` may take, in milliseconds. */
  readonly closeMs: number;
  readonly note: (text: string, level: 'info' | 'warn') => void;
  readonly wheel: Wheel;
}

/** Tells an observer what is due, one call at a time. */
export interface Reporter {
  /** Something is due that should not wait for the period. Returns at once. */
  wake(): void;
  /** Tells what is left, again and again until the deadline; resolves by then, false when something is left. Never rejects. */
  close(): Promise<boolean>;
}

const firstPauseMs = 1_000;
const maxPauseMs = 30_000;
/** While it is being closed there is little time. */
const closingPauseMs = 250;

/**
 * Makes a reporter, whose first period begins now. A call that failed or was answered with a no is made again after a second,
 * then two, four, up to the period (30 s at most), with all that is due by then. An observer that hangs holds up nothing
 * but this.
 */
export function createReporter(options: ReporterOptions): Reporter {
  const { what, observer, source, periodMs, closeMs, note, wheel } = options;
  const ended = new AbortController();
  let busy = false;
  let failures = 0;
  let closing: ((done: boolean) => void) | undefined;
  let closed: Promise<boolean> | undefined;

  const run = async (): Promise<void> => {
    if (busy || pause.pending || ended.signal.aborted) return;
    busy = true;
    let isBehind = false;
    for (let batch = source.next(failures > 0); batch !== undefined; batch = source.next(false)) {
      const why = await tell(batch);
      if (ended.signal.aborted) return;
      if (why !== undefined) {
        failed(why);
        isBehind = true;
        break;
      }
      batch.done();
      if (failures > 0) note(`${what} can be told again`, 'info');
      failures = 0;
    }
    busy = false;
    if (!isBehind) closing?.(true);
  };
  /** Why it was not told, if it was not. */
  const tell = async ({ events }: Batch): Promise<string | undefined> => {
    try {
      const taken = await observer.observe({ events }, { signal: ended.signal, meta: {} });
      return taken ? undefined : 'it says that it did not take the events';
    } catch (cause) {
      return ProxyError.from(cause).message;
    }
  };
  const failed = (why: string) => {
    if (failures === 0) note(`${what} cannot be told, and is tried again: ${why}`, 'warn');
    const pauseMs = firstPauseMs * 2 ** Math.min(failures, 10);
    pause.start(closing === undefined ? Math.min(pauseMs, periodMs, maxPauseMs) : closingPauseMs);
    failures++;
  };
  const wake = () => {
    void run();
  };

  // A program that has nothing else to do may end; whoever ends it in order closes first.
  const pause = wheel.timer(wake, { isIdle: true });
  const period = wheel.timer(
    () => {
      period.start(periodMs);
      source.sample();
      wake();
    },
    { isIdle: true },
  );
  period.start(periodMs);

  return {
    wake,
    close() {
      closed ??= new Promise<boolean>((resolve) => {
        period.stop();
        const deadline = wheel.timer(() => closing?.(false));
        deadline.start(closeMs);
        closing = (done) => {
          deadline.stop();
          pause.stop();
          closing = undefined;
          ended.abort();
          resolve(done);
        };
        pause.stop();
        source.sample();
        wake();
      });
      return closed;
    },
  };
}
