import type { Meta } from '../contract.ts';

/** What is remembered of an answer. */
interface Remembered<Answer> {
  readonly answer: Answer;
  readonly reason: string | undefined;
  readonly tags: readonly string[] | undefined;
  /** On the clock of `performance.now()`. */
  readonly expiresAt: number;
}

/** How much a cache may hold. */
interface CacheBounds {
  readonly maxEntries: number;
  /** An estimate: keys at two bytes a character, and the answers as they came over the wire. */
  readonly maxBytes: number;
}

/** Answers by key, each until its own time; the least recently used go first when there are too many. */
interface AnswerCache<Answer> {
  readonly size: number;
  /** Undefined when nothing is remembered or its time has passed. */
  get(key: string, now: number): Remembered<Answer> | undefined;
  /** `bytes` is the size of the answer. One that would take an eighth of the whole cache is not kept. */
  set(key: string, remembered: Remembered<Answer>, bytes: number): void;
  clear(): void;
}

/** Makes an empty cache. It has no timer: what has expired goes when it is asked for, or when room is needed. */
export function createAnswerCache<Answer>(bounds: CacheBounds): AnswerCache<Answer> {
  // A Map keeps the order of insertion, and an entry that is used is inserted again: the first is the oldest.
  const entries = new Map<string, { remembered: Remembered<Answer>; bytes: number }>();
  let total = 0;
  const remove = (key: string, bytes: number): void => {
    entries.delete(key);
    total -= bytes;
  };
  return {
    get size() {
      return entries.size;
    },
    get(key, now) {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      if (entry.remembered.expiresAt <= now) {
        remove(key, entry.bytes);
        return undefined;
      }
      entries.delete(key);
      entries.set(key, entry);
      return entry.remembered;
    },
    set(key, remembered, answerBytes) {
      const old = entries.get(key);
      if (old !== undefined) remove(key, old.bytes);
      const bytes = answerBytes + 2 * key.length;
      if (bytes > bounds.maxBytes / 8) return;
      entries.set(key, { remembered, bytes });
      total += bytes;
      while (entries.size > bounds.maxEntries || total > bounds.maxBytes) {
        const [oldest, entry] = entries.entries().next().value!;
        remove(oldest, entry.bytes);
      }
    },
    clear() {
      entries.clear();
      total = 0;
    },
  };
}

/** Fills the asker's `meta` with what came beside a remembered answer; its TTL is what is left of it. */
export function recall(remembered: Remembered<unknown>, now: number, meta: Meta): void {
  meta.ttlMs = Math.max(0, Math.floor(remembered.expiresAt - now));
  meta.reason = remembered.reason;
  meta.tags = remembered.tags;
}
