import { ProxyError } from './errors.ts';

/**
 * How the block is laid out, for whoever draws on it from another thread or from C. Everything is a 64-bit cell in
 * the machine's byte order, read and written with atomic operations only. A slot fills one cache line, so that two threads that
 * count different things do not slow each other down.
 */
const cellsPerSlot = 8;
const bytesPerCell = 8;
/** The first line of the block: how many slots were ever handed out, the list of free ones, how many are in use. */
const header = { handedOut: 0, freeList: 1, used: 2 } as const;
const headerCells = cellsPerSlot;
/**
 * The cells of a slot. `value`: a counter's count, or a bucket's zero point (see {@link Bucket}). `rate` in bytes a second,
 * and, while the slot is free, the number of the next free slot plus one. `burst` in bytes. `owner`: odd while the slot is
 * in use, and another number for every use (32 bits).
 */
const cell = { value: 0, rate: 1, burst: 2, owner: 3 } as const;

/** The zero point of a bucket that nothing was taken from: so long ago that it is full at any time. */
const longAgoNs = -(2n ** 62n);

/**
 * A bucket holds at least this many milliseconds' worth. Whoever waits is woken by a timer that may be late by a tick of the
 * wheel and a turn of the event loop; a bucket that overflows meanwhile would lose that time, and the rate with it.
 */
const minBurstMs = 50;

const defaultSlots = 1024;
/** 64 MiB of addresses at most; memory is used only for slots that were in use at the same time. */
const defaultMaxSlots = 1024 * 1024;

/** How large the block is. */
export interface MeterOptions {
  /** Slots at first. Default 1,024 (64 KiB). */
  readonly slots?: number;
  /** The bound to which the block grows by itself. Default 1,048,576 (64 MiB). */
  readonly maxSlots?: number;
}

/** How fast a bucket fills. */
export interface BucketRate {
  /** Bytes a second. 0 or less: nothing is limited. */
  readonly ratePerSecond: number;
  /** Bytes that may go at once. Default: one second's worth, as in GOST; at least 50 ms' worth counts. */
  readonly burst?: number;
}

/** Which slot, and which of its uses; a number pair that may be sent to another thread. */
export interface SlotId {
  readonly slot: number;
  readonly owner: number;
}

/** A number that only grows, in a slot of its own. Whoever made it frees it. */
export interface Counter {
  readonly id: SlotId;
  /** Adds a whole number. */
  add(amount: number): void;
  /** The count so far, from all threads. */
  readonly value: number;
  /** Gives the slot back; from then on `add` does nothing and `value` is 0. More than one call does no harm. */
  free(): void;
}

/**
 * A token bucket in a slot of its own. It may be overdrawn: a take is always granted, and what it took too much is waited
 * for before the next one. Whoever made it frees it; a bucket that was freed limits nothing.
 *
 * One cell is the whole state, so that a single compare-and-swap takes from it: the instant in nanoseconds at which the
 * bucket is, was or will be exactly empty. To take is to move that instant later by bytes / rate; it never lies further back
 * than burst / rate, which is a full bucket. Instants are those of the system's monotonic clock, the same in all threads.
 */
export interface Bucket {
  readonly id: SlotId;
  /** Bytes a second; 0: nothing is limited. */
  readonly ratePerSecond: number;
  /** Takes the bytes, overdrawing if need be; answers for how many milliseconds nobody should take more. */
  take(bytes: number, nowMs: number): number;
  /** Takes the bytes if the bucket holds them all; otherwise takes nothing and answers false. */
  tryTake(bytes: number, nowMs: number): boolean;
  /** For how many milliseconds nobody should take anything: 0 unless the bucket is overdrawn. */
  waitMs(nowMs: number): number;
  /**
   * Changes the rate for everybody who draws on it. What is in the bucket, or is owed to it, stays, in bytes; an equal rate
   * changes nothing; a bucket that had no limit starts full.
   */
  setRate(rate: BucketRate, nowMs: number): void;
  free(): void;
}

/** Counters and token buckets in one block of shared memory. */
export interface Meter {
  /** To be sent to another thread, which calls {@link joinMeter}. */
  readonly block: SharedArrayBuffer;
  /** How many slots are in use, by all threads. */
  readonly used: number;
  /** A new counter at 0. Throws ProxyError `internal` when all `maxSlots` are in use. */
  counter(): Counter;
  /** A new bucket, full. Throws ProxyError `internal` when all `maxSlots` are in use. */
  bucket(rate: BucketRate): Bucket;
  /** A bucket that another thread made; whichever of the two frees it, frees it for both. */
  openBucket(id: SlotId): Bucket;
}

// The library's types of this version of the language do not know shared memory that grows; every supported Node does.
type GrowableBlock = SharedArrayBuffer & { readonly maxByteLength: number; grow(bytes: number): void };
const GrowableBlock = SharedArrayBuffer as unknown as new (
  bytes: number,
  options: { maxByteLength: number },
) => GrowableBlock;

