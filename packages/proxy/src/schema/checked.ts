import { text } from './read.ts';
import type { Reader } from './read.ts';

/**
 * A text that `check` accepts. What `check` throws is reported at the text's own place; its message must not repeat what may
 * be a credential. `what` is what is said to be expected where no text stands: `a rule`.
 */
export function checked(what: string, check: (text: string) => unknown): Reader<string> {
  const read = text(what);
  return (value, path, reading) => {
    const written = read(value, path, reading);
    if (written === undefined) return undefined;
    try {
      check(written);
      return written;
    } catch (error) {
      reading.report.error(value.place, path, error instanceof Error ? error.message : String(error));
      return undefined;
    }
  };
}
