import type { PluginError, PluginErrorCode } from '../errors.ts';

/** When an endpoint is left alone, and for how long. */
interface BreakerSettings {
  /** So many failures in a row. */
  readonly failures: number;
  /** One call in this time is let through to see whether the endpoint is back. */
  readonly cooldownMs: number;
}

/**
 * What is known of a plugin's endpoints. Each has a breaker: after `failures` in a row it is open, and then one call per
 * `cooldownMs` goes through; the first that is answered closes it. Only silence and broken connections count. An error
 * that a server sends is an answer of a server that lives, and one asker's bad question must not shut out all others.
 */
export interface EndpointHealth {
  /**
   * The endpoint for a call: the first in order whose breaker is closed. An open one that is due for a try comes before
   * later ones if `mayProbe`, and else only where no other is left. -1: none may be asked now.
   */
  pick(now: number, mayProbe: boolean): number;
  /** Another endpoint for the second attempt of a call; -1: there is none. */
  other(than: number, now: number): number;
  isOpen(endpoint: number): boolean;
  /** Whether a second attempt would have a place to go that is known to be well. */
  hasSpare(than: number): boolean;
  answered(endpoint: number): void;
  failed(endpoint: number, error: PluginError, now: number): void;
  /** The last failure that counted, of the first endpoint that has one. */
  lastError(): PluginError | undefined;
}

const counted: ReadonlySet<PluginErrorCode> = new Set(['timeout', 'unreachable']);

/** Makes the record of `count` endpoints, all of them well. */
export function createEndpointHealth(count: number, breaker: BreakerSettings): EndpointHealth {
  const all = Array.from({ length: count }, () => ({
    failures: 0,
    tryAt: 0,
    error: undefined as PluginError | undefined,
  }));
  const isOpen = (endpoint: number): boolean => all[endpoint]!.failures >= breaker.failures;
  const take = (endpoint: number, now: number): number => {
    if (isOpen(endpoint)) all[endpoint]!.tryAt = now + breaker.cooldownMs;
    return endpoint;
  };
  const find = (now: number, without: number, mayProbe: boolean): number => {
    let due = -1;
    for (let i = 0; i < count; i++) {
      if (i === without) continue;
      if (!isOpen(i)) return take(due >= 0 && mayProbe ? due : i, now);
      if (due < 0 && now >= all[i]!.tryAt) due = i;
    }
    return due < 0 ? -1 : take(due, now);
  };
  return {
    pick: (now, mayProbe) => find(now, -1, mayProbe),
    other: (than, now) => (count === 1 ? -1 : find(now, than, false)),
    isOpen,
    hasSpare: (than) => all.some((_one, i) => i !== than && !isOpen(i)),
    answered(endpoint) {
      all[endpoint]!.failures = 0;
    },
    failed(endpoint, error, now) {
      const one = all[endpoint]!;
      if (error.code === 'canceled') return;
      if (!counted.has(error.code)) {
        one.failures = 0;
        return;
      }
      one.failures++;
      one.error = error;
      // Calls that were under way when it opened fail later; they must not put off the next try.
      if (one.failures === breaker.failures) one.tryAt = now + breaker.cooldownMs;
    },
    lastError: () => all.find(({ error }) => error !== undefined)?.error,
  };
}
