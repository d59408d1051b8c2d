// Written by scripts/generate.ts from proto/hosts.proto. Do not edit: change the .proto and run "npm run generate".
import type { MessageType } from '../wire/proto.ts';

/** proto.LookupRequest of proto/hosts.proto. */
export interface LookupRequest {
  /** ip, or ip4 or ip6 when a DNS query wants only that family. */
  network: string;
  /** The name without a port. It may be an IP address already. */
  host: string;
  /** The user's id, as the authenticator gave it. Empty for an unknown user. */
  client: string;
}

/** The table of {@link LookupRequest}. */
export const LookupRequest: MessageType<LookupRequest> = {
  typeName: 'proto.LookupRequest',
  fields: [
    { number: 1, name: 'network', type: 'string', repeated: false },
    { number: 2, name: 'host', type: 'string', repeated: false },
    { number: 3, name: 'client', type: 'string', repeated: false },
  ],
};

/** proto.LookupReply of proto/hosts.proto. */
export interface LookupReply {
  /** The addresses, best first. What is not an IP address is skipped. None: the name is not fixed here. */
  ips: readonly string[];
  /** True when ips holds something. Whoever asks looks at ips alone. */
  ok: boolean;
}

/** The table of {@link LookupReply}. */
export const LookupReply: MessageType<LookupReply> = {
  typeName: 'proto.LookupReply',
  fields: [
    { number: 1, name: 'ips', type: 'string', repeated: true },
    { number: 2, name: 'ok', type: 'bool', repeated: false },
  ],
};

/** The service of proto/hosts.proto. */
export const HostMapper = {
  typeName: 'proto.HostMapper',
  methods: {
    Lookup: { rpc: 'Lookup', request: LookupRequest, reply: LookupReply },
  },
} as const;
