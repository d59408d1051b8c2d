import { metadataDurationMs } from '../../schema/durations.ts';
import { flag, optional } from '../../schema/read.ts';
import type { FromFields } from '../../schema/read.ts';

/** What `handler.metadata` may say. */
export const handlerFields = {
  /** From the first byte to the whole request; GOST's default, 15 s, counts for 0 as well. */
  readTimeoutMs: optional(metadataDurationMs(), 'readTimeout'),
  /** True: what goes through is looked into and asked about, request by request. Default false. */
  sniffing: optional(flag()),
  /** How long the beginning of something may take before it is something else. */
  sniffingTimeoutMs: optional(metadataDurationMs(), 'sniffing.timeout'),
} as const;

/** What `connector.metadata` may say. */
export const connectorFields = {
  /** True: names are looked up here, and the node is asked for the address. Default false: SOCKS4a. */
  disable4a: optional(flag()),
} as const;

export type HandlerMetadata = Partial<FromFields<typeof handlerFields>>;
export type ConnectorMetadata = Partial<FromFields<typeof connectorFields>>;

export const defaultReadTimeoutMs = 15_000;
