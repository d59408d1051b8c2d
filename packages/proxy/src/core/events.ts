import type { CallEvent, ModuleKind } from '@sallyport/plugin';
import type { Address } from './conn.ts';
import type { ProxyError } from './errors.ts';
import type { Traffic } from './relay.ts';

/** What every fact of a session is a fact about. */
export interface SessionFacts {
  /** Unique in this process and unlikely to meet its like in another. */
  readonly id: string;
  readonly service: string;
  readonly client: Address;
  readonly network: 'tcp' | 'udp';
  /** Where the client connected to. */
  readonly local: Address;
  /** Who the client has proved to be by now; empty before that and where nobody is asked. */
  readonly user: string;
  /** True where the user is who the client reaches, not who it is: what goes to the client comes from the user. Default false. */
  readonly isUserFarEnd?: boolean;
  /** Bytes so far. A reader may keep it and look again while the session lives. */
  readonly traffic: Readonly<Traffic>;
}

/** A module has been asked, and has decided or could not be asked. */
export interface Decided {
  readonly kind: 'decided';
  readonly module: ModuleKind;
  /** `yes` lets the client go on, whatever the module's own word for that is. */
  readonly outcome: 'yes' | 'no' | 'couldNotAsk';
  /** What it was asked about: a user's name, an address, a host. Empty: a client without credentials. */
  readonly about: string;
  /** What it answered beyond yes and no: the user's id, addresses, a node. Empty where there is no more. */
  readonly answer: string;
  /** What was asked of whom, in order; the last one decided. */
  readonly calls: readonly CallEvent[];
  /** Over all of them. */
  readonly ms: number;
  /** Present when the outcome is `couldNotAsk`. */
  readonly error: ProxyError | undefined;
}

/** A connection to a target is going to be opened. */
export interface Dialing {
  readonly kind: 'dialing';
  readonly network: 'tcp' | 'udp';
  /** As the client asked, canonical. */
  readonly target: Address;
}

/** A connection to a target was opened, or could not be. Told once for each attempt. */
export interface Dialed {
  readonly kind: 'dialed';
  readonly network: 'tcp' | 'udp';
  readonly target: Address;
  /** The nodes that it leads through, `name@address` each, the first one first. */
  readonly path: readonly string[];
  /** The ends of what was opened, ours and the other one's. Absent where nothing was. */
  readonly local?: Address;
  readonly remote?: Address;
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
  /** For records: what only the protocol knows, under GOST's key (`http`, `tls`). */
  readonly details?: Readonly<Record<string, unknown>>;
  /** What the client wants to be recorded of it (GOST's `Gost-Record`), in small letters. Whether that counts, records know. */
  readonly recordMode?: string | undefined;
}

/** The client's connection has ended. */
export interface SessionClosed {
  readonly kind: 'closed';
  readonly network: 'tcp' | 'udp';
  readonly local: Address;
  readonly ms: number;
  readonly traffic: Readonly<Traffic>;
  readonly user: string;
  /** The last target, and how it was reached. */
  readonly target: Address | undefined;
  readonly path: readonly string[];
  /** Every decision of the session, in order; the last hundred of a long one. */
  readonly decisions: readonly Decided[];
  /** What ended it, unless it ended well. */
  readonly error: ProxyError | undefined;
}

/** Everything that becomes known of a session. Its readers are the log, records, counters, and whatever else explains. */
export type SessionEvent = { readonly kind: 'opened' } | Decided | Dialing | Dialed | Served | SessionClosed;

/** A reader of facts. It returns at once and never throws. */
export type EventSink = (session: SessionFacts, event: SessionEvent) => void;
