import { defineContract, type Method } from '../contract.ts';
import { Recorder, type RecordReply, type RecordRequest } from '../gen/recorder.ts';
import type { JsonObject } from '../wire/go-json.ts';
import { bytesOf, yesOrNo } from './checked.ts';
import { metadataBytes, parseMetadata } from './metadata.ts';

/** One record. */
export interface RecorderAsk {
  /** An address as text, or JSON. An empty record is not worth a call: GOST sends none over HTTP. */
  readonly data: Uint8Array;
  /** What the configuration says beside the recorder. */
  readonly metadata: JsonObject | null;
}

const record: Method<RecorderAsk, boolean, RecordRequest, RecordReply> = {
  ...Recorder.methods.Record,
  wire: {
    request: ({ data, metadata }) => ({ data: bytesOf(data), metadata: metadataBytes(metadata) }),
    ask: ({ data, metadata }) => ({ data, metadata: parseMetadata(metadata) }),
    answer: ({ ok }) => ok,
    reply: (ok) => ({ ok: yesOrNo(ok, 'record') }),
  },
  http: { verb: 'POST', request: ['data', 'metadata'], reply: ['ok'] },
  coalesce: false,
  // Sent twice, it would be kept twice.
  idempotent: false,
  timeoutMs: 5_000,
  onError: 'queue',
  allow: { reply: true },
  // GOST sends no empty record over HTTP, and plugins written for it may not take one.
  known: ({ data }, transport) => (transport === 'http' && data.length === 0 ? { answer: true } : undefined),
};

/** Here is a record of what happened. False: the plugin did not keep it. */
export const recorder = defineContract({
  kind: 'recorder',
  section: 'recorders',
  service: Recorder.typeName,
  methods: { record },
  combine: 'each',
});
