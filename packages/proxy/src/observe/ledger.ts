import type { ObserverStats } from '@sallyport/plugin';

/** What is counted of one subject: a service, or one user of it. Whoever counts changes it. */
export interface Tally {
  totalConns: number;
  currentConns: number;
  inputBytes: number;
  outputBytes: number;
  totalErrs: number;
}

/** The stats of one subject, as they are going to be sent. */
export interface Report {
  readonly subject: string;
  readonly stats: ObserverStats;
}

/** How a ledger is kept. */
export interface LedgerOptions {
  /** Bytes are told since the last report that was taken, instead of since the beginning. */
  readonly resetTraffic: boolean;
  /** Subjects without a connection whose stats have been taken; beyond it the oldest are forgotten. Default 10,000. */
  readonly maxIdle?: number;
  /** Subjects without a connection whose stats nobody has taken; beyond it the oldest are lost. Default 100,000. */
  readonly maxUntaken?: number;
}

/** Counters by subject, and what of them an observer has. */
export interface Ledger {
  /** The counters of a subject, which may be changed until the next call of any method. */
  of(subject: string): Tally;
  /** Tell it whenever `currentConns` of a subject has changed. */
  connsChanged(subject: string): void;
  /** What has changed since it was last taken, at most so many subjects. Nothing is forgotten by asking. */
  due(max: number): readonly Report[];
  /** These have been taken. What was counted since they were made is due next. */
  taken(reports: readonly Report[]): void;
  /** Subjects that are known. */
  readonly size: number;
  /** Subjects whose stats were lost for want of room. */
  readonly lost: number;
}

interface Entry {
  readonly now: Tally;
  /** As the observer has it. */
  had: Tally;
}

const nothing: Tally = { totalConns: 0, currentConns: 0, inputBytes: 0, outputBytes: 0, totalErrs: 0 };

/**
 * Makes a ledger. A report that is not taken loses nothing: the next one says what it said and what came since. A subject that
 * has no connection and owes nothing is forgotten when there are too many; should it come back, it begins at zero.
 */
export function createLedger({
  resetTraffic,
  maxIdle = 10_000,
  maxUntaken = 100_000,
}: LedgerOptions): Ledger {
  const entries = new Map<string, Entry>();
  /** Those without a connection, who left first being first. */
  const idle = new Map<string, Entry>();
  /** Made by `due`, until they are taken. */
  const made = new WeakMap<Report, { readonly entry: Entry; readonly at: Tally }>();
  let lost = 0;

  const forget = (max: number) => {
    for (const [subject, entry] of idle) {
      if (idle.size <= max) return;
      const owes = differs(entry);
      if (owes && idle.size <= maxUntaken) continue;
      if (owes) lost++;
      idle.delete(subject);
      entries.delete(subject);
    }
  };

  return {
    of(subject) {
      let entry = entries.get(subject);
      if (entry === undefined) {
        entry = { now: { ...nothing }, had: nothing };
        entries.set(subject, entry);
      }
      return entry.now;
    },
    connsChanged(subject) {
      const entry = entries.get(subject);
      if (entry === undefined) return;
      idle.delete(subject);
      if (entry.now.currentConns > 0) return;
      idle.set(subject, entry);
      if (idle.size > maxUntaken) forget(maxUntaken);
    },
    due(max) {
      const reports: Report[] = [];
      for (const [subject, entry] of entries) {
        if (reports.length >= max) break;
        if (!differs(entry)) continue;
        const at = { ...entry.now };
        const stats = resetTraffic
          ? {
              ...at,
              inputBytes: at.inputBytes - entry.had.inputBytes,
              outputBytes: at.outputBytes - entry.had.outputBytes,
            }
          : at;
        const report = { subject, stats };
        made.set(report, { entry, at });
        reports.push(report);
      }
      return reports;
    },
    taken(reports) {
      for (const report of reports) {
        const known = made.get(report);
        if (known === undefined) continue;
        known.entry.had = known.at;
        // Whoever has just been told of comes last, so that with many nobody waits for ever.
        if (entries.get(report.subject) !== known.entry) continue;
        entries.delete(report.subject);
        entries.set(report.subject, known.entry);
      }
      forget(maxIdle);
    },
    get size() {
      return entries.size;
    },
    get lost() {
      return lost;
    },
  };
}

function differs({ now, had }: Entry): boolean {
  return (
    now.totalConns !== had.totalConns ||
    now.currentConns !== had.currentConns ||
    now.inputBytes !== had.inputBytes ||
    now.outputBytes !== had.outputBytes ||
    now.totalErrs !== had.totalErrs
  );
}
