import type { Call, CallEvent, Rate } from '@sallyport/plugin';
import { formatAddress } from './address.ts';
import { ProxyError } from './errors.ts';
import { noBuckets } from './metered-conn.ts';
import type { Shaped } from './metered-conn.ts';
import type { Meter } from './meter.ts';
import { answerOf, isSameAnswer, questionsAbout, unlessLeft } from './traffic-questions.ts';
import type { LimitedConnection, LimiterQuestion, TrafficLimiters } from './traffic-questions.ts';
import { bucketsOf, createShares } from './traffic-shares.ts';
import type { Share } from './traffic-shares.ts';
import { threadWheel } from './wheel.ts';
import type { Wheel, WheelTimer } from './wheel.ts';

/** An answer counts for so long before it is asked for again, as in GOST. */
const defaultRefreshMs = 30_000;

/** Answers that are kept of clients who have no connection at the moment. */
const defaultMaxEntries = 10_000;

/** After a question without an answer the next comes so soon, then after twice the time, up to the usual interval. */
const firstRetryMs = 1000;

/** Who is asked for the limits of a service's connections, and how often. */
export interface TrafficLimitsOptions extends TrafficLimiters {
  /** How long an answer counts, in milliseconds, unless it says so itself. Default 30,000, as in GOST. */
  readonly refreshMs?: number;
  /** How many answers are kept; those that connections use are kept in any case. Default 10,000. */
  readonly maxEntries?: number;
  readonly meter: Meter;
  /** For refreshing, and the clock of the buckets. Default: the thread's. */
  readonly wheel?: Wheel;
  /** What a connection gets whose limits nobody could tell. Default `allow`: no limit, with a warning. */
  readonly onUnanswered?: 'allow' | 'refuse';
  /** Told once when limits cannot be had, and again only after they could be. Returns at once and never throws. */
  readonly problem: (error: ProxyError) => void;
}

/** A connection that is held to its limits. */
export interface Attached {
  /** It has ended. Whoever attached it calls this, once or more often. */
  detach(): void;
}

/** The limits of a service's connections. */
export interface TrafficLimits {
  /**
   * Asks what has to be asked for this connection, everything at once, and sets its buckets; they are kept up to date until it
   * is detached. Each key is asked about once, whatever number of connections waits for it; an answer that is known is
   * used without asking. Rejects with ProxyError `clientClosed` when the call's signal fires first, with `couldNotAsk`
   * where `onUnanswered` is `refuse`, and with `internal` when the meter is full; nothing is attached then. One
   * attachment at a time for one connection.
   */
  attach(connection: LimitedConnection, shaped: Shaped, call: Call): Promise<Attached>;
  /** Questions that had no answer so far. */
  readonly unanswered: number;
  /** Keys whose answers are kept. */
  readonly entries: number;
  /** Forgets every answer and asks nothing any more; connections lose their limits. */
  close(): void;
}

/** Makes the limits of one service. Whoever made them closes them. */
export function createTrafficLimits(options: TrafficLimitsOptions): TrafficLimits {
  return new ServiceLimits(options);
}

/** A question with its last answer, for as long as connections use it and until it would have to be asked again. */
interface Entry extends LimiterQuestion {
  /** The rates that count; undefined: none are known. */
  rates: readonly Rate[] | undefined;
  /** The limiter itself has answered, and not what stands in for an answer. */
  isAnswered: boolean;
  /** Those of the rates that more than one connection may draw on. */
  shares: readonly Share[];
  readonly users: Set<Attachment>;
  asking: Promise<void> | undefined;
  leave: AbortController | undefined;
  failure: ProxyError | undefined;
  /** How the answer came, to be told to those who use it without asking. */
  event: CallEvent | undefined;
  retryMs: number;
  readonly timer: WheelTimer;
}

interface Attachment {
  readonly shaped: Shaped;
  /** The connection's address, by which it has buckets of its own. */
  readonly client: string;
  /** The handler's limiter means the far end. */
  readonly isFarEnd: boolean;
  readonly entries: Set<Entry>;
  own: readonly Share[];
}

class ServiceLimits implements TrafficLimits {
  unanswered = 0;
  readonly #options: TrafficLimitsOptions;
  readonly #wheel: Wheel;
  readonly #refreshMs: number;
  readonly #entries = new Map<string, Entry>();
  /** Entries without a connection, the longest unused first. */
  readonly #unused = new Set<Entry>();
  readonly #attachments = new Set<Attachment>();
  readonly #shares;
  /** A share has got or lost a bucket, so that all who may use it have to be shaped anew. */
  #isStale = false;
  #isWarned = false;

