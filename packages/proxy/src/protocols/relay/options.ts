import { muxFields } from '../../core/mux/options.ts';
import { metadataDurationMs } from '../../schema/durations.ts';
import { flag, optional, whole } from '../../schema/read.ts';
import type { Field, FromFields } from '../../schema/read.ts';

/** What `handler.metadata` may say. */
export const handlerFields = {
  /** From the first byte to the whole request; GOST's default, 15 s, counts for 0 as well. */
  readTimeoutMs: optional(metadataDurationMs(), 'readTimeout'),
  /** True: BIND is served, and datagrams to any peer, which GOST counts as that. Default false, as in GOST. */
  bind: optional(flag()),
  /** True: a yes is said at once. Default false: it waits a moment for the target's first bytes, to go out with them. */
  nodelay: optional(flag()),
  /** GOST cuts longer datagrams; here every datagram is whole, and this changes nothing. */
  udpBufferSize: {
    read: whole(0),
    required: false,
    key: 'udp.bufferSize',
    aliases: ['udpBufferSize'],
  } satisfies Field<number, false>,
  /** True: what goes through is looked into and asked about, request by request. Default false. */
  sniffing: optional(flag()),
  /** How long the beginning of something may take before it is something else. */
  sniffingTimeoutMs: optional(metadataDurationMs(), 'sniffing.timeout'),
  /** Of the mux by which visitors of BIND come to the client; smux of version 1 unless it says otherwise, as in GOST. */
  ...muxFields,
} as const;

/** What `connector.metadata` may say. */
export const connectorFields = {
  /**
   * True: the request goes at once, and its answer is waited for. Default false, as in GOST: it waits a moment for the first
   * bytes that are to be sent, and the answer is read with what comes back.
   */
  nodelay: optional(flag()),
  /** How long the node may take to answer, where the answer is waited for. Default: as long as the dial may. */
  connectTimeoutMs: optional(metadataDurationMs(), 'connectTimeout'),
  /** As of the handler. */
  ...muxFields,
} as const;

export type HandlerMetadata = Partial<FromFields<typeof handlerFields>>;
export type ConnectorMetadata = Partial<FromFields<typeof connectorFields>>;

/**
 * How long a request or a yes waits for the bytes that it can go out with. GOST waits for ever, and whoever is behind the other
 * end and waits for it to speak first does so as well. Ten milliseconds outlast a program that has its first bytes ready, and
 * nobody notices them.
 */
export const glueMs = 10;
