import type { Accept, Address, Conn, Listening } from './conn.ts';
import type { ProxyError } from './errors.ts';

/** What a dial is told of whom it is for. */
export interface DialContext {
  /** Fires when nobody waits for the connection any more. */
  readonly signal: AbortSignal;
  /** The id of the session, for whoever logs or asks in its name. */
  readonly session?: string;
}

/** A way to reach addresses and to be reached. Made once and kept; whoever made it closes it. */
export interface Way {
  /** Opens a connection. Rejects with ProxyError `nameNotFound`, `dialFailed`, `dialTimeout` or `clientClosed`. */
  dial(to: Address, context: DialContext): Promise<Conn>;
  /**
   * Binds, and calls `accept` for each connection, and `problem` when one could not be accepted. Rejects with ProxyError
   * `addressInUse` or `listenFailed`.
   */
  listen(at: Address, accept: Accept, problem: (error: ProxyError) => void): Promise<Listening>;
  /** Ends what the way keeps open for itself; connections that it gave away live on. */
  close(): Promise<void>;
}

/** A layer that carries bytes. `wrap` makes a way of the one below it; the lowest layer has none below. */
export interface Transport {
  /** GOST's word for it in a configuration. */
  readonly type: string;
  wrap(under: Way | undefined): Way;
}
