/** How a node has fared of late. */
export interface Mark {
  /** Failures in a row. */
  readonly fails: number;
  /** True where it is left alone: it failed so often, the last time not so long ago. */
  isDown(maxFails: number, failTimeoutMs: number): boolean;
  failed(): void;
  succeeded(): void;
}

/** Makes the mark of one node. */
export function createMark(now: () => number = () => performance.now()): Mark {
  let fails = 0;
  let lastMs = 0;
  return {
    get fails() {
      return fails;
    },
    // As in GOST 0 or less means: as if it were 1.
    isDown: (maxFails, failTimeoutMs) => fails >= Math.max(1, maxFails) && now() - lastMs < failTimeoutMs,
    failed() {
      fails++;
      lastMs = now();
    },
    succeeded() {
      fails = 0;
    },
  };
}

/** Marks that outlive the nodes they are about. */
export interface Marks {
  of(key: string): Mark;
}

/**
 * Marks by what a server is rather than by what a plugin calls it, so that a node that comes with a new password does not
 * hide that the server is dead. Of more than `maxMarks` the one that was used longest ago is forgotten.
 */
export function createMarks(maxMarks: number, now?: () => number): Marks {
  const marks = new Map<string, Mark>();
  return {
    of(key) {
      let mark = marks.get(key);
      if (mark === undefined) mark = createMark(now);
      else marks.delete(key);
      marks.set(key, mark);
      if (marks.size > maxMarks) marks.delete(marks.keys().next().value!);
      return mark;
    },
  };
}