/** Makes a block of shared memory for counters and buckets. It lives as long as somebody holds it. */
export function createMeter({ slots = defaultSlots, maxSlots = defaultMaxSlots }: MeterOptions = {}): Meter {
  const first = Math.min(slots, maxSlots);
  return new BlockMeter(new GrowableBlock(blockBytes(first), { maxByteLength: blockBytes(maxSlots) }));
}

/** The same meter in another thread: `block` is that of the first. */
export function joinMeter(block: SharedArrayBuffer): Meter {
  return new BlockMeter(block as GrowableBlock);
}

const blockBytes = (slots: number) => (headerCells + slots * cellsPerSlot) * bytesPerCell;

class BlockMeter implements Meter {
  readonly block: GrowableBlock;
  /** Both views follow the block as it grows. */
  readonly cells: BigInt64Array;
  readonly #words: Int32Array;

  constructor(block: GrowableBlock) {
    this.block = block;
    this.cells = new BigInt64Array(block);
    this.#words = new Int32Array(block);
  }

  get used(): number {
    return Number(Atomics.load(this.cells, header.used));
  }

  counter(): Counter {
    const id = this.#claim();
    Atomics.store(this.cells, firstCell(id) + cell.value, 0n);
    return new SlotCounter(this, id);
  }

  bucket(rate: BucketRate): Bucket {
    const id = this.#claim();
    const { perSecond, burst } = wholeRate(rate);
    Atomics.store(this.cells, firstCell(id) + cell.value, longAgoNs);
    Atomics.store(this.cells, firstCell(id) + cell.rate, BigInt(perSecond));
    Atomics.store(this.cells, firstCell(id) + cell.burst, BigInt(burst));
    return new SlotBucket(this, id);
  }

  openBucket(id: SlotId): Bucket {
    return new SlotBucket(this, id);
  }

