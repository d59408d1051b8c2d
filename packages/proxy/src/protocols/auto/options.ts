import { metadataDurationMs } from '../../schema/durations.ts';
import { optional } from '../../schema/read.ts';
import type { FromFields } from '../../schema/read.ts';

/** What `handler.metadata` may say for this protocol itself; the keys of those that it hands over to are theirs. */
export const handlerFields = {
  /** For the first bytes of a connection. GOST's default, 15 s, counts for 0 as well. */
  readTimeoutMs: optional(metadataDurationMs(), 'readTimeout'),
  /** For the first bytes; in place of `readTimeout`. */
  sniffingTimeoutMs: optional(metadataDurationMs(), 'sniffing.timeout'),
  /** Ends TLS that is passed on when nothing has moved for so long. */
  idleTimeoutMs: optional(metadataDurationMs(), 'idleTimeout'),
} as const;

export type HandlerMetadata = Partial<FromFields<typeof handlerFields>>;

export const defaultReadTimeoutMs = 15_000;
