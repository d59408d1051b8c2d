import { defineContract, type Method } from '../contract.ts';
import { PluginError } from '../errors.ts';
import { Rewriter, type RewriteReply, type RewriteRequest } from '../gen/rewriter.ts';
import type { JsonObject } from '../wire/go-json.ts';
import { nilBytes } from '../wire/proto.ts';
import { bytesOf } from './checked.ts';
import { metadataBytes, parseMetadata } from './metadata.ts';

/** One body, or one event of an event stream. */
export interface RewriterAsk {
  /** Empty at the end of an event stream. */
  readonly data: Uint8Array;
  /** `sid`, `direction` (`request` or `response`), `uri`; for event streams `sse_phase`, `event_index`, `stream_error`. */
  readonly metadata: JsonObject | null;
}

const rewrite: Method<RewriterAsk, Uint8Array | undefined, RewriteRequest, RewriteReply> = {
  ...Rewriter.methods.Rewrite,
  wire: {
    request: ({ data, metadata }) => ({ data: bytesOf(data), metadata: metadataBytes(metadata) }),
    ask: ({ data, metadata }) => ({ data, metadata: parseMetadata(metadata) }),
    answer: ({ ok, data }) => (!ok || data === nilBytes ? undefined : data),
    reply: (body, request, transport) => {
      if (body === undefined || (body.length === 0 && request.data.length === 0))
        return { ok: true, data: nilBytes };
      if (body.length > 0 || transport === 'http') return { ok: true, data: Buffer.from(body) };
      // The empty body would be read as "unchanged", and what the plugin wanted removed would be let through.
      throw new PluginError('internal', 'rewrite: an empty body cannot be said over gRPC, only over HTTP');
    },
  },
  http: { verb: 'POST', request: ['data', 'metadata'], reply: ['ok', 'data'] },
  coalesce: false,
  idempotent: true,
  timeoutMs: 5_000,
  onError: 'refuse',
  allow: { reply: undefined },
};

/** Shall this body be another? `undefined` leaves it as it is. */
export const rewriter = defineContract({
  kind: 'rewriter',
  section: 'rewriters',
  service: Rewriter.typeName,
  methods: { rewrite },
  combine: 'one',
});
