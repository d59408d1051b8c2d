import { text, wrongType } from './read.ts';
import type { Reader } from './read.ts';

/** A mapping whose keys are whatever they are and whose values are texts: headers, labels. In the order of the file. */
export function texts(): Reader<readonly (readonly [key: string, value: string])[]> {
  return (value, path, reading) => {
    if (value.kind !== 'mapping') return wrongType(value, path, reading, 'a mapping (`key: value`)');
    const found: [string, string][] = [];
    for (const entry of value.entries) {
      const empty = entry.value.kind === 'scalar' && entry.value.value === null;
      const written = empty ? '' : text()(entry.value, `${path}.${entry.key}`, reading);
      if (written !== undefined) found.push([entry.key, written]);
    }
    return found;
  };
}
