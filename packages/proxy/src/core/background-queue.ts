import { setMaxListeners } from 'node:events';
import { ProxyError } from './errors.ts';
import { threadWheel } from './wheel.ts';
import type { Wheel, WheelTimer } from './wheel.ts';

/** Something that somebody has to be told, and nobody waits for. */
export interface BackgroundCall {
  /**
   * Which sort of thing is said of the key: a newer call takes the place of an older one of its sort that still waits. Register
   * and Renew are one sort, Deregister another.
   */
  readonly kind: string;
  /**
   * Tells it. A rejection means that it is told again; so it must do no harm when it is told twice. The signal fires when the queue
   * has been closed and does not wait any longer.
   */
  run(signal: AbortSignal): unknown;
}

/** Calls in the background. Whoever made it closes it. */
export interface BackgroundQueue {
  /** Takes a call, and begins it at once where nothing of the same key is under way. Never throws. */
  push(key: string, call: BackgroundCall): void;
  /** How many calls wait or are under way. */
  readonly waiting: number;
  /** How many calls were given up. One that a newer call replaced is not. */
  readonly dropped: number;
  /** Takes nothing more; resolves when everything has been told, or after 2 s with the rest given up. Never rejects. */
  close(): Promise<void>;
}

/** How a queue is made. */
export interface BackgroundQueueOptions {
  /** Who is told, as a person says it: `sd nodes`. */
  readonly what: string;
  /** Told when calls begin to fail and when the first of a burst is given up, not for each. Returns at once and never throws. */
  problem(error: ProxyError): void;
  /** Told when all is well again. Returns at once and never throws. Default: nobody. */
  inform?(text: string): void;
  /** Calls that wait or are under way; what comes beyond is given up. Default 10,000. */
  readonly maxWaiting?: number;
  /** Keys whose calls are under way at once. Default 16. */
  readonly maxInFlight?: number;
  /** A call that could not be told for so long is given up. Default 300,000. */
  readonly giveUpMs?: number;
  /** How long `close` waits. Default 2,000: a service that ends should not wait for one that is down. */
  readonly closeMs?: number;
  /** From 0 to below 1. Default `Math.random`. */
  readonly random?: () => number;
  /** Default: the thread's. */
  readonly wheel?: Wheel;
}

interface Entry extends BackgroundCall {
  readonly giveUpAtMs: number;
}

/** What is said of one key: one call after the other. */
interface Lane {
  readonly key: string;
  readonly waiting: Entry[];
  isRunning: boolean;
  /** How often calls of this key have failed, one after the other. */
  failures: number;
  /** Made when the first has failed. */
  pause: WheelTimer | undefined;
}

/** How long a key waits after a failure: doubled with each one that follows, give or take a quarter. */
const firstPauseMs = 500;
const maxPauseMs = 5_000;
/** While it is being closed there is little time. */
const maxClosingPauseMs = 200;

/** While nothing but failures comes, one call after the other tries, with so much time in between. */
const probeEveryMs = 100;

/**
 * Tells somebody things in the background: in order for each key, several keys at once, again and again until it is told.
 * For SetRule, Register, Renew and Deregister, whose outcome nobody waits for: a plugin that is down costs a bounded number of
 * calls, a bounded number of attempts, and one line in the log.
 */
