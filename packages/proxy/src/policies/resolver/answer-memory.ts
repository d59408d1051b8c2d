/** What is known of a name and a record type: addresses, or that there are none. */
export interface Remembered {
  /** Empty: there are none. */
  readonly addresses: readonly string[];
  /** Who said so. */
  readonly server: string;
  /** Only for what has no addresses: why. */
  readonly reason: string | undefined;
  /** True when the name does not exist at all, whatever is asked for (RFC 8020). */
  readonly nameless: boolean;
  /** On the resolver's clock, in milliseconds. */
  readonly expiresAt: number;
}

/** Answers by key; the least recently used go first when there are too many. */
export interface AnswerMemory {
  readonly size: number;
  /** Also what has expired: whether that still counts is the asker's to say. */
  get(key: string): Remembered | undefined;
  set(key: string, remembered: Remembered): void;
  delete(key: string): void;
  clear(): void;
}

/** Makes an empty memory. It has no timer: what nobody asks for goes when room is needed. */
export function createAnswerMemory(maxEntries: number): AnswerMemory {
  // A Map keeps the order of insertion, and an entry that is used is inserted again: the first is the oldest.
  const entries = new Map<string, Remembered>();
  return {
    get size() {
      return entries.size;
    },
    get(key) {
      const found = entries.get(key);
      if (found === undefined) return undefined;
      entries.delete(key);
      entries.set(key, found);
      return found;
    },
    set(key, remembered) {
      entries.delete(key);
      entries.set(key, remembered);
      if (entries.size > maxEntries) entries.delete(entries.keys().next().value!);
    },
    delete(key) {
      entries.delete(key);
    },
    clear() {
      entries.clear();
    },
  };
}
