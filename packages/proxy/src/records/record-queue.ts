import type { Note, RecordLimits } from './sink.ts';

/** What waits, and what is under way. */
export interface RecordQueue<R> {
  /** False: there was no room for it. */
  push(record: R): boolean;
  /** The next one. It still counts until it is `done`. */
  take(): R | undefined;
  /** Back, behind all others. */
  putLast(record: R): void;
  /** Puts those that wait in order. */
  sort(compare: (a: R, b: R) => number): void;
  /** It is no business of the queue any more. */
  done(record: R): void;
  /** It is given up. */
  drop(record: R): void;
  /** Gives up everything that waits or is under way. */
  dropAll(): void;
  readonly waiting: number;
  /** Nothing waits and nothing is under way. */
  readonly isEmpty: boolean;
  readonly dropped: number;
}

/** How a queue is made. */
export interface RecordQueueOptions<R> extends RecordLimits {
  readonly bytesOf: (record: R) => number;
  /** How a person calls the sink: `recorder audit`. */
  readonly what: string;
  readonly note: Note;
}

/**
 * A queue of a bounded number of records and bytes. What comes to a full one is dropped: what was taken first is not thrown
 * away for what came later. One warning is given when dropping begins, and one line when the queue has been worked off.
 */
export function createRecordQueue<R>({
  maxRecords = 10_000,
  maxBytes = 16 * 1024 * 1024,
  bytesOf,
  what,
  note,
}: RecordQueueOptions<R>): RecordQueue<R> {
  const queue: R[] = [];
  let records = 0;
  let bytes = 0;
  let dropped = 0;
  /** `dropped` when this episode of dropping began. */
  let before: number | undefined;
  const forget = (record: R) => {
    records--;
    bytes -= bytesOf(record);
    if (records > 0 || before === undefined) return;
    note(`${what} has caught up; ${String(dropped - before)} records were dropped`, 'info');
    before = undefined;
  };
  return {
    push(record) {
      const size = bytesOf(record);
      if (records >= maxRecords || bytes + size > maxBytes) {
        if (before === undefined) {
          before = dropped;
          note(`${what} falls behind: ${String(records)} records wait, and more are dropped`, 'warn');
        }
        dropped++;
        return false;
      }
      records++;
      bytes += size;
      queue.push(record);
      return true;
    },
    take: () => queue.shift(),
    putLast: (record) => void queue.push(record),
    sort: (compare) => void queue.sort(compare),
    done: forget,
    drop(record) {
      dropped++;
      forget(record);
    },
    dropAll() {
      dropped += records;
      records = 0;
      bytes = 0;
      queue.length = 0;
    },
    get waiting() {
      return queue.length;
    },
    get isEmpty() {
      return records === 0;
    },
    get dropped() {
      return dropped;
    },
  };
}
