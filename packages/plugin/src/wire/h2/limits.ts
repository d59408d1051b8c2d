/** What one connection may cost. Times are checked once a second, so they are met to about a second. */
export interface H2Limits {
  /** Streams that the peer may have open at once, and handlers that may run at once. Default 512. */
  readonly maxConcurrentStreams: number;
  /** A message or body after decoding. Default 4 MiB, as grpc-go's. */
  readonly maxRequestBytes: number;
  /** All requests of one connection that are not complete yet. Default 32 MiB. */
  readonly maxBufferedBytes: number;
  /** The header list, counted as RFC 9113, section 6.5.2 does, and also the header block as it is sent. Default 64 KiB. */
  readonly maxHeaderListBytes: number;
  /** What may wait for a peer that does not read: PING and SETTINGS answers, resets. Default 1 MiB beyond replies. */
  readonly maxWaitingBytes: number;
  /**
   * Frames that bring nothing (PING, SETTINGS, RST_STREAM, PRIORITY, empty DATA, requests that are refused): so many
   * at once, and a tenth of it more each second. Each finished stream earns four. Default 1000.
   */
  readonly maxIdleFrames: number;
  /** A preface, a header block or a frame must be complete after this. Default 10,000 ms. */
  readonly frameTimeoutMs: number;
  /** A request must be complete after this. Default 30,000 ms. */
  readonly requestTimeoutMs: number;
  /** The peer must take something of what waits for its windows or its socket within this. Default 20,000 ms. */
  readonly stallTimeoutMs: number;
}

/** The defaults of {@link H2Limits}. */
export const defaultH2Limits: H2Limits = {
  maxConcurrentStreams: 512,
  maxRequestBytes: 4 * 1024 * 1024,
  maxBufferedBytes: 32 * 1024 * 1024,
  maxHeaderListBytes: 64 * 1024,
  maxWaitingBytes: 1024 * 1024,
  maxIdleFrames: 1000,
  frameTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  stallTimeoutMs: 20_000,
};

/** Counts what a peer spends on frames that bring nothing, so that a flood of them ends and ordinary use never notices. */
export class FrameBudget {
  readonly #max: number;
  #left: number;

  constructor(maxIdleFrames: number) {
    this.#max = maxIdleFrames;
    this.#left = maxIdleFrames;
  }

  get isFull(): boolean {
    return this.#left >= this.#max;
  }

  /** Takes `frames` from the budget; false: it is used up, and the connection should be closed. */
  spend(frames: number): boolean {
    this.#left -= frames;
    return this.#left >= 0;
  }

  /** A stream came to a good end. */
  earn(frames: number): void {
    this.#left = Math.min(this.#max, this.#left + frames);
  }

  /** To be called once a second. */
  refill(): void {
    this.earn(this.#max / 10);
  }
}

/** What a stream that came to its end earns: a call is accompanied by a PING or two (grpc-go measures the way with them). */
export const earnedByStream = 4;
