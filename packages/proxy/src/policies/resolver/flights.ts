import { PluginError } from '@sallyport/plugin';

/** One lookup that several askers may wait for. */
export interface Joined<T, Trace> {
  /** What is known of the lookup so far. */
  readonly trace: Trace;
  readonly outcome: Promise<T>;
}

/** Lookups under way, each shared by all who ask for the same meanwhile. */
export interface Flights<T, Trace> {
  readonly size: number;
  has(key: string): boolean;
  /**
   * Waits for the lookup of this key, which `start` begins if there is none. The signal ends the waiting alone, by a
   * rejection with its own reason where that is a PluginError and else with `timeout` or `canceled`; when nobody waits any
   * more the signal of the lookup fires. Without a signal the waiting never ends early.
   */
  join(
    key: string,
    signal: AbortSignal | undefined,
    start: (signal: AbortSignal, trace: Trace) => Promise<T>,
  ): Joined<T, Trace>;
  /** Ends all of them: their signals fire with this reason. */
  abort(reason: PluginError): void;
}

interface Flight<T, Trace> extends Joined<T, Trace> {
  waiting: number;
  readonly controller: AbortController;
}

/** Makes a set in which nothing is under way. */
export function createFlights<T, Trace>(createTrace: () => Trace): Flights<T, Trace> {
  const flights = new Map<string, Flight<T, Trace>>();
  const begin = (key: string, start: (signal: AbortSignal, trace: Trace) => Promise<T>): Flight<T, Trace> => {
    const controller = new AbortController();
    const trace = createTrace();
    const flight = { waiting: 0, controller, trace, outcome: start(controller.signal, trace) };
    flights.set(key, flight);
    const end = () => {
      if (flights.get(key) === flight) flights.delete(key);
    };
    flight.outcome.then(end, end);
    return flight;
  };
  const wait = (key: string, flight: Flight<T, Trace>, signal: AbortSignal | undefined): Promise<T> => {
    flight.waiting++;
    if (signal === undefined) return flight.outcome;
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        const reason = reasonOf(signal);
        reject(reason);
        if (--flight.waiting > 0) return;
        // Whoever asks next must not join a lookup that is being ended.
        if (flights.get(key) === flight) flights.delete(key);
        flight.controller.abort(reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const settled = () => {
        signal.removeEventListener('abort', onAbort);
      };
      flight.outcome.then(resolve, reject);
      flight.outcome.then(settled, settled);
    });
  };
  return {
    get size() {
      return flights.size;
    },
    has: (key) => flights.has(key),
    join(key, signal, start) {
      if (signal?.aborted) return { trace: createTrace(), outcome: Promise.reject(reasonOf(signal)) };
      const flight = flights.get(key) ?? begin(key, start);
      return { trace: flight.trace, outcome: wait(key, flight, signal) };
    },
    abort(reason) {
      for (const { controller } of flights.values()) controller.abort(reason);
      flights.clear();
    },
  };
}

/** Why somebody stopped waiting: the time was over, or they have gone. */
function reasonOf(signal: AbortSignal): PluginError {
  const reason: unknown = signal.reason;
  if (reason instanceof PluginError) return reason;
  if (reason instanceof Error && reason.name === 'TimeoutError')
    return new PluginError('timeout', 'no nameserver answered in time', { cause: reason });
  return new PluginError('canceled', 'nobody waits for the addresses any more', { cause: reason });
}
