import type { Address, End, Listening } from './conn.ts';
import type { EventSink } from './events.ts';
import type { RateLimiter } from './limits.ts';
import type { PolicyOf } from './policies.ts';
import type { ServeVisitor } from './protocol.ts';
import type { Chain, Forwarder } from './route.ts';
import type { Session } from './session.ts';
import type { TrafficLimits } from './traffic-limits.ts';
import type { BindRequest, Way } from './way.ts';

/** What the sessions of a service have in common. Whatever is absent is not asked. */
export interface SessionSettings {
  readonly service: string;
  readonly publish: EventSink;
  readonly auth?: PolicyOf<'auth'>;
  /** True for a client's host that need not say who it is. */
  readonly skipsAuth?: (host: string) => boolean;
  readonly bypass?: PolicyOf<'bypass'>;
  /** What the service's bypass rules that speak of addresses say of one that a name turned out to have; undefined: nothing. */
  readonly refusesAddress?: (address: Address, network: string) => string | undefined;
  readonly hosts?: PolicyOf<'hosts'>;
  readonly resolver?: PolicyOf<'resolver'>;
  readonly rate?: RateLimiter;
  readonly limits?: TrafficLimits;
  /** What selector `hash` counts by for clients that nobody knows by name. Default: the client's address. */
  readonly hashBy?: 'source' | 'host';
  readonly chain?: Chain;
  readonly forwarder?: Forwarder;
  /** The way to targets where no chain leads. */
  readonly direct: Way;
  /** Further attempts to reach a target, each along a route of its own. */
  readonly retries: number;
  /** From the first question about a target to the connection. */
  readonly dialTimeoutMs: number;
  /** Ends a relay in which nothing moves for so long; 0: never. */
  readonly idleMs: number;
  /** Listens at an address of this machine; whatever comes is a session of the service. Absent: nobody may ask for that. */
  readonly bind?: (request: BindRequest, each: ServeVisitor) => Promise<Listening>;
  /** Serves a session with another protocol of the program's list. */
  readonly serve: (end: End, session: Session, protocol: string) => Promise<void>;
}
