// Written by scripts/generate.ts from proto/router.proto. Do not edit: change the .proto and run "npm run generate".
import type { MessageType } from '../wire/proto.ts';

/** proto.GetRouteRequest of proto/router.proto. */
export interface GetRouteRequest {
  /** The packet's destination, an IP address. */
  dst: string;
  /** The UUID of the router, that is, of the private network. Empty for a TUN service. */
  id: string;
}

/** The table of {@link GetRouteRequest}. */
export const GetRouteRequest: MessageType<GetRouteRequest> = {
  typeName: 'proto.GetRouteRequest',
  fields: [
    { number: 1, name: 'dst', type: 'string', repeated: false },
    { number: 2, name: 'id', type: 'string', repeated: false },
  ],
};

/** proto.GetRouteReply of proto/router.proto. */
export interface GetRouteReply {
  /** The network that the route is good for, in CIDR notation, or the one address. Empty: no route. */
  dst: string;
  /** The name of the site, or the address, that packets to this network are handed to. */
  gateway: string;
}

/** The table of {@link GetRouteReply}. */
export const GetRouteReply: MessageType<GetRouteReply> = {
  typeName: 'proto.GetRouteReply',
  fields: [
    { number: 1, name: 'dst', type: 'string', repeated: false },
    { number: 2, name: 'gateway', type: 'string', repeated: false },
  ],
};

/** The service of proto/router.proto. */
export const Router = {
  typeName: 'proto.Router',
  methods: {
    GetRoute: { rpc: 'GetRoute', request: GetRouteRequest, reply: GetRouteReply },
  },
} as const;
