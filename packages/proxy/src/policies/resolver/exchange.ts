import type { Duplex } from 'node:stream';
import type { Query, Reply } from './message.ts';

/** Bytes of DNS messages, without what carries them (TLS, HTTP). */
export interface Traffic {
  sent: number;
  received: number;
}

/**
 * Puts one question to one nameserver. When `signal` fires everything that was opened for it is closed, and it rejects with
 * the signal's reason. Rejects with PluginError otherwise: `unreachable`, or `badReply` for what is no answer.
 */
export type Exchange = (query: Query, signal: AbortSignal, traffic: Traffic) => Promise<Reply>;

/**
 * Opens a byte stream to a nameserver; a name is whoever's dials to look up. Whoever asked for the stream destroys it. When
 * the signal fires nothing stays open.
 */
export type DialTcp = (host: string, port: number, signal: AbortSignal) => Promise<Duplex>;

/** Runs something that an abort ends: `start` answers how to stop it and may settle once; later calls do nothing. */
export function abortable<T>(
  signal: AbortSignal,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => unknown,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    let settled = false;
    let isStarted = false;
    const settle = (): boolean => {
      if (settled) return false;
      settled = true;
      signal.removeEventListener('abort', onAbort);
      if (isStarted) stop();
      return true;
    };
    const onAbort = () => {
      if (settle()) reject(signal.reason as Error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const stop = start(
      (value) => {
        if (settle()) resolve(value);
      },
      (error) => {
        if (settle()) reject(error as Error);
      },
    );
    isStarted = true;
    // It settled before it could say how to stop it.
    if (settled) stop();
  });
}

/**
 * The stream that somebody opens, for as long as it is waited for: when the signal fires first this rejects at once, whether
 * whoever opens it minds the signal or not, and a stream that comes too late is destroyed.
 */
export function arriving<S extends Duplex>(opening: Promise<S>, signal: AbortSignal): Promise<S> {
  const arrived = abortable<S>(signal, (resolve, reject) => {
    opening.then(resolve, reject);
    return () => {};
  });
  arrived.catch(() => {
    opening.then(
      (stream) => {
        stream.on('error', () => {});
        stream.destroy();
      },
      () => {
        // That it did not come after all is no news to anybody.
      },
    );
  });
  return arrived;
}

/** Puts at most so many questions at once; more wait for their turn, first come first served, within their own time. */
export function limited(exchange: Exchange, maxAtOnce: number): Exchange {
  const waiting = new Set<() => void>();
  let running = 0;
  const turn = (signal: AbortSignal) => {
    if (running < maxAtOnce) {
      running++;
      return undefined;
    }
    // Whoever has ended hands its place over, so that nobody overtakes.
    return abortable<undefined>(signal, (resolve) => {
      const go = () => resolve(undefined);
      waiting.add(go);
      return () => waiting.delete(go);
    });
  };
  return async (query, signal, traffic) => {
    await turn(signal);
    try {
      return await exchange(query, signal, traffic);
    } finally {
      const [next] = waiting;
      if (next === undefined) running--;
      else next();
    }
  };
}
