// Written by scripts/generate.ts from proto/bypass.proto. Do not edit: change the .proto and run "npm run generate".
import type { MessageType } from '../wire/proto.ts';

/** proto.BypassRequest of proto/bypass.proto. */
export interface BypassRequest {
  /** The target as host:port, or ip:port once it was resolved. A DNS service asks with the bare name. */
  addr: string;
  /** The user's id, as the authenticator gave it. Empty for an unknown user. */
  client: string;
  /** tcp or udp. */
  network: string;
  /** At a hop or node: the target as the client asked for it, host:port. Otherwise empty. */
  host: string;
  /** Path and query of the HTTP request, where a forwarder has seen one. Otherwise empty. */
  path: string;
  /** The name of the service that the client connected to. Empty at a hop or node. */
  service: string;
}

/** The table of {@link BypassRequest}. */
export const BypassRequest: MessageType<BypassRequest> = {
  typeName: 'proto.BypassRequest',
  fields: [
    { number: 1, name: 'addr', type: 'string', repeated: false },
    { number: 2, name: 'client', type: 'string', repeated: false },
    { number: 3, name: 'network', type: 'string', repeated: false },
    { number: 4, name: 'host', type: 'string', repeated: false },
    { number: 5, name: 'path', type: 'string', repeated: false },
    { number: 6, name: 'service', type: 'string', repeated: false },
  ],
};

/** proto.BypassReply of proto/bypass.proto. */
export interface BypassReply {
  /** True: bypass. At a service the client is refused, at a hop or node the hop is left out. False: go on as configured. */
  ok: boolean;
}

/** The table of {@link BypassReply}. */
export const BypassReply: MessageType<BypassReply> = {
  typeName: 'proto.BypassReply',
  fields: [
    { number: 1, name: 'ok', type: 'bool', repeated: false },
  ],
};

/** The service of proto/bypass.proto. */
export const Bypass = {
  typeName: 'proto.Bypass',
  methods: {
    Bypass: { rpc: 'Bypass', request: BypassRequest, reply: BypassReply },
  },
} as const;