  constructor(options: TrafficLimitsOptions) {
    const { wheel = threadWheel, refreshMs = defaultRefreshMs } = options;
    this.#options = options;
    this.#wheel = wheel;
    this.#refreshMs = refreshMs;
    this.#shares = createShares(
      options.meter,
      () => wheel.now(),
      () => {
        this.#isStale = true;
      },
    );
  }

  get entries(): number {
    return this.#entries.size;
  }

  async attach(connection: LimitedConnection, shaped: Shaped, call: Call): Promise<Attached> {
    const client = formatAddress(connection.client);
    const { isFarEnd = false } = connection;
    const attachment: Attachment = { shaped, client, isFarEnd, entries: new Set(), own: [] };
    const detach = () => {
      this.#detach(attachment);
    };
    this.#attachments.add(attachment);
    for (const question of questionsAbout(connection, this.#options)) {
      const entry = this.#entry(question);
      attachment.entries.add(entry);
      entry.users.add(attachment);
      this.#unused.delete(entry);
    }
    try {
      await Promise.all([...attachment.entries].map((entry) => this.#answered(entry, call)));
      // Closed meanwhile: there are no limits any more.
      if (!this.#attachments.has(attachment)) return { detach };
      this.#shape(attachment);
      this.#shapeStale();
    } catch (error) {
      detach();
      throw ProxyError.from(error);
    }
    return { detach };
  }

  close(): void {
    for (const attachment of this.#attachments) this.#detach(attachment);
    for (const entry of this.#entries.values()) this.#evict(entry);
  }

  #entry(question: LimiterQuestion): Entry {
    const known = this.#entries.get(question.key);
    if (known !== undefined) return known;
    const entry: Entry = {
      ...question,
      rates: undefined,
      isAnswered: false,
      shares: [],
      users: new Set(),
      asking: undefined,
      leave: undefined,
      failure: undefined,
      event: undefined,
      retryMs: firstRetryMs,
      timer: this.#wheel.timer(
        () => {
          if (entry.users.size === 0) this.#evict(entry);
          else this.#askOnce(entry, undefined);
        },
        { isIdle: true },
      ),
    };
    this.#entries.set(entry.key, entry);
    this.#trim();
    return entry;
  }

  /** Resolves when the entry has an answer, or it is known that there is none. */
  async #answered(entry: Entry, call: Call): Promise<void> {
    if (entry.isAnswered) {
      if (entry.event !== undefined)
        call.observe?.({ ...entry.event, source: 'cached', ms: 0, session: call.session });
      return;
    }
    await unlessLeft(this.#askOnce(entry, call), call.signal);
    const { rates, failure } = entry;
    if (rates !== undefined || failure === undefined) return;
    if (this.#options.onUnanswered === 'refuse' || failure.code === 'internal') throw failure;
  }

  #askOnce(entry: Entry, call: Call | undefined): Promise<void> {
    if (entry.asking !== undefined) return entry.asking;
    const asking = this.#ask(entry, call).then(() => {
      entry.asking = undefined;
    });
    entry.asking = asking;
    return asking;
  }

  /** Never rejects. */
  async #ask(entry: Entry, call: Call | undefined): Promise<void> {
    const leave = new AbortController();
    entry.leave = leave;
    const meta: Call['meta'] = {};
    let last: CallEvent | undefined;
    const observe = (event: CallEvent) => {
      last = event;
      call?.observe?.(event);
    };
    let nextMs: number | undefined;
    try {
      const asked = { signal: leave.signal, session: call?.session, meta, observe };
      const rates = await answerOf(entry, asked);
      if (leave.signal.aborted) return;
      const standsIn = last !== undefined && last.source === 'fallback';
      if (!standsIn) {
        this.#isWarned = false;
        entry.retryMs = firstRetryMs;
        entry.event = last;
        nextMs = meta.ttlMs === undefined ? this.#refreshMs : Math.max(meta.ttlMs, firstRetryMs);
      } else if (rates.length === 0) {
        this.#failed(entry, new ProxyError('couldNotAsk', 'plugin', last?.error ?? 'the limiter'));
      }
      // Whatever stands in for an answer is worse than an answer that was.
      if (!standsIn || !entry.isAnswered) this.#use(entry, rates);
      entry.isAnswered ||= !standsIn;
    } catch (error) {
      if (leave.signal.aborted) return;
      this.#failed(entry, ProxyError.from(error));
    } finally {
      entry.leave = undefined;
      if (!leave.signal.aborted) {
        entry.timer.start(nextMs ?? Math.min(entry.retryMs, this.#refreshMs));
        if (nextMs === undefined) entry.retryMs *= 2;
      }
    }
  }

  #failed(entry: Entry, error: ProxyError): void {
    this.unanswered++;
    entry.failure = error;
    if (this.#isWarned || entry.isAnswered) return;
    this.#isWarned = true;
    const { service } = this.#options;
    const message = `limits of the service ${service} are not known, scope ${entry.ask.scope}: ${error.message}`;
    this.#options.problem(new ProxyError(error.code, error.at, message, { cause: error }));
  }

  /** Holds everybody who uses the entry to these rates from now on. */
  #use(entry: Entry, rates: readonly Rate[]): void {
    if (entry.rates !== undefined && isSameAnswer(entry.rates, rates)) return;
    const before = entry.shares;
    entry.shares = this.#acquire(
      rates
        .filter(({ share }) => share !== '$$')
        // Who is nobody by name shares with those that are asked about with the same key.
        .map(
          (rate) => [`${entry.limiter} ${rate.share === '' ? entry.key : `=${rate.share}`}`, rate] as const,
        ),
    );
    entry.rates = rates;
    for (const share of before) this.#shares.release(share);
    for (const attachment of entry.users) this.#shape(attachment);
    this.#shapeStale();
  }

  /** Gives the connection the buckets of all that is known about it by now. */
  #shape(attachment: Attachment): void {
    const before = attachment.own;
    const entries = [...attachment.entries];
    const own = entries.flatMap(({ limiter, rates = [] }) =>
      rates.filter(({ share }) => share === '$$').map((rate) => ({ limiter, rate })),
    );
    attachment.own = this.#acquire(
      own.map(({ limiter, rate }) => [`${limiter} $$ ${attachment.client}`, rate] as const),
    );
    for (const share of before) this.#shares.release(share);
    const facing = (share: Share, limiter: LimiterQuestion['limiter']) =>
      attachment.isFarEnd && limiter === 'handler' ? { in: share.out, out: share.in } : share;
    attachment.shaped.buckets = bucketsOf([
      ...entries.flatMap(({ limiter, shares }) => shares.map((share) => facing(share, limiter))),
      ...attachment.own.map((share, index) => facing(share, own[index]!.limiter)),
    ]);
  }

  #shapeStale(): void {
    while (this.#isStale) {
      this.#isStale = false;
      for (const attachment of this.#attachments) this.#shape(attachment);
    }
  }

  /** All of them or, when the meter is full, none. */
  #acquire(wanted: readonly (readonly [name: string, rate: Rate])[]): Share[] {
    const shares: Share[] = [];
    try {
      for (const [name, rate] of wanted) shares.push(this.#shares.acquire(name, rate));
    } catch (error) {
      for (const share of shares) this.#shares.release(share);
      throw error;
    }
    return shares;
  }

  #detach(attachment: Attachment): void {
    if (!this.#attachments.delete(attachment)) return;
    for (const entry of attachment.entries) {
      entry.users.delete(attachment);
      if (entry.users.size > 0) continue;
      // The port never comes back, and without an answer there is nothing to keep. Any other answer counts until it would have
      // to be asked for again: whoever comes back at once finds the buckets as they were left, and not full ones.
      if (entry.ask.scope === 'conn' || !entry.isAnswered) this.#evict(entry);
      else this.#unused.add(entry);
    }
    this.#trim();
    for (const share of attachment.own) this.#shares.release(share);
    attachment.own = [];
    attachment.shaped.buckets = noBuckets;
  }

  #trim(): void {
    const { maxEntries = defaultMaxEntries } = this.#options;
    for (const entry of this.#unused) {
      if (this.#entries.size <= maxEntries) return;
      this.#evict(entry);
    }
  }

  #evict(entry: Entry): void {
    entry.leave?.abort();
    entry.timer.stop();
    this.#entries.delete(entry.key);
    this.#unused.delete(entry);
    for (const share of entry.shares) this.#shares.release(share);
    entry.shares = [];
  }
}
