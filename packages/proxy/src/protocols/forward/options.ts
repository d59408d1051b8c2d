import { metadataDurationMs } from '../../schema/durations.ts';
import { flag, optional, whole } from '../../schema/read.ts';
import type { FromFields } from '../../schema/read.ts';

/** What `handler.metadata` may say. */
export const handlerFields = {
  /** How long a node may take to begin its answer to a request. */
  readTimeoutMs: optional(metadataDurationMs(), 'readTimeout'),
  /** Ends what is idle: a relay, and a connection between two requests. */
  idleTimeoutMs: optional(metadataDurationMs(), 'idleTimeout'),
  /** False: one request a connection, on both sides. Default true; GOST's default is false. */
  keepalive: { ...optional(flag(), 'http.keepalive'), aliases: ['keepalive'] },
  /** GOST cuts longer datagrams; here every datagram is whole, and this changes nothing. */
  bufferSize: optional(whole(0)),
  /** True: HTTP and TLS are looked into, and nodes are chosen by what they ask for. Default false. */
  sniffing: optional(flag()),
  /** How long a client may be silent before a node is asked whether it speaks first. */
  sniffingTimeoutMs: optional(metadataDurationMs(), 'sniffing.timeout'),
} as const;

export type HandlerMetadata = Partial<FromFields<typeof handlerFields>>;

/**
 * How long a client may be silent until it is taken for one that lets the server speak first, where the file does not say.
 * Those who speak first do so with the first packet; one second outlasts a packet that was lost, and is what a user of mail
 * or of a database hardly notices. Who speaks later is looked into all the same.
 */
export const defaultSniffMs = 1000;
