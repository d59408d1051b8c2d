/** How many connections may be open at once. */
export interface ConnLimiter {
  /**
   * Takes a place for a connection from this host: an IP address, with or without a port, or whatever a peer is called that
   * has none. Undefined when no place is left. What is answered gives the place back; calling it again does nothing.
   */
  enter(host: string): (() => void) | undefined;
}

/** How many requests may begin in a second. */
export interface RateLimiter {
  /** Whether this host (as in {@link ConnLimiter}) may begin another one now; a yes is counted. `nowMs` is for tests. */
  allow(host: string, nowMs?: number): boolean;
}
