// Written by scripts/generate.ts from proto/hop.proto. Do not edit: change the .proto and run "npm run generate".
import type { MessageType } from '../wire/proto.ts';

/** proto.SelectRequest of proto/hop.proto. */
export interface SelectRequest {
  /** tcp or udp. Empty when a forwarder asks. */
  network: string;
  /**
   * The target as it will be dialled, resolved if the service resolves names: host:port or ip:port. Empty when a forwarder
   * asks; the bare name when a DNS service does.
   */
  addr: string;
  /**
   * The target as the client asked for it, host:port; in a forwarder the Host of the HTTP request or the server name of
   * the TLS handshake with its port. Empty where neither is known.
   */
  host: string;
  /** The user's id, as the authenticator gave it. Empty for an unknown user. */
  client: string;
  /** The path of the HTTP request, where a forwarder has seen one. Otherwise empty. */
  path: string;
  /** Where the client connects from, as ip:port. */
  src: string;
}

/** The table of {@link SelectRequest}. */
export const SelectRequest: MessageType<SelectRequest> = {
  typeName: 'proto.SelectRequest',
  fields: [
    { number: 1, name: 'network', type: 'string', repeated: false },
    { number: 2, name: 'addr', type: 'string', repeated: false },
    { number: 3, name: 'host', type: 'string', repeated: false },
    { number: 4, name: 'client', type: 'string', repeated: false },
    { number: 5, name: 'path', type: 'string', repeated: false },
    { number: 6, name: 'src', type: 'string', repeated: false },
  ],
};

/** proto.SelectReply of proto/hop.proto. */
export interface SelectReply {
  /**
   * The node, as JSON with the keys of a node in the proxy's configuration: name, addr, connector, dialer, …
   * Nothing, null, {} and a node without addr all mean that there is no node. Durations are whole nanoseconds.
   */
  node: Buffer;
}

/** The table of {@link SelectReply}. */
export const SelectReply: MessageType<SelectReply> = {
  typeName: 'proto.SelectReply',
  fields: [
    { number: 1, name: 'node', type: 'bytes', repeated: false },
  ],
};

/** The service of proto/hop.proto. */
export const Hop = {
  typeName: 'proto.Hop',
  methods: {
    Select: { rpc: 'Select', request: SelectRequest, reply: SelectReply },
  },
} as const;