export function createBackgroundQueue({
  what,
  problem,
  inform = () => undefined,
  maxWaiting = 10_000,
  maxInFlight = 16,
  giveUpMs = 300_000,
  closeMs = 2_000,
  random = Math.random,
  wheel = threadWheel,
}: BackgroundQueueOptions): BackgroundQueue {
  const lanes = new Map<string, Lane>();
  /** Those that may go on, in this order. */
  const ready = new Set<Lane>();
  const ended = new AbortController();
  // All calls under way listen for the one end.
  setMaxListeners(0, ended.signal);
  let waiting = 0;
  let inFlight = 0;
  let dropped = 0;
  /** `dropped` when this burst of giving up began. */
  let droppedBefore: number | undefined;
  /** Failures of all keys without a success in between. */
  let failuresInARow = 0;
  let failingLanes = 0;
  let isClosing = false;
  let finish: (() => void) | undefined;
  let closed: Promise<void> | undefined;

  const say = (message: string, cause?: unknown) => {
    problem(new ProxyError('couldNotAsk', 'plugin', message, cause === undefined ? {} : { cause }));
  };
  const drop = (count: number, why: string) => {
    dropped += count;
    if (droppedBefore !== undefined) return;
    droppedBefore = dropped - count;
    say(`${what}: ${why}`);
  };
  const setFailures = (lane: Lane, failures: number) => {
    if (lane.failures === 0 && failures > 0) failingLanes++;
    if (lane.failures > 0 && failures === 0) failingLanes--;
    lane.failures = failures;
  };

  const probe = wheel.timer(
    () => {
      pump();
    },
    { isIdle: true },
  );

  /** Lets a key go on, or forgets it where nothing is left to say. */
  const goOn = (lane: Lane) => {
    if (lane.waiting.length > 0) {
      ready.add(lane);
      return;
    }
    setFailures(lane, 0);
    lanes.delete(lane.key);
    if (waiting > 0) return;
    if (droppedBefore !== undefined)
      inform(`${what} has been told all that waited; ${String(dropped - droppedBefore)} calls were given up`);
    droppedBefore = undefined;
    finish?.();
  };

  const pump = () => {
    for (const lane of ready) {
      const isFailing = failuresInARow >= maxInFlight;
      if (inFlight >= (isFailing ? 1 : maxInFlight) || probe.pending || ended.signal.aborted) return;
      ready.delete(lane);
      const entry = next(lane);
      if (entry === undefined) goOn(lane);
      else void run(lane, entry);
    }
  };

  /** The next call of a key whose time has not passed. */
  const next = (lane: Lane): Entry | undefined => {
    for (;;) {
      const entry = lane.waiting.shift();
      if (entry === undefined || entry.giveUpAtMs > wheel.now()) return entry;
      giveUp();
    }
  };
  const giveUp = () => {
    waiting--;
    drop(1, `what could not be told for ${String(giveUpMs / 1000)} s is given up`);
  };

  const run = async (lane: Lane, entry: Entry): Promise<void> => {
    lane.isRunning = true;
    inFlight++;
    try {
      await entry.run(ended.signal);
      if (ended.signal.aborted) return;
      waiting--;
      failuresInARow = 0;
      const wasFailing = failingLanes > 0;
      setFailures(lane, 0);
      if (wasFailing && failingLanes === 0) inform(`${what} can be told again`);
      lane.isRunning = false;
      goOn(lane);
    } catch (cause) {
      if (ended.signal.aborted) return;
      lane.isRunning = false;
      missed(lane, entry, cause);
    } finally {
      inFlight--;
      pump();
    }
  };

  const missed = (lane: Lane, entry: Entry, cause: unknown) => {
    failuresInARow++;
    if (failingLanes === 0) {
      const { message } = ProxyError.from(cause);
      say(`${what} cannot be told, and is told again until it can: ${message}`, cause);
    }
    setFailures(lane, lane.failures + 1);
    // What was said since is what counts now.
    if (lane.waiting.some(({ kind }) => kind === entry.kind)) waiting--;
    else if (entry.giveUpAtMs <= wheel.now()) giveUp();
    else lane.waiting.unshift(entry);
    if (failuresInARow >= maxInFlight) probe.start(isClosing ? 0 : probeEveryMs);
    if (lane.waiting.length === 0) {
      goOn(lane);
      return;
    }
    const grown = Math.min(firstPauseMs * 2 ** Math.min(lane.failures - 1, 10), maxPauseMs);
    const pauseMs = grown * (0.75 + random() / 2);
    lane.pause ??= wheel.timer(
      () => {
        ready.add(lane);
        pump();
      },
      { isIdle: true },
    );
    lane.pause.start(isClosing ? Math.min(pauseMs, maxClosingPauseMs) : pauseMs);
  };

  return {
    push(key, { kind, run: tell }) {
      if (isClosing) {
        drop(1, 'what comes after the end is not told');
        return;
      }
      let lane = lanes.get(key);
      const older = lane?.waiting.findIndex((one) => one.kind === kind) ?? -1;
      if (older >= 0) lane!.waiting.splice(older, 1);
      else if (waiting >= maxWaiting) {
        drop(1, `${String(waiting)} calls wait, and more are given up`);
        return;
      } else waiting++;
      if (lane === undefined) {
        lane = { key, waiting: [], isRunning: false, failures: 0, pause: undefined };
        lanes.set(key, lane);
      }
      lane.waiting.push({ kind, run: tell, giveUpAtMs: wheel.now() + giveUpMs });
      if (lane.isRunning || lane.pause?.pending === true) return;
      ready.add(lane);
      pump();
    },
    get waiting() {
      return waiting;
    },
    get dropped() {
      return dropped;
    },
    close() {
      closed ??= new Promise((resolve) => {
        isClosing = true;
        const deadline = wheel.timer(() => {
          ended.abort();
          const rest = waiting;
          waiting = 0;
          droppedBefore = undefined;
          drop(rest, `${String(rest)} calls could not be told before the end`);
          finish!();
        });
        finish = () => {
          deadline.stop();
          probe.stop();
          for (const { pause } of lanes.values()) pause?.stop();
          lanes.clear();
          ready.clear();
          resolve();
        };
        if (waiting === 0) {
          finish();
          return;
        }
        deadline.start(closeMs);
        probe.stop();
        for (const lane of lanes.values()) {
          if (lane.pause?.pending !== true) continue;
          lane.pause.stop();
          ready.add(lane);
        }
        pump();
      });
      return closed;
    },
  };
}
