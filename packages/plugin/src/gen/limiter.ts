// Written by scripts/generate.ts from proto/limiter.proto. Do not edit: change the .proto and run "npm run generate".
import type { Int64 } from '../contract.ts';
import type { MessageType } from '../wire/proto.ts';

/** proto.LimitRequest of proto/limiter.proto. */
export interface LimitRequest {
  /** tcp or udp. */
  network: string;
  /** The target, host:port. Only for scope client, where the protocol knows it. */
  addr: string;
  /** The user's id, or the tunnel's UUID. Only for scope client. */
  client: string;
  /** Where the client connects from, as ip:port. Empty for scope service. */
  src: string;
  /** The name of the service. */
  service: string;
  /** Whose rate it is: service (all connections together), conn (this connection) or client (this user). */
  scope: string;
}

/** The table of {@link LimitRequest}. */
export const LimitRequest: MessageType<LimitRequest> = {
  typeName: 'proto.LimitRequest',
  fields: [
    { number: 1, name: 'network', type: 'string', repeated: false },
    { number: 2, name: 'addr', type: 'string', repeated: false },
    { number: 3, name: 'client', type: 'string', repeated: false },
    { number: 4, name: 'src', type: 'string', repeated: false },
    { number: 5, name: 'service', type: 'string', repeated: false },
    { number: 6, name: 'scope', type: 'string', repeated: false },
  ],
};

/** proto.LimitReply of proto/limiter.proto. */
export interface LimitReply {
  /** Bytes a second that are read from the client; 0 and below: no limit. */
  in: Int64;
  /** Bytes a second that are written to the client; 0 and below: no limit. */
  out: Int64;
}

/** The table of {@link LimitReply}. */
export const LimitReply: MessageType<LimitReply> = {
  typeName: 'proto.LimitReply',
  fields: [
    { number: 1, name: 'in', type: 'int64', repeated: false },
    { number: 2, name: 'out', type: 'int64', repeated: false },
  ],
};

/** The service of proto/limiter.proto. */
export const Limiter = {
  typeName: 'proto.Limiter',
  methods: {
    Limit: { rpc: 'Limit', request: LimitRequest, reply: LimitReply },
  },
} as const;
