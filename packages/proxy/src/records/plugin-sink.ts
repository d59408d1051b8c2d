import { setMaxListeners } from 'node:events';
import type { JsonObject } from '@sallyport/plugin';
import { ProxyError } from '../core/errors.ts';
import type { PolicyOf } from '../core/policies.ts';
import { threadWheel } from '../core/wheel.ts';
import type { Wheel } from '../core/wheel.ts';
import { createDrain } from './drain.ts';
import { createRecordQueue } from './record-queue.ts';
import { defaultCloseMs } from './sink.ts';
import type { Note, RecordLimits, RecordSink } from './sink.ts';

/** How records reach a plugin. */
export interface PluginSinkOptions extends RecordLimits {
  /** The recorder's name in the file. */
  readonly name: string;
  /** Not closed here. */
  readonly recorder: PolicyOf<'recorder'>;
  readonly note: Note;
  /** Records under way at once, default 16: a plugin a millisecond away keeps 16,000 a second. */
  readonly maxInFlight?: number;
  /** How long `close` waits, in milliseconds. Default 5,000. */
  readonly closeMs?: number;
  /** Default: the thread's. */
  readonly wheel?: Wheel;
}

interface Waiting {
  readonly data: Uint8Array;
  readonly metadata: JsonObject | null;
  /** In which place it came. */
  readonly place: number;
  /** How often it failed although others did not. */
  faults: number;
  /** What the sink had handed over when this one came, or last failed. */
  seen: number;
}

/** A record that fails so often while others are kept is one that this plugin cannot keep. */
const maxFaults = 5;

/**
 * Hands records to a recorder plugin, in the background and in the order in which they came, as far as several under way at
 * once have one; after a failure one may overtake others. A record that could not be handed over is tried again, with growing pauses, until it is: one whose outcome
 * is not known may therefore be kept twice, but none is lost while there is room. Not tried again is what the plugin said
 * it does not keep, and what fails five times while other records are kept.
 */
export function createPluginSink({
  name,
  recorder,
  note,
  maxInFlight = 16,
  closeMs = defaultCloseMs,
  wheel = threadWheel,
  ...limits
}: PluginSinkOptions): RecordSink {
  const what = `recorder ${name}`;
  const queue = createRecordQueue<Waiting>({ ...limits, bytesOf: ({ data }) => data.length, what, note });
  const ended = new AbortController();
  // All calls under way listen for the one end.
  setMaxListeners(0, ended.signal);
  let came = 0;
  let inFlight = 0;
  let kept = 0;
  let failing = false;
  let refusing = false;
  let closed: Promise<void> | undefined;

  const run = () => {
    // While it fails one record is sent ahead to see whether it is well again.
    while (inFlight < (failing ? 1 : maxInFlight) && !drain.isPaused && !ended.signal.aborted) {
      const record = queue.take();
      if (record === undefined) return;
      inFlight++;
      void hand(record);
    }
  };
  const drain = createDrain({ wheel, run, isDone: () => queue.isEmpty });

  const hand = async (record: Waiting): Promise<void> => {
    try {
      const { data, metadata } = record;
      const call = { signal: ended.signal, meta: {} };
      const taken = await recorder.record({ data, metadata }, call);
      if (ended.signal.aborted) return;
      if (!taken && !refusing) note(`${what} says that it does not keep a record`, 'warn');
      refusing = !taken;
      kept++;
      if (failing) {
        note(`${what} can be told again`, 'info');
        failing = false;
        queue.sort((a, b) => Math.sign(a.faults) - Math.sign(b.faults) || a.place - b.place);
      }
      drain.succeeded();
      queue.done(record);
    } catch (cause) {
      if (ended.signal.aborted) return;
      missed(record, ProxyError.from(cause).message);
    } finally {
      inFlight--;
    }
    run();
    drain.check();
  };

  const missed = (record: Waiting, why: string) => {
    if (kept > record.seen) record.faults++;
    record.seen = kept;
    if (record.faults >= maxFaults) {
      note(`${what} cannot keep a record, which is dropped: ${why}`, 'warn');
      queue.drop(record);
      return;
    }
    // Others may fare better, should it fail by itself.
    queue.putLast(record);
    if (!failing) note(`${what} cannot be told, and is tried again: ${why}`, 'warn');
    failing = true;
    drain.failed();
  };

  return {
    put(data, metadata) {
      if (closed !== undefined) return;
      if (queue.push({ data, metadata, place: came++, faults: 0, seen: kept })) run();
    },
    close() {
      closed ??= drain.close(closeMs).then((done) => {
        if (done) return;
        ended.abort();
        const before = queue.dropped;
        queue.dropAll();
        note(`${what} did not take ${String(queue.dropped - before)} records before the end`, 'warn');
      });
      return closed;
    },
    get dropped() {
      return queue.dropped;
    },
  };
}
