import { defineContract, type Int64, type Method } from '../contract.ts';
import { Observer, type Event, type ObserveReply, type ObserveRequest, type Stats } from '../gen/observer.ts';
import { yesOrNo } from './checked.ts';

/** What every event says. */
interface EventOf {
  /** `service` (as a whole) or `handler` (one user of it). */
  readonly kind: string;
  readonly service: string;
  /** The user's id, or the tunnel's UUID; empty for kind `service`. */
  readonly user: string;
}

/** Counters as they stand, or since the last report where the observer resets them. */
export interface ObserverStats {
  readonly totalConns: Int64;
  readonly currentConns: Int64;
  readonly inputBytes: Int64;
  readonly outputBytes: Int64;
  readonly totalErrs: Int64;
}

export interface StatsEvent extends EventOf {
  readonly type: 'stats';
  readonly stats: ObserverStats;
}

export interface StatusEvent extends EventOf {
  readonly type: 'status';
  /** `running`, `ready`, `failed` or `closed`. */
  readonly state: string;
  readonly message: string;
}

/** An event of a newer proxy, whose `name` this version does not know. */
export interface OtherEvent extends EventOf {
  readonly type: 'other';
  readonly name: string;
}

export type ObserverEvent = StatsEvent | StatusEvent | OtherEvent;

/** Events in the order in which they happened. */
export interface ObserverAsk {
  readonly events: readonly ObserverEvent[];
}

const observe: Method<ObserverAsk, boolean, ObserveRequest, ObserveReply> = {
  ...Observer.methods.Observe,
  wire: {
    request: ({ events }) => ({ events: events.map(toWire) }),
    ask: ({ events }) => ({ events: events.map(fromWire) }),
    answer: ({ ok }) => ok,
    reply: (ok) => ({ ok: yesOrNo(ok, 'observe') }),
  },
  http: {
    verb: 'POST',
    request: ['events'],
    nested: { 'proto.Event': ['kind', 'service', 'client?', 'type', 'stats?', 'status?'] },
    reply: ['ok'],
  },
  coalesce: false,
  // Sent twice, counters that are reset with every report would count twice.
  idempotent: false,
  timeoutMs: 5_000,
  onError: 'queue',
  allow: { reply: true },
};

const noStats: Stats = { totalConns: 0, currentConns: 0, inputBytes: 0, outputBytes: 0, totalErrs: 0 };

function toWire(event: ObserverEvent): Event {
  const { kind, service, user: client } = event;
  const type = event.type === 'other' ? event.name : event.type;
  const status = event.type === 'status' ? { state: event.state, msg: event.message } : undefined;
  const stats = event.type === 'stats' ? { ...event.stats } : undefined;
  return { kind, service, client, type, stats, status };
}

function fromWire({ kind, service, client: user, type, stats, status }: Event): ObserverEvent {
  if (type === 'stats') return { type, kind, service, user, stats: stats ?? noStats };
  if (type === 'status') {
    return { type, kind, service, user, state: status?.state ?? '', message: status?.msg ?? '' };
  }
  return { type: 'other', name: type, kind, service, user };
}

/** Here is how a service is doing. False: the events were not taken and are sent again. */
export const observer = defineContract({
  kind: 'observer',
  section: 'observers',
  service: Observer.typeName,
  methods: { observe },
  combine: 'each',
});
