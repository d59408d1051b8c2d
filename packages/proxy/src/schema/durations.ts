import { durationMs } from './read.ts';
import type { Reader } from './read.ts';

/**
 * A duration in `metadata`, in milliseconds: as {@link durationMs}, but there a number without a unit means seconds, as in
 * GOST.
 */
export function metadataDurationMs(): Reader<number> {
  return (value, path, reading) => {
    if (value.kind === 'scalar' && /^\d{1,9}$/.test(value.text)) return Number(value.text) * 1000;
    return durationMs()(value, path, reading);
  };
}
