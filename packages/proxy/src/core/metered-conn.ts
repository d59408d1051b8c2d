import type { Conn } from './conn.ts';
import { ProxyError } from './errors.ts';
import type { Bucket } from './meter.ts';
import { PassedConn } from './passed-conn.ts';
import type { Traffic } from './relay.ts';
import { threadWheel } from './wheel.ts';
import type { Wheel, WheelTimer } from './wheel.ts';

/** The buckets that a client draws on. All of a direction must have something left. */
export interface Buckets {
  /** For what is read from the client. */
  readonly in: readonly Bucket[];
  /** For what is written to it. */
  readonly out: readonly Bucket[];
}

/** Nothing is limited. */
export const noBuckets: Buckets = { in: [], out: [] };

/** Something whose limits may change while it carries bytes. */
export interface Shaped {
  /** To be replaced, never changed; the new ones count at once, also for whoever waits. */
  buckets: Buckets;
}

/** A client's connection whose bytes are counted and held to rates. */
export interface MeteredConn extends Conn, Shaped {
  readonly traffic: Traffic;
  /** When bytes last came or went, on the wheel's clock. */
  readonly lastActivityMs: number;
  /** True while bytes wait for a bucket: nothing moves, and yet nobody is idle. */
  readonly isHeldBack: boolean;
}

/** What a {@link MeteredConn} is made with. */
export interface MeterConnOptions {
  /** Where bytes are counted: those given to whoever reads, and those handed to the connection. */
  readonly traffic: Traffic;
  /** For waiting. Default: the thread's. */
  readonly wheel?: Wheel;
}

/**
 * A client's Conn with its bytes counted, and held back while a bucket is overdrawn. It starts without buckets. What was read
 * and put back by `unread` is counted and paid for once. A chunk that lasts much longer than 50 ms at the rate of a bucket goes
 * in pieces. Writes that are not waited for keep their order, and `end` comes after them. Once the connection is over,
 * nothing is held back any more. It does not give its socket away, because nobody would count what goes past it.
 */
export function meterConn(conn: Conn, options: MeterConnOptions): MeteredConn {
  return new Metered(conn, options);
}

/** The connection, or the one that it is a layer over, that is metered; undefined where none is. */
export function asMetered(conn: Conn | undefined): MeteredConn | undefined {
  for (let layer = conn; layer !== undefined; layer = layer.under) if (layer instanceof Metered) return layer;
  return undefined;
}

class Metered extends PassedConn implements MeteredConn {
  readonly traffic: Traffic;
  lastActivityMs: number;
  readonly #wheel: Wheel;
  readonly #in: Gate;
  readonly #out: Gate;
  /** Put back by whoever read it: it has been counted and paid for. */
  readonly #putBack: Buffer[] = [];
  #buckets = noBuckets;
  #reading = false;
  /** The last of the writes that wait for their turn. Never rejects. */
  #lastWrite: Promise<void> | undefined;
  /** Made once, so that a read costs one promise and nothing else. */
  readonly #noteRead = (bytes: Buffer | null): Buffer | null => {
    if (bytes !== null) {
      this.#count('received', bytes.length);
      // Buckets may have come while the read was waiting.
      this.#in.charge(bytes.length);
    }
    return bytes;
  };

  constructor(conn: Conn, { traffic, wheel = threadWheel }: MeterConnOptions) {
    super(conn);
    this.#wheel = wheel;
    this.traffic = traffic;
    this.lastActivityMs = wheel.now();
    this.#in = new Gate(wheel, conn);
    this.#out = new Gate(wheel, conn);
  }

  get isHeldBack(): boolean {
    return this.#in.isWaiting || this.#out.isWaiting;
  }

  get buckets(): Buckets {
    return this.#buckets;
  }

  set buckets(buckets: Buckets) {
    this.#buckets = buckets;
    this.#in.use(buckets.in);
    this.#out.use(buckets.out);
  }

  override read(): Promise<Buffer | null> {
    const bytes = this.#putBack.shift();
    if (bytes !== undefined) return Promise.resolve(bytes);
    // The connection below does not see a second reader while the first is held back here.
    if (this.#reading)
      return Promise.reject(new ProxyError('internal', 'self', 'two readers on one connection'));
    if (this.#in.isOpen) return this.conn.read().then(this.#noteRead);
    return this.#readHeldBack();
  }

  override unread(bytes: Buffer): void {
    if (bytes.length > 0) this.#putBack.unshift(bytes);
  }

  override write(bytes: Uint8Array): Promise<void> {
    const gate = this.#out;
    if (this.#lastWrite === undefined && (gate.isOpen || gate.passes(bytes.length))) return this.#put(bytes);
    return this.#inTurn(() => this.#writeHeldBack(bytes));
  }

  override end(): Promise<void> {
    return this.#lastWrite === undefined ? this.conn.end() : this.#inTurn(() => this.conn.end());
  }

  override reset(): void {
    this.#putBack.length = 0;
    this.conn.reset();
    this.#in.letGo();
    this.#out.letGo();
  }

  #count(direction: 'received' | 'sent', bytes: number): void {
    this.traffic[direction] += bytes;
    this.lastActivityMs = this.#wheel.now();
  }

  /** Bytes are read first and wait here: so whoever is first to find something in a bucket takes it in the same turn. */
  async #readHeldBack(): Promise<Buffer | null> {
    this.#reading = true;
    try {
      const bytes = await this.conn.read();
      if (bytes === null) return null;
      await this.#in.wait();
      const most = this.#in.pieceBytes;
      if (bytes.length <= most || this.#in.isOver) return this.#noteRead(bytes);
      this.conn.unread(bytes.subarray(most));
      return this.#noteRead(bytes.subarray(0, most));
    } finally {
      this.#reading = false;
    }
  }

  #put(bytes: Uint8Array): Promise<void> {
    this.#count('sent', bytes.length);
    this.#out.charge(bytes.length);
    return this.conn.write(bytes);
  }

  async #writeHeldBack(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      await this.#out.wait();
      const piece = bytes.subarray(at, at + this.#out.pieceBytes);
      at += piece.length;
      await this.#put(piece);
    }
  }

  #inTurn(run: () => Promise<void>): Promise<void> {
    const done = this.#lastWrite === undefined ? run() : this.#lastWrite.then(run);
    const over = () => {
      if (this.#lastWrite === last) this.#lastWrite = undefined;
    };
    const last: Promise<void> = done.then(over, over);
    this.#lastWrite = last;
    return done;
  }
}

