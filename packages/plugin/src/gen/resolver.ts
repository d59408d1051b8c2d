// Written by scripts/generate.ts from proto/resolver.proto. Do not edit: change the .proto and run "npm run generate".
import type { MessageType } from '../wire/proto.ts';

/** proto.ResolveRequest of proto/resolver.proto. */
export interface ResolveRequest {
  /** ip; ip4 or ip6 when only that family is wanted. */
  network: string;
  /** The name without a port. It may be an IP address already. */
  host: string;
  /** The user's id, as the authenticator gave it. Empty for an unknown user. */
  client: string;
}

/** The table of {@link ResolveRequest}. */
export const ResolveRequest: MessageType<ResolveRequest> = {
  typeName: 'proto.ResolveRequest',
  fields: [
    { number: 1, name: 'network', type: 'string', repeated: false },
    { number: 2, name: 'host', type: 'string', repeated: false },
    { number: 3, name: 'client', type: 'string', repeated: false },
  ],
};

/** proto.ResolveReply of proto/resolver.proto. */
export interface ResolveReply {
  /** The addresses, best first. What is not an IP address is skipped. */
  ips: readonly string[];
  /** False: the name has no address, whatever ips holds. */
  ok: boolean;
}

/** The table of {@link ResolveReply}. */
export const ResolveReply: MessageType<ResolveReply> = {
  typeName: 'proto.ResolveReply',
  fields: [
    { number: 1, name: 'ips', type: 'string', repeated: true },
    { number: 2, name: 'ok', type: 'bool', repeated: false },
  ],
};

/** The service of proto/resolver.proto. */
export const Resolver = {
  typeName: 'proto.Resolver',
  methods: {
    Resolve: { rpc: 'Resolve', request: ResolveRequest, reply: ResolveReply },
  },
} as const;
