import type { JsonObject } from '@sallyport/plugin';

/** Where records go. One recorder of the file is one sink, whoever uses it. Whoever made it closes it. */
export interface RecordSink {
  /** Takes a record. It returns at once and never throws; what there is no room for is dropped and counted. */
  put(data: Uint8Array, metadata: JsonObject | null): void;
  /**
   * Hands over what waits, for at most as long as the sink was told when it was made (default 5 s), and lets go of what it
   * holds. What cannot be handed over by then is counted as dropped. Never rejects.
   */
  close(): Promise<void>;
  /** Records that were dropped so far: there was no room, or nobody to take them at the end. */
  readonly dropped: number;
}

/** Told what a person should know, rarely: once when something begins and once when it is over. */
export type Note = (text: string, level: 'info' | 'warn') => void;

/** How much may wait at a sink. */
export interface RecordLimits {
  /** Default 10,000. */
  readonly maxRecords?: number;
  /** Default 16 MiB. */
  readonly maxBytes?: number;
}

/** How long `close` waits, in milliseconds: as long as a plugin may take for one call. */
export const defaultCloseMs = 5_000;
