import { PluginError } from '../errors.ts';

/** How many calls run at once, and how many may wait for one of them to end. */
interface GateBounds {
  readonly maxConcurrent: number;
  readonly maxQueued: number;
}

/** Lets a bounded number of calls through; a bounded number waits in the order of coming. */
export interface Gate {
  readonly running: number;
  readonly queued: number;
  /** Takes a place if one is free and nobody waits for it. Whoever took one gives it back with `leave`. */
  enter(): boolean;
  /**
   * Waits for a place. Rejects with PluginError, all `unsent`: `overloaded` at once when too many wait already, `timeout`
   * after `timeoutMs`, `canceled` by the signal, `unreachable` when the gate is closed.
   */
  wait(timeoutMs: number, signal: AbortSignal | undefined): Promise<void>;
  leave(): void;
  /** Turns away all who wait. */
  close(): void;
}

interface Waiter {
  admit(): void;
  turnAway(error: PluginError): void;
}

/** Makes an open gate. */
export function createGate({ maxConcurrent, maxQueued }: GateBounds): Gate {
  let running = 0;
  let closed = false;
  const waiters = new Set<Waiter>();
  return {
    get running() {
      return running;
    },
    get queued() {
      return waiters.size;
    },
    enter() {
      if (running >= maxConcurrent || closed) return false;
      running++;
      return true;
    },
    wait(timeoutMs, signal) {
      return new Promise<void>((resolve, reject) => {
        const fail = (code: 'overloaded' | 'timeout' | 'canceled' | 'unreachable', message: string) => {
          reject(new PluginError(code, message, { unsent: true, cause: signal?.reason }));
        };
        if (closed) {
          fail('unreachable', 'the connection to the plugin was closed');
          return;
        }
        if (signal?.aborted) {
          fail('canceled', 'nobody waits for the answer any more');
          return;
        }
        if (waiters.size >= maxQueued) {
          fail('overloaded', `${maxConcurrent} calls are under way and ${maxQueued} wait for them already`);
          return;
        }
        const settle = () => {
          waiters.delete(waiter);
          clearTimeout(timer);
          signal?.removeEventListener('abort', onAbort);
        };
        const waiter: Waiter = {
          admit() {
            settle();
            resolve();
          },
          turnAway(error) {
            settle();
            reject(error);
          },
        };
        const timer = setTimeout(() => {
          settle();
          fail('timeout', `${maxConcurrent} calls were under way, and none ended within ${timeoutMs} ms`);
        }, timeoutMs);
        const onAbort = () => {
          settle();
          fail('canceled', 'nobody waits for the answer any more');
        };
        signal?.addEventListener('abort', onAbort, { once: true });
        waiters.add(waiter);
      });
    },
    leave() {
      const next = waiters.values().next();
      // The place passes to the first who waits, so that nobody who comes now can take it.
      if (next.done) running--;
      else next.value.admit();
    },
    close() {
      closed = true;
      for (const waiter of [...waiters]) {
        waiter.turnAway(
          new PluginError('unreachable', 'the connection to the plugin was closed', { unsent: true }),
        );
      }
    },
  };
}
