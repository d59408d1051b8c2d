import type { CallEvent } from '@sallyport/plugin';
import type { Address } from './conn.ts';
import type { ProxyError } from './errors.ts';
import type { Traffic } from './relay.ts';

/** What every fact of a session is a fact about. */
export interface SessionFacts {
  /** Unique in this process and unlikely to meet its like in another. */
  readonly id: string;
  readonly service: string;
  readonly client: Address;
}

/** A question about who may come in has been answered, or could not be asked. */
export interface AuthDecided {
  readonly kind: 'authDecided';
  readonly outcome: 'yes' | 'no' | 'couldNotAsk';
  /** As the client said; empty without credentials. */
  readonly username: string;
  /** The id that the user is known by from now on; empty unless the outcome is `yes`. */
  readonly user: string;
  /** What was asked of whom, in order; the last one decided. */
  readonly calls: readonly CallEvent[];
  /** Over all of them. */
  readonly ms: number;
  /** Present when the outcome is `couldNotAsk`. */
  readonly error: ProxyError | undefined;
}

/** A connection to a target was opened, or could not be. */
export interface Dialed {
  readonly kind: 'dialed';
  readonly target: Address;
  readonly ms: number;
  readonly error: ProxyError | undefined;
}

/** A request was answered, or a tunnel has ended. */
export interface Served {
  readonly kind: 'served';
  readonly what: string;
  readonly target: Address | undefined;
  readonly user: string;
  /** The status that the client got, where the protocol has one. */
  readonly status: number | undefined;
  readonly ms: number;
  readonly error: ProxyError | undefined;
}

/** The client's connection has ended. */
export interface SessionClosed {
  readonly kind: 'closed';
  readonly ms: number;
  readonly traffic: Readonly<Traffic>;
  /** What ended it, unless it ended well. */
  readonly error: ProxyError | undefined;
}

/** Everything that becomes known of a session. Its readers are the log, and whatever else explains or counts. */
export type SessionEvent = { readonly kind: 'opened' } | AuthDecided | Dialed | Served | SessionClosed;

/** A reader of facts. It returns at once and never throws. */
export type EventSink = (session: SessionFacts, event: SessionEvent) => void;
