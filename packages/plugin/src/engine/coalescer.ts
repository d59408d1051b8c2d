import type { Meta } from '../contract.ts';
import { PluginError } from '../errors.ts';
import type { Trace } from './trace.ts';

/** One call that several askers wait for. */
interface Flight<Answer> {
  readonly meta: Meta;
  readonly trace: Trace;
  /** Fires when the last of them has left; absent while one of them cannot leave. */
  readonly signal: AbortSignal | undefined;
  readonly answer: Promise<Answer>;
}

/** Identical questions in flight share one call. One asker's leaving does not end it for the others; the last one's does. */
interface Coalescer<Answer> {
  readonly flights: number;
  /** The call that is under way for this key, or a new one made by `start`, together with whether it is new. */
  join(
    key: string,
    signal: AbortSignal | undefined,
    start: (meta: Meta, trace: Trace, signal: AbortSignal | undefined) => Promise<Answer>,
  ): { flight: Flight<Answer>; started: boolean; answer: Promise<Answer> };
}

interface Open<Answer> extends Flight<Answer> {
  waiting: number;
  readonly controller: AbortController | undefined;
}

/** Makes a coalescer in which nothing is under way. */
export function createCoalescer<Answer>(): Coalescer<Answer> {
  const flights = new Map<string, Open<Answer>>();

  const begin = (
    key: string,
    asker: AbortSignal | undefined,
    start: (meta: Meta, trace: Trace, signal: AbortSignal | undefined) => Promise<Answer>,
  ): Open<Answer> => {
    // Who has no signal never leaves, so that nothing can end this call and no controller is needed.
    const controller = asker === undefined ? undefined : new AbortController();
    const meta: Meta = {};
    const trace: Trace = { endpoint: '', bytesSent: 0, bytesReceived: 0 };
    const answer = start(meta, trace, controller?.signal);
    const flight = { meta, trace, signal: controller?.signal, controller, answer, waiting: 0 };
    flights.set(key, flight);
    const end = (): void => {
      if (flights.get(key) === flight) flights.delete(key);
    };
    answer.then(end, end);
    return flight;
  };

  const wait = (key: string, flight: Open<Answer>, signal: AbortSignal | undefined): Promise<Answer> => {
    flight.waiting++;
    if (signal === undefined) return flight.answer;
    return new Promise<Answer>((resolve, reject) => {
      const onAbort = (): void => {
        reject(new PluginError('canceled', 'nobody waits for the answer any more', { cause: signal.reason }));
        if (--flight.waiting > 0) return;
        // Whoever asks next must not join a call that is being ended.
        if (flights.get(key) === flight) flights.delete(key);
        flight.controller?.abort(signal.reason);
      };
      const settle = (): void => {
        signal.removeEventListener('abort', onAbort);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      flight.answer.then(
        (answer) => {
          settle();
          resolve(answer);
        },
        (error: unknown) => {
          settle();
          reject(error as Error);
        },
      );
    });
  };

  return {
    get flights() {
      return flights.size;
    },
    join(key, signal, start) {
      const open = flights.get(key);
      const flight = open ?? begin(key, signal, start);
      return { flight, started: open === undefined, answer: wait(key, flight, signal) };
    },
  };
}
