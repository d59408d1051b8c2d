import type { Value } from './parse.ts';

/** A value of the tree as JSON text. Keys keep their spelling; a number stays as it was written. */
export function valueToJson(value: Value): string {
  switch (value.kind) {
    case 'list':
      return `[${value.items.map(valueToJson).join(',')}]`;
    case 'mapping':
      return `{${value.entries.map(({ key, value: inner }) => `${JSON.stringify(key)}:${valueToJson(inner)}`).join(',')}}`;
    case 'scalar':
      if (typeof value.value === 'string') return JSON.stringify(value.value);
      if (value.value === null || typeof value.value === 'boolean') return String(value.value);
      // Whole numbers beyond 2^53 are exact only as they were written.
      if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(value.text)) return value.text;
      // YAML's other spellings (`0x10`, `.5`); what JSON has no number for (`.inf`) stays a text.
      return JSON.stringify(Number.isFinite(value.value) ? value.value : value.text);
  }
}
