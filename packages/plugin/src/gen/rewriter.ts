// Written by scripts/generate.ts from proto/rewriter.proto. Do not edit: change the .proto and run "npm run generate".
import type { MessageType } from '../wire/proto.ts';

/** proto.RewriteRequest of proto/rewriter.proto. */
export interface RewriteRequest {
  /** The body, or one event of a stream without the blank line that ends it. */
  data: Buffer;
  /**
   * A JSON object: sid (the session's id), direction (request or response), uri (path and query), and for event streams
   * sse_phase (start, event or end), event_index and stream_error.
   */
  metadata: Buffer;
}

/** The table of {@link RewriteRequest}. */
export const RewriteRequest: MessageType<RewriteRequest> = {
  typeName: 'proto.RewriteRequest',
  fields: [
    { number: 1, name: 'data', type: 'bytes', repeated: false },
    { number: 2, name: 'metadata', type: 'bytes', repeated: false },
  ],
};

/** proto.RewriteReply of proto/rewriter.proto. */
export interface RewriteReply {
  /** False: the body stays as it is. */
  ok: boolean;
  /** What stands in its place. Over gRPC nothing means that the body stays as it is: an empty body cannot be said. */
  data: Buffer;
}

/** The table of {@link RewriteReply}. */
export const RewriteReply: MessageType<RewriteReply> = {
  typeName: 'proto.RewriteReply',
  fields: [
    { number: 1, name: 'ok', type: 'bool', repeated: false },
    { number: 2, name: 'data', type: 'bytes', repeated: false },
  ],
};

/** The service of proto/rewriter.proto. */
export const Rewriter = {
  typeName: 'proto.Rewriter',
  methods: {
    Rewrite: { rpc: 'Rewrite', request: RewriteRequest, reply: RewriteReply },
  },
} as const;
