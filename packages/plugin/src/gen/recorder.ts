// Written by scripts/generate.ts from proto/recorder.proto. Do not edit: change the .proto and run "npm run generate".
import type { MessageType } from '../wire/proto.ts';

/** proto.RecordRequest of proto/recorder.proto. */
export interface RecordRequest {
  /** The record itself: an address as text, or a JSON object, as its kind has it. */
  data: Buffer;
  /** A JSON object with what the configuration says beside this recorder; null when it says nothing. */
  metadata: Buffer;
}

/** The table of {@link RecordRequest}. */
export const RecordRequest: MessageType<RecordRequest> = {
  typeName: 'proto.RecordRequest',
  fields: [
    { number: 1, name: 'data', type: 'bytes', repeated: false },
    { number: 2, name: 'metadata', type: 'bytes', repeated: false },
  ],
};

/** proto.RecordReply of proto/recorder.proto. */
export interface RecordReply {
  /** True: the record is kept. False: it is not, which the proxy logs and counts. */
  ok: boolean;
}

/** The table of {@link RecordReply}. */
export const RecordReply: MessageType<RecordReply> = {
  typeName: 'proto.RecordReply',
  fields: [
    { number: 1, name: 'ok', type: 'bool', repeated: false },
  ],
};

/** The service of proto/recorder.proto. */
export const Recorder = {
  typeName: 'proto.Recorder',
  methods: {
    Record: { rpc: 'Record', request: RecordRequest, reply: RecordReply },
  },
} as const;
