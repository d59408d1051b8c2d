// Written by scripts/generate.ts from proto/sd.proto. Do not edit: change the .proto and run "npm run generate".
import type { MessageType } from '../wire/proto.ts';

/** proto.Service of proto/sd.proto. */
export interface Service {
  /** One connection that serves: the UUID of a tunnel's connector, or of a site. */
  id: string;
  /** What others look for: the UUID of the tunnel, or site@router. */
  name: string;
  /** The UUID of the machine's handler that holds the connection. */
  node: string;
  /** tcp or udp. */
  network: string;
  /** Where that machine takes visitors, as host:port. */
  address: string;
}

/** The table of {@link Service}. */
export const Service: MessageType<Service> = {
  typeName: 'proto.Service',
  fields: [
    { number: 1, name: 'id', type: 'string', repeated: false },
    { number: 2, name: 'name', type: 'string', repeated: false },
    { number: 3, name: 'node', type: 'string', repeated: false },
    { number: 4, name: 'network', type: 'string', repeated: false },
    { number: 5, name: 'address', type: 'string', repeated: false },
  ],
};

/** proto.RegisterRequest of proto/sd.proto. */
export interface RegisterRequest {
  service: Service | undefined;
}

/** The table of {@link RegisterRequest}. */
export const RegisterRequest: MessageType<RegisterRequest> = {
  typeName: 'proto.RegisterRequest',
  fields: [
    { number: 1, name: 'service', type: Service, repeated: false },
  ],
};

/** proto.RegisterReply of proto/sd.proto. */
export interface RegisterReply {
  /** Not looked at: what counts is that the call succeeded. */
  ok: boolean;
}

/** The table of {@link RegisterReply}. */
export const RegisterReply: MessageType<RegisterReply> = {
  typeName: 'proto.RegisterReply',
  fields: [
    { number: 1, name: 'ok', type: 'bool', repeated: false },
  ],
};

/** proto.DeregisterRequest of proto/sd.proto. */
export interface DeregisterRequest {
  service: Service | undefined;
}

/** The table of {@link DeregisterRequest}. */
export const DeregisterRequest: MessageType<DeregisterRequest> = {
  typeName: 'proto.DeregisterRequest',
  fields: [
    { number: 1, name: 'service', type: Service, repeated: false },
  ],
};

/** proto.DeregisterReply of proto/sd.proto. */
export interface DeregisterReply {
  /** Not looked at: what counts is that the call succeeded. */
  ok: boolean;
}

/** The table of {@link DeregisterReply}. */
export const DeregisterReply: MessageType<DeregisterReply> = {
  typeName: 'proto.DeregisterReply',
  fields: [
    { number: 1, name: 'ok', type: 'bool', repeated: false },
  ],
};

/** proto.RenewRequest of proto/sd.proto. */
export interface RenewRequest {
  service: Service | undefined;
}

/** The table of {@link RenewRequest}. */
export const RenewRequest: MessageType<RenewRequest> = {
  typeName: 'proto.RenewRequest',
  fields: [
    { number: 1, name: 'service', type: Service, repeated: false },
  ],
};

/** proto.RenewReply of proto/sd.proto. */
export interface RenewReply {
  /** Not looked at: what counts is that the call succeeded. */
  ok: boolean;
}

/** The table of {@link RenewReply}. */
export const RenewReply: MessageType<RenewReply> = {
  typeName: 'proto.RenewReply',
  fields: [
    { number: 1, name: 'ok', type: 'bool', repeated: false },
  ],
};

/** proto.GetServiceRequest of proto/sd.proto. */
export interface GetServiceRequest {
  /** The name under which services registered. */
  name: string;
}

/** The table of {@link GetServiceRequest}. */
export const GetServiceRequest: MessageType<GetServiceRequest> = {
  typeName: 'proto.GetServiceRequest',
  fields: [
    { number: 1, name: 'name', type: 'string', repeated: false },
  ],
};

/** proto.GetServiceReply of proto/sd.proto. */
export interface GetServiceReply {
  /** Every entry of that name that is still good, in any order. */
  services: readonly Service[];
}

/** The table of {@link GetServiceReply}. */
export const GetServiceReply: MessageType<GetServiceReply> = {
  typeName: 'proto.GetServiceReply',
  fields: [
    { number: 1, name: 'services', type: Service, repeated: true },
  ],
};

/** The service of proto/sd.proto. */
export const SD = {
  typeName: 'proto.SD',
  methods: {
    Register: { rpc: 'Register', request: RegisterRequest, reply: RegisterReply },
    Deregister: { rpc: 'Deregister', request: DeregisterRequest, reply: DeregisterReply },
    Renew: { rpc: 'Renew', request: RenewRequest, reply: RenewReply },
    Get: { rpc: 'Get', request: GetServiceRequest, reply: GetServiceReply },
  },
} as const;