  isOwner(id: SlotId): boolean {
    return Atomics.load(this.#words, ownerWord(id.slot)) === id.owner;
  }

  free(id: SlotId): void {
    // Only one of several calls, from whatever thread, finds the owner's number.
    const word = ownerWord(id.slot);
    if (Atomics.compareExchange(this.#words, word, id.owner, (id.owner + 1) | 0) !== id.owner) return;
    Atomics.sub(this.cells, header.used, 1n);
    for (;;) {
      const head = Atomics.load(this.cells, header.freeList);
      Atomics.store(this.cells, firstCell(id) + cell.rate, head & 0xffff_ffffn);
      if (this.#swapFreeList(head, BigInt(id.slot + 1))) return;
    }
  }

  /** A slot that nobody else has: one that was freed, else the next, for which the block grows. */
  #claim(): SlotId {
    const slot = this.#popFree() ?? this.#handOut();
    // Nobody else has the slot now, so that these two need not be one step.
    const owner = (Atomics.load(this.#words, ownerWord(slot)) + 1) | 0;
    Atomics.store(this.#words, ownerWord(slot), owner);
    Atomics.add(this.cells, header.used, 1n);
    return { slot, owner };
  }

  #popFree(): number | undefined {
    for (;;) {
      const head = Atomics.load(this.cells, header.freeList);
      const slot = Number(head & 0xffff_ffffn) - 1;
      if (slot < 0) return undefined;
      const next = Atomics.load(this.cells, firstCell({ slot }) + cell.rate);
      // Another thread may have taken the slot meanwhile, so that `next` is anything; then the list has changed, too.
      if (this.#swapFreeList(head, next & 0xffff_ffffn)) return slot;
    }
  }

  /** The upper half counts the changes: a list that looks the same after two of them is still another. */
  #swapFreeList(head: bigint, slotPlusOne: bigint): boolean {
    const changed = BigInt.asIntN(64, (((head >> 32n) + 1n) << 32n) | slotPlusOne);
    return Atomics.compareExchange(this.cells, header.freeList, head, changed) === head;
  }

  #handOut(): number {
    for (;;) {
      const next = Atomics.load(this.cells, header.handedOut);
      this.#growTo(Number(next) + 1);
      if (Atomics.compareExchange(this.cells, header.handedOut, next, next + 1n) === next)
        return Number(next);
    }
  }

  #growTo(slots: number): void {
    const { block } = this;
    const bytes = blockBytes(slots);
    if (bytes <= block.byteLength) return;
    if (bytes > block.maxByteLength) {
      const most = String((block.maxByteLength / bytesPerCell - headerCells) / cellsPerSlot);
      throw new ProxyError('internal', 'self', `all ${most} counters and token buckets are in use`);
    }
    try {
      block.grow(Math.min(block.maxByteLength, block.byteLength * 2));
    } catch (error) {
      // Shared memory never shrinks: another thread has grown it further, or there is no memory left.
      if (bytes > block.byteLength) {
        throw new ProxyError('internal', 'self', 'no memory for more counters and token buckets', {
          cause: error,
        });
      }
    }
  }
}

const firstCell = ({ slot }: Pick<SlotId, 'slot'>) => headerCells + slot * cellsPerSlot;
const ownerWord = (slot: number) => (firstCell({ slot }) + cell.owner) * 2;

class SlotCounter implements Counter {
  readonly id: SlotId;
  readonly #meter: BlockMeter;

  constructor(meter: BlockMeter, id: SlotId) {
    this.id = id;
    this.#meter = meter;
  }

  add(amount: number): void {
    if (this.#meter.isOwner(this.id))
      Atomics.add(this.#meter.cells, firstCell(this.id) + cell.value, BigInt(amount));
  }

  get value(): number {
    if (!this.#meter.isOwner(this.id)) return 0;
    return Number(Atomics.load(this.#meter.cells, firstCell(this.id) + cell.value));
  }

  free(): void {
    this.#meter.free(this.id);
  }
}

class SlotBucket implements Bucket {
  readonly id: SlotId;
  readonly #meter: BlockMeter;
  readonly #cells: BigInt64Array;
  readonly #at: number;

  constructor(meter: BlockMeter, id: SlotId) {
    this.id = id;
    this.#meter = meter;
    this.#cells = meter.cells;
    this.#at = firstCell(id);
  }

  get ratePerSecond(): number {
    return this.#meter.isOwner(this.id) ? Number(Atomics.load(this.#cells, this.#at + cell.rate)) : 0;
  }

  take(bytes: number, nowMs: number): number {
    return this.#take(bytes, nowMs, Infinity) ?? 0;
  }

  tryTake(bytes: number, nowMs: number): boolean {
    return this.#take(bytes, nowMs, 0) !== undefined;
  }

  waitMs(nowMs: number): number {
    if (this.ratePerSecond === 0) return 0;
    const wait = Atomics.load(this.#cells, this.#at + cell.value) - nanoseconds(nowMs);
    return wait > 0n ? Number(wait) / 1e6 : 0;
  }

  setRate(rate: BucketRate, nowMs: number): void {
    if (!this.#meter.isOwner(this.id)) return;
    const { perSecond, burst } = wholeRate(rate);
    const before = this.ratePerSecond;
    const burstBefore = Number(Atomics.load(this.#cells, this.#at + cell.burst));
    Atomics.store(this.#cells, this.#at + cell.burst, BigInt(burst));
    // A smaller burst counts by itself; a larger one is filled at the rate, and not there at once.
    if (before === perSecond && burst <= burstBefore) return;
    Atomics.store(this.#cells, this.#at + cell.rate, BigInt(perSecond));
    for (;;) {
      const empty = Atomics.load(this.#cells, this.#at + cell.value);
      const next =
        before === 0 || perSecond === 0
          ? longAgoNs
          : nanoseconds(nowMs) -
            lasting(Math.min(heldBytes(empty, nowMs, before), burstBefore, burst), perSecond);
      // A take between the two stores above was priced at one rate and is kept at the other: at most one take a change.
      if (Atomics.compareExchange(this.#cells, this.#at + cell.value, empty, next) === empty) return;
    }
  }

  free(): void {
    this.#meter.free(this.id);
  }

  /** How long to wait after this take, or undefined where more than `maxWaitMs` would be owed; then nothing is taken. */
  #take(bytes: number, nowMs: number, maxWaitMs: number): number | undefined {
    const rate = this.ratePerSecond;
    if (rate === 0) return 0;
    const now = nanoseconds(nowMs);
    const full = now - lasting(Number(Atomics.load(this.#cells, this.#at + cell.burst)), rate);
    const cost = lasting(bytes, rate);
    for (;;) {
      const empty = Atomics.load(this.#cells, this.#at + cell.value);
      const next = (empty > full ? empty : full) + cost;
      const waitMs = next > now ? Number(next - now) / 1e6 : 0;
      if (waitMs > maxWaitMs) return undefined;
      if (Atomics.compareExchange(this.#cells, this.#at + cell.value, empty, next) === empty) return waitMs;
    }
  }
}

const nanoseconds = (ms: number) => BigInt(Math.round(ms * 1e6));

/** How many nanoseconds these bytes last at this rate. */
const lasting = (bytes: number, perSecond: number) => BigInt(Math.round((bytes * 1e9) / perSecond));

/** What is in the bucket, not looking at its size; negative where it is owed. */
const heldBytes = (emptyNs: bigint, nowMs: number, perSecond: number) =>
  (Number(nanoseconds(nowMs) - emptyNs) * perSecond) / 1e9;

/** Whole numbers that a cell can hold; a rate that is no limit is 0. */
function wholeRate({ ratePerSecond, burst }: BucketRate): { perSecond: number; burst: number } {
  if (!(ratePerSecond > 0 && ratePerSecond < Infinity)) return { perSecond: 0, burst: 0 };
  const perSecond = Math.min(Math.max(Math.round(ratePerSecond), 1), Number.MAX_SAFE_INTEGER);
  const asked = burst === undefined || !(burst > 0) ? perSecond : Math.round(burst);
  const least = Math.ceil((perSecond * minBurstMs) / 1000);
  return { perSecond, burst: Math.min(Math.max(asked, least), Number.MAX_SAFE_INTEGER) };
}
