import { durationMs, wrongType } from './read.ts';
import type { Reader } from './read.ts';

/**
 * A duration in `metadata`, in milliseconds: as {@link durationMs}, but there a number without a unit means seconds, as in
 * GOST.
 */
export function metadataDurationMs(): Reader<number> {
  return (value, path, reading) => {
    if (value.kind === 'scalar' && /^\d+$/.test(value.text)) {
      // Nobody means a number of seconds that long; it is nanoseconds, which GOST would take for seconds.
      if (value.text.length > 9)
        return wrongType(value, path, reading, 'a duration such as `10s`; a number means seconds here');
      return Number(value.text) * 1000;
    }
    return durationMs()(value, path, reading);
  };
}
