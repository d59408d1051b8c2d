import type { Entry, ListValue, MappingValue, ScalarValue, Value } from '../schema/parse.ts';
import type { Place } from '../schema/source.ts';
import type { Part } from './cli-url.ts';

/** A part of a URL as the value that a file would hold. */
export function scalar({ text, place }: Part): ScalarValue {
  return { kind: 'scalar', value: text, text, place };
}

/** The same for a key whose value a file has without quotes: a number, `true` or `false`. */
export function plain({ text, place }: Part): ScalarValue {
  const value = /^\d{1,9}$/.test(text)
    ? Number(text)
    : text === 'true' || text === 'false'
      ? text === 'true'
      : text;
  return { kind: 'scalar', value, text, place };
}

/** What is not written in the URL but follows from it, at the place that it follows from. */
export function implied(text: string, place: Place): ScalarValue {
  return { kind: 'scalar', value: text, text, place };
}

/** A list. */
export function listOf(place: Place, items: readonly Value[]): ListValue {
  return { kind: 'list', items, place };
}

/** A mapping of the keys that have a value; a key stands where its value does. */
export function mappingOf(
  place: Place,
  values: Readonly<Record<string, Value | undefined>>,
  further: readonly Entry[] = [],
): MappingValue {
  const entries = Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, place: value.place, value }],
  );
  return { kind: 'mapping', entries: [...entries, ...further], place };
}

/** The same; undefined where it would be empty. */
export function mappingOrNothing(
  place: Place,
  values: Readonly<Record<string, Value | undefined>>,
  further: readonly Entry[] = [],
): MappingValue | undefined {
  const made = mappingOf(place, values, further);
  return made.entries.length === 0 ? undefined : made;
}
