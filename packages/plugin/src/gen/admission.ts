// Written by scripts/generate.ts from proto/admission.proto. Do not edit: change the .proto and run "npm run generate".
import type { MessageType } from '../wire/proto.ts';

/** proto.AdmissionRequest of proto/admission.proto. */
export interface AdmissionRequest {
  /** Where the client connects from, as ip:port. A routing rule of a node asks with the bare ip. */
  addr: string;
  /** The name of the service that was connected to. Empty when a routing rule asks. */
  service: string;
  /** tcp or udp; ip when a routing rule asks. */
  network: string;
}

/** The table of {@link AdmissionRequest}. */
export const AdmissionRequest: MessageType<AdmissionRequest> = {
  typeName: 'proto.AdmissionRequest',
  fields: [
    { number: 1, name: 'addr', type: 'string', repeated: false },
    { number: 2, name: 'service', type: 'string', repeated: false },
    { number: 3, name: 'network', type: 'string', repeated: false },
  ],
};

/** proto.AdmissionReply of proto/admission.proto. */
export interface AdmissionReply {
  /** True: the connection goes on. False: it is closed at once, the datagram dropped. */
  ok: boolean;
}

/** The table of {@link AdmissionReply}. */
export const AdmissionReply: MessageType<AdmissionReply> = {
  typeName: 'proto.AdmissionReply',
  fields: [
    { number: 1, name: 'ok', type: 'bool', repeated: false },
  ],
};

/** The service of proto/admission.proto. */
export const Admission = {
  typeName: 'proto.Admission',
  methods: {
    Admit: { rpc: 'Admit', request: AdmissionRequest, reply: AdmissionReply },
  },
} as const;
