// Written by scripts/generate.ts from proto/ingress.proto. Do not edit: change the .proto and run "npm run generate".
import type { MessageType } from '../wire/proto.ts';

/** proto.GetRuleRequest of proto/ingress.proto. */
export interface GetRuleRequest {
  /** The name that the visitor asked for; with its port when it came in through an entrypoint. */
  host: string;
  /** The name of the tunnel service. */
  service: string;
}

/** The table of {@link GetRuleRequest}. */
export const GetRuleRequest: MessageType<GetRuleRequest> = {
  typeName: 'proto.GetRuleRequest',
  fields: [
    { number: 1, name: 'host', type: 'string', repeated: false },
    { number: 2, name: 'service', type: 'string', repeated: false },
  ],
};

/** proto.GetRuleReply of proto/ingress.proto. */
export interface GetRuleReply {
  /**
   * The tunnel's UUID; with a leading $ the tunnel is private, for visitors that come through the tunnel protocol only.
   * Empty: no tunnel serves this host.
   */
  endpoint: string;
}

/** The table of {@link GetRuleReply}. */
export const GetRuleReply: MessageType<GetRuleReply> = {
  typeName: 'proto.GetRuleReply',
  fields: [
    { number: 1, name: 'endpoint', type: 'string', repeated: false },
  ],
};

/** proto.SetRuleRequest of proto/ingress.proto. */
export interface SetRuleRequest {
  /** The host name, without a port. */
  host: string;
  /** The tunnel's UUID. */
  endpoint: string;
  /** The name of the tunnel service. */
  service: string;
}

/** The table of {@link SetRuleRequest}. */
export const SetRuleRequest: MessageType<SetRuleRequest> = {
  typeName: 'proto.SetRuleRequest',
  fields: [
    { number: 1, name: 'host', type: 'string', repeated: false },
    { number: 2, name: 'endpoint', type: 'string', repeated: false },
    { number: 3, name: 'service', type: 'string', repeated: false },
  ],
};

/** proto.SetRuleReply of proto/ingress.proto. */
export interface SetRuleReply {
  /** True: the rule is kept. False: it was not taken; the tunnel goes on without it. */
  ok: boolean;
}

/** The table of {@link SetRuleReply}. */
export const SetRuleReply: MessageType<SetRuleReply> = {
  typeName: 'proto.SetRuleReply',
  fields: [
    { number: 1, name: 'ok', type: 'bool', repeated: false },
  ],
};

/** The service of proto/ingress.proto. */
export const Ingress = {
  typeName: 'proto.Ingress',
  methods: {
    GetRule: { rpc: 'GetRule', request: GetRuleRequest, reply: GetRuleReply },
    SetRule: { rpc: 'SetRule', request: SetRuleRequest, reply: SetRuleReply },
  },
} as const;
