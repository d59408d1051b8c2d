import { performance } from 'node:perf_hooks';

/** Streams that may come to nothing one after the other: more than a browser gives up when it is closed. */
const burst = 1000;

/** And so many in every second besides. */
const perSecond = 100;

/** Counts the streams of a peer that came to nothing: opened and gone before a byte was answered, or refused. */
export class Futility {
  #left = burst;
  #sinceMs = performance.now();

  /** One more. False: no peer that means well has so many. */
  isBearable(): boolean {
    const nowMs = performance.now();
    this.#left = Math.min(burst, this.#left + ((nowMs - this.#sinceMs) / 1000) * perSecond) - 1;
    this.#sinceMs = nowMs;
    return this.#left >= 0;
  }
}
