/** How one body becomes another. */
export interface BodyRewrite {
  /** Longer bodies pass unchanged. */
  readonly maxBytes: number;
  /** Rejects with ProxyError. */
  whole(body: Buffer): Promise<Buffer>;
  /** Present: the body is a stream of events, and goes through here as it comes. */
  readonly events?: EventStream | undefined;
}

/** A stream of events on its way. */
export interface EventStream {
  /** Takes the next bytes; answers what may go on. Rejects with ProxyError. */
  push(parts: readonly Buffer[]): Promise<Buffer>;
  /** What is left at the end; `error` says that it broke off. */
  end(error?: string): Promise<Buffer>;
}
