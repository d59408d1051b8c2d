import type { Wheel, WheelTimer } from '../core/wheel.ts';

/** How long is waited after a failure: doubled with each one that follows. */
const firstPauseMs = 250;
const maxPauseMs = 10_000;
/** While it is being closed there is little time. */
const maxClosingPauseMs = 500;

/** When a sink tries, and when it gives up. */
export interface Drain {
  /** True while a failure is waited out. */
  readonly isPaused: boolean;
  /** Something was handed over. */
  succeeded(): void;
  /** Waits, longer each time, and then tries again. */
  failed(): void;
  /** Tell it whenever nothing may be left to do. */
  check(): void;
  /** Tries without delay; resolves when nothing is left, or at the deadline with false. */
  close(deadlineMs: number): Promise<boolean>;
}

/** How a drain is made. */
export interface DrainOptions {
  readonly wheel: Wheel;
  /** Tries once more; there may be nothing to do. */
  readonly run: () => void;
  readonly isDone: () => boolean;
}

/** The clockwork of a sink. */
export function createDrain({ wheel, run, isDone }: DrainOptions): Drain {
  let pauseMs = firstPauseMs;
  let closing: { readonly deadline: WheelTimer; readonly resolve: (done: boolean) => void } | undefined;
  // A program that has nothing else to do may end: whoever ends it in order closes the sink first.
  const pause = wheel.timer(run, { isIdle: true });
  const end = (done: boolean) => {
    closing?.deadline.stop();
    closing?.resolve(done);
    closing = undefined;
    pause.stop();
  };
  return {
    get isPaused() {
      return pause.pending;
    },
    succeeded() {
      pauseMs = firstPauseMs;
    },
    failed() {
      if (pause.pending) return;
      pause.start(closing === undefined ? pauseMs : Math.min(pauseMs, maxClosingPauseMs));
      pauseMs = Math.min(pauseMs * 2, maxPauseMs);
    },
    check() {
      if (closing !== undefined && isDone()) end(true);
    },
    close(deadlineMs) {
      if (isDone()) return Promise.resolve(true);
      return new Promise((resolve) => {
        const deadline = wheel.timer(() => {
          end(false);
        });
        closing = { deadline, resolve };
        deadline.start(deadlineMs);
        pauseMs = firstPauseMs;
        pause.stop();
        run();
      });
    },
  };
}
