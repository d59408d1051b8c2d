import { metadataDurationMs } from '../../schema/durations.ts';
import { flag, optional } from '../../schema/read.ts';
import type { FromFields } from '../../schema/read.ts';

/** What `handler.metadata` may say. */
export const handlerFields = {
  /** For the first bytes of a connection, and for an origin to begin its answer. GOST's default, 15 s, counts for 0 as well. */
  readTimeoutMs: optional(metadataDurationMs(), 'readTimeout'),
  /** For the first bytes; in place of `readTimeout`. */
  sniffingTimeoutMs: optional(metadataDurationMs(), 'sniffing.timeout'),
  /** This handler always looks; the key changes nothing. */
  sniffing: optional(flag()),
  /** Ends what is idle. */
  idleTimeoutMs: optional(metadataDurationMs(), 'idleTimeout'),
} as const;

export type HandlerMetadata = Partial<FromFields<typeof handlerFields>>;

export const defaultReadTimeoutMs = 15_000;