/** A rate may change, or a bucket be overdrawn by others, while somebody waits; so it looks again that often. */
const maxWaitMs = 250;

/** How long a piece lasts at the rate of the slowest bucket. */
const pieceMs = 50;

/** Below this a piece is as large as one second allows, because tiny pieces would cost more than they smooth. */
const minPieceBytes = 1024;

/** One direction's buckets, and whoever waits for them. */
class Gate {
  /** The connection is over, and nothing more is held back. */
  isOver = false;
  readonly #wheel: Wheel;
  readonly #conn: Conn;
  #buckets: readonly Bucket[] = noBuckets.in;
  #timer: WheelTimer | undefined;
  #wake: (() => void) | undefined;

  constructor(wheel: Wheel, conn: Conn) {
    this.#wheel = wheel;
    this.#conn = conn;
  }

  get isOpen(): boolean {
    return this.#buckets.length === 0;
  }

  get isWaiting(): boolean {
    return this.#wake !== undefined;
  }

  use(buckets: readonly Bucket[]): void {
    this.#buckets = buckets;
    this.#wakeUp();
  }

  letGo(): void {
    this.isOver = true;
    this.#wakeUp();
  }

  charge(bytes: number): void {
    if (this.#buckets.length === 0) return;
    const now = this.#wheel.now();
    for (const bucket of this.#buckets) bucket.take(bytes, now);
  }

  passes(bytes: number): boolean {
    return this.#waitMs() === 0 && bytes <= this.pieceBytes;
  }

  get pieceBytes(): number {
    let slowest = Infinity;
    for (const bucket of this.#buckets) {
      const rate = bucket.ratePerSecond;
      if (rate > 0 && rate < slowest) slowest = rate;
    }
    return Math.max(Math.floor((slowest * pieceMs) / 1000), Math.min(slowest, minPieceBytes));
  }

  /** Resolves when no bucket is overdrawn, or nothing is to be waited for any more. */
  async wait(): Promise<void> {
    for (let ms = this.#waitMs(); ms > 0 && !this.isOver; ms = this.#waitMs()) await this.#sleep(ms);
  }

  #waitMs(): number {
    let most = 0;
    if (this.#buckets.length === 0) return most;
    const now = this.#wheel.now();
    for (const bucket of this.#buckets) most = Math.max(most, bucket.waitMs(now));
    return most;
  }

  #sleep(ms: number): Promise<void> {
    if (this.#timer === undefined) {
      this.#timer = this.#wheel.timer(() => {
        this.#wakeUp();
      });
      // A connection that ends must not be kept for the time that its last bytes would have had to wait.
      void this.#conn.closed.then(() => {
        this.letGo();
      });
    }
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer!.start(Math.min(ms, maxWaitMs));
    });
  }

  #wakeUp(): void {
    this.#timer?.stop();
    this.#wake?.();
    this.#wake = undefined;
  }
}
