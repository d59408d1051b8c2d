// Written by scripts/generate.ts from proto/observer.proto. Do not edit: change the .proto and run "npm run generate".
import type { Int64 } from '../contract.ts';
import type { MessageType } from '../wire/proto.ts';

/** Counters since the service started; the byte counters since the last report where the observer is told to reset them. */
export interface Stats {
  totalConns: Int64;
  /** Open at this moment. */
  currentConns: Int64;
  /** Bytes that came from clients. */
  inputBytes: Int64;
  /** Bytes that went to clients. */
  outputBytes: Int64;
  totalErrs: Int64;
}

/** The table of {@link Stats}. */
export const Stats: MessageType<Stats> = {
  typeName: 'proto.Stats',
  fields: [
    { number: 1, name: 'totalConns', type: 'uint64', repeated: false },
    { number: 2, name: 'currentConns', type: 'uint64', repeated: false },
    { number: 3, name: 'inputBytes', type: 'uint64', repeated: false },
    { number: 4, name: 'outputBytes', type: 'uint64', repeated: false },
    { number: 5, name: 'totalErrs', type: 'uint64', repeated: false },
  ],
};

/** proto.ServiceStatus of proto/observer.proto. */
export interface ServiceStatus {
  /** running, ready, failed or closed. */
  state: string;
  /** One sentence for people. */
  msg: string;
}

/** The table of {@link ServiceStatus}. */
export const ServiceStatus: MessageType<ServiceStatus> = {
  typeName: 'proto.ServiceStatus',
  fields: [
    { number: 1, name: 'state', type: 'string', repeated: false },
    { number: 2, name: 'msg', type: 'string', repeated: false },
  ],
};

/** proto.Event of proto/observer.proto. */
export interface Event {
  /** service: the event is about a service as a whole. handler: it is about one user of it. */
  kind: string;
  /** The name of the service. */
  service: string;
  /** The user's id, or the tunnel's UUID, for kind handler. Empty for kind service and for unknown users. */
  client: string;
  /** status or stats: which of the next two is there. */
  type: string;
  stats: Stats | undefined;
  status: ServiceStatus | undefined;
}

/** The table of {@link Event}. */
export const Event: MessageType<Event> = {
  typeName: 'proto.Event',
  fields: [
    { number: 1, name: 'kind', type: 'string', repeated: false },
    { number: 2, name: 'service', type: 'string', repeated: false },
    { number: 3, name: 'client', type: 'string', repeated: false },
    { number: 4, name: 'type', type: 'string', repeated: false },
    { number: 5, name: 'stats', type: Stats, repeated: false },
    { number: 6, name: 'status', type: ServiceStatus, repeated: false },
  ],
};

/** proto.ObserveRequest of proto/observer.proto. */
export interface ObserveRequest {
  /** In the order in which they happened. */
  events: readonly Event[];
}

/** The table of {@link ObserveRequest}. */
export const ObserveRequest: MessageType<ObserveRequest> = {
  typeName: 'proto.ObserveRequest',
  fields: [
    { number: 1, name: 'events', type: Event, repeated: true },
  ],
};

/** proto.ObserveReply of proto/observer.proto. */
export interface ObserveReply {
  /** True: the events are taken, the next report begins after them. False: they are sent again. */
  ok: boolean;
}

/** The table of {@link ObserveReply}. */
export const ObserveReply: MessageType<ObserveReply> = {
  typeName: 'proto.ObserveReply',
  fields: [
    { number: 1, name: 'ok', type: 'bool', repeated: false },
  ],
};

/** The service of proto/observer.proto. */
export const Observer = {
  typeName: 'proto.Observer',
  methods: {
    Observe: { rpc: 'Observe', request: ObserveRequest, reply: ObserveReply },
  },
} as const;
