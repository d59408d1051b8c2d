import type { ObserverEvent, StatusEvent } from '@sallyport/plugin';
import type { EventSink } from '../core/events.ts';
import type { PolicyOf } from '../core/policies.ts';
import { threadWheel } from '../core/wheel.ts';
import type { Wheel } from '../core/wheel.ts';
import { createLedger } from './ledger.ts';
import type { LedgerOptions } from './ledger.ts';
import { createReporter } from './reporter.ts';
import type { Batch, Source } from './reporter.ts';
import { createTracker, eachUser, wholeService } from './tracker.ts';

/** GOST's states of a service. */
export type ServiceState = 'running' | 'ready' | 'failed' | 'closed';

/** What is observed, and how it is told. */
export interface ObservationOptions extends Partial<LedgerOptions> {
  readonly service: string;
  /** `service`: its states, and its stats where they are enabled. `users`: the stats of each of its users. */
  readonly of: 'service' | 'users';
  /** Not closed here: others may have it too. */
  readonly observer: PolicyOf<'observer'>;
  /** How often stats are told, in milliseconds. Default 5,000, at least 1,000, as in GOST. */
  readonly periodMs?: number;
  /** Bytes are told since the last report that the observer took. Default false: since the beginning. */
  readonly resetTraffic?: boolean;
  /** Of the service as a whole. Default false, as in GOST; users always have stats. */
  readonly enableStats?: boolean;
  /** States that wait for an observer. Default 1,000; the oldest are dropped, and counted. */
  readonly maxStatuses?: number;
  /** Events in one call. Default 10,000, about 1 MB: servers take 4 MB. */
  readonly maxEvents?: number;
  /** How long `close` may take, in milliseconds. Default 5,000. */
  readonly closeMs?: number;
  readonly note: (text: string, level: 'info' | 'warn') => void;
  /** Default: the thread's. */
  readonly wheel?: Wheel;
}

/** An observer's view of one service. */
export interface Observation {
  /** Reads what becomes known of the service's sessions. */
  readonly read: EventSink;
  /** Tells a state at once; why a service failed stands behind GOST's message. Returns at once. */
  tell(state: ServiceState, why?: string): void;
  /** Tells what is left, last of all that the service is closed if it is. Resolves by the deadline and never rejects. */
  close(): Promise<void>;
}

/**
 * Tells an observer how a service is doing: its states as they change, in order, and stats once in each period in which
 * something has changed, in one call.
 *
 * What the observer does not take is told again until it does. Of stats that means the newest: a report that waits grows with
 * what comes. With `resetTraffic` nothing is lost between two reports; but one whose outcome is not known (it timed out,
 * or the connection broke) is told again, so that an observer which did take it counts those bytes twice. Of the two
 * mistakes that can be made there, this is the one that GOST makes.
 */
export function createObservation(options: ObservationOptions): Observation {
  const { service, observer, note, wheel = threadWheel, resetTraffic = false } = options;
  const { periodMs = 5_000, maxStatuses = 1_000, maxEvents = 10_000, closeMs = 5_000 } = options;
  const isWhole = options.of === 'service';
  const counts = !isWhole || options.enableStats === true;
  const what = isWhole ? `the observer of ${service}` : `the observer of the users of ${service}`;
  const ledger = createLedger({ ...options, resetTraffic });
  const tracker = createTracker(ledger, isWhole ? wholeService : eachUser);
  const statuses: StatusEvent[] = [];
  /** How often it was sampled, and up to which of those the observer has been told. */
  let samples = 0;
  let toldSamples = 0;
  let dropped = 0;
  let lost = 0;

  const source: Source = {
    sample() {
      tracker.sample();
      samples++;
      if (ledger.lost > lost)
        note(`${what}: the stats of ${String(ledger.lost - lost)} users were lost for want of room`, 'warn');
      lost = ledger.lost;
    },
    next(afterFailure): Batch | undefined {
      const statsDue = counts && samples > toldSamples;
      if (statsDue && afterFailure) tracker.sample();
      const reports = statsDue ? ledger.due(maxEvents) : [];
      const isLast = reports.length < maxEvents;
      const upTo = samples;
      // The end is told when there is nothing else left to tell.
      const told = statuses.filter(({ state }) => state !== 'closed');
      const end = isLast ? statuses.filter(({ state }) => state === 'closed') : [];
      const events: ObserverEvent[] = [
        ...told,
        ...reports.map(({ subject, stats }) => ({
          ...({ type: 'stats', kind: isWhole ? 'service' : 'handler' } as const),
          ...{ service, user: subject, stats },
        })),
        ...end,
      ];
      if (isLast && reports.length === 0) toldSamples = upTo;
      if (events.length === 0) return undefined;
      return {
        events,
        done() {
          ledger.taken(reports);
          // What was sampled since is due next.
          if (isLast) toldSamples = upTo;
          const gone = new Set([...told, ...end]);
          statuses.splice(0, statuses.length, ...statuses.filter((status) => !gone.has(status)));
        },
      };
    },
  };
  const reporter = createReporter({
    ...{ what, observer, source, closeMs, note, wheel },
    periodMs: Math.max(1_000, periodMs),
  });

  return {
    read: counts ? tracker.read : () => undefined,
    tell(state, why) {
      const message = `service ${service} is ${state}${why === undefined ? '' : `: ${why}`}`;
      if (statuses.length >= maxStatuses) {
        statuses.shift();
        if (dropped++ === 0) note(`${what} has not been told for so long that states are dropped`, 'warn');
      }
      // What was counted until then comes before the end.
      if (state === 'closed') source.sample();
      statuses.push({ type: 'status', kind: 'service', service, user: '', state, message });
      reporter.wake();
    },
    async close() {
      const done = await reporter.close();
      if (!done) note(`${what} was not told everything before the end`, 'warn');
    },
  };
}
