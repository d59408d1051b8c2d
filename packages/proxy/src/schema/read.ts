import { didYouMean, nearest } from './nearest.ts';
import type { MappingValue, Value } from './parse.ts';
import type { Report } from './report.ts';
import type { Place } from './source.ts';

/** What readers share while they read one text. */
export interface Reading {
  readonly report: Report;
  /** Unknown keys are warnings instead of errors. */
  readonly lenient: boolean;
  /** Told what each mapping and each word that is read could be, before it is read: for what is written from the readers. */
  readonly onShape?: (shape: Shape) => void;
}

/** What may stand at one place of a file, and what of GOST's this version does not serve there. */
export type Shape =
  | { readonly kind: 'mapping'; readonly fields: Fields; readonly unserved: readonly string[] }
  | { readonly kind: 'word'; readonly words: readonly string[]; readonly unserved: readonly string[] };

/**
 * Turns a value of the tree into what the program works with. Whatever is wrong goes to the report, and the answer is then
 * undefined or has gaps: results count only when the report has no errors. Error messages show what was written only where
 * it cannot be a credential.
 */
export type Reader<T> = (value: Value, path: string, reading: Reading) => T | undefined;

/** One key of a mapping. */
export interface Field<T, Required extends boolean = boolean> {
  readonly read: Reader<T>;
  readonly required: Required;
  /** The key in a file, in GOST's spelling, where it is not the name of the property. */
  readonly key?: string;
  /** Other keys that mean the same. */
  readonly aliases?: readonly string[];
  /** What is said when a required key is not there; absent: that it is missing. */
  readonly missing?: string;
  /** True where a key without a value would quietly leave a door open: then it is an error. */
  readonly refusesEmpty?: boolean;
}

/** Where a mapping and its keys stand. */
export interface Located {
  /** The place of the value of a key (GOST's spelling), or of the mapping itself; also for keys that are not there. */
  at(key?: string): Place;
  /** The place of the key itself: the line that a person would remove. */
  keyAt(key: string): Place;
  /** True when the key is written, also without a value, and also when this version does not serve it. */
  has(key: string): boolean;
  /** Where the mapping stands in the tree: `authers[0].plugin`. */
  path(): string;
}

/** A key that may be left out. An empty value (`key:`, `null`) is the same as leaving it out, as in GOST. */
export function optional<T>(read: Reader<T>, key?: string): Field<T, false> {
  return { read, required: false, key };
}

/** A key that must be there and not empty. */
export function required<T>(read: Reader<T>, missing?: string): Field<T, true> {
  return { read, required: true, missing };
}

/** A key that may be left out; but whoever writes it must write a value. For keys that keep people out. */
export function present<T>(read: Reader<T>): Field<T, false> {
  return { read, required: false, refusesEmpty: true };
}

type Read<F> = F extends Field<infer T> ? T : never;
export type Fields = Readonly<Record<string, Field<unknown>>>;

/** What a mapping of these fields is read as. */
export type FromFields<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Field<unknown, true> ? K : never]: Read<F[K]>;
} & {
  readonly [K in keyof F as F[K] extends Field<unknown, true> ? never : K]?: Read<F[K]>;
} & Located;

/** How {@link mapping} treats keys that are not among its fields. */
export interface MappingOptions {
  /** Keys that GOST has and this version does not serve. */
  readonly unserved?: readonly string[];
  /** The mapping holds credentials, so that a key in the wrong place may be one and is not shown. */
  readonly secret?: boolean;
}

/** A mapping with known keys. Capitals do not count in keys, as in GOST. */
export function mapping<F extends Fields>(fields: F, options: MappingOptions = {}): Reader<FromFields<F>> {
  const byKey = new Map<string, { property: string; key: string; field: Field<unknown> }>();
  for (const [property, field] of Object.entries(fields)) {
    // It would be taken for what every mapping knows of its places.
    if (['at', 'keyAt', 'has', 'path'].includes(property))
      throw new TypeError(`the key ${property} needs a property of another name`);
    const key = field.key ?? property;
    for (const name of [key, ...(field.aliases ?? [])])
      byKey.set(name.toLowerCase(), { property, key, field });
  }
  const served = Object.entries(fields).map(([property, field]) => field.key ?? property);
  const unserved = options.unserved ?? [];
  return (value, path, reading) => {
    reading.onShape?.({ kind: 'mapping', fields, unserved });
    if (value.kind !== 'mapping') return wrongType(value, path, reading, 'a mapping (`key: value`)');
    const result: Record<string, unknown> = {};
    const places = new Map<string, { key: Place; value: Place }>();
    const meant = new Set<string>();
    for (const entry of value.entries) {
      const known = byKey.get(entry.key.toLowerCase());
      if (known === undefined) {
        const hint = nearest(entry.key, served);
        if (hint !== undefined) meant.add(hint);
        const gost = unknownKey(entry, path, reading, { served, unserved, secret: options.secret ?? false });
        if (gost !== undefined) places.set(gost, { key: entry.place, value: entry.value.place });
        continue;
      }
      if (places.has(known.key)) {
        reading.report.error(
          entry.place,
          join(path, known.key),
          `\`${entry.key}\` is another name of a key that is given`,
        );
        continue;
      }
      places.set(known.key, { key: entry.place, value: entry.value.place });
      if (isNull(entry.value)) {
        if (known.field.refusesEmpty === true) {
          reading.report.error(
            entry.value.place,
            join(path, known.key),
            'is empty; give it a value or remove the key',
          );
        }
        continue;
      }
      result[known.property] = known.field.read(entry.value, join(path, known.key), reading);
    }
    for (const { key, field, property } of byKey.values()) {
      const place = places.get(key);
      if (!field.required || property in result) continue;
      result[property] = undefined;
      // One mistake is one message: `adr:` has been answered with "did you mean `addr`".
      if (place === undefined && meant.has(key) && !reading.lenient) continue;
      reading.report.error(
        place?.value ?? value.place,
        join(path, key),
        place === undefined ? (field.missing ?? `\`${key}\` is missing`) : 'is empty',
      );
    }
    const located: Located = {
      at: (key) => (key !== undefined && places.get(key)?.value) || value.place,
      keyAt: (key) => places.get(key)?.key ?? value.place,
      has: (key) => places.has(key),
      path: () => path,
    };
    return { ...result, ...located } as FromFields<F>;
  };
}

/** Answers GOST's spelling of a key that only GOST serves. */
function unknownKey(
  entry: MappingValue['entries'][number],
  path: string,
  reading: Reading,
  keys: { served: readonly string[]; unserved: readonly string[]; secret: boolean },
): string | undefined {
  const { key, place } = entry;
  const gost = keys.unserved.find((name) => name.toLowerCase() === key.toLowerCase());
  if (gost !== undefined) {
    reading.report.error(place, join(path, gost), `GOST's \`${gost}\` is not served by this version`);
    return gost;
  }
  const hint = didYouMean(key, [...keys.served, ...keys.unserved]);
  const shown = /^[A-Za-z_][\w.-]{0,39}$/.test(key) && (!keys.secret || hint !== '');
  const message = shown
    ? `unknown key \`${key}\`${hint}`
    : `unknown key (not shown, as it may be a credential); known here: ${keys.served.join(', ')}`;
  if (reading.lenient) reading.report.warn(place, path, `${message} (ignored, --lenient)`);
  else reading.report.error(place, path, message);
  return undefined;
}

/** A list. One value that is no list counts as a list of one, as in GOST. */
export function list<T>(read: Reader<T>): Reader<readonly T[]> {
  return (value, path, reading) => {
    const items = value.kind === 'list' ? value.items : [value];
    const result: T[] = [];
    for (const [index, item] of items.entries()) {
      const at = value.kind === 'list' ? `${path}[${String(index)}]` : path;
      if (isNull(item)) {
        reading.report.error(item.place, at, 'is empty');
        continue;
      }
      const one = read(item, at, reading);
      if (one !== undefined) result.push(one);
    }
    return result;
  };
}

/** A list of mappings: unlike {@link list}, a value that is no list is an error, and an absent list is empty. */
export function sections<T>(read: Reader<T>): Reader<readonly T[]> {
  const items = list(read);
  return (value, path, reading) =>
    value.kind === 'list' ? items(value, path, reading) : wrongType(value, path, reading, 'a list (`- …`)');
}

/** A text. A number counts as what is written: `0123` stays `0123`. */
export function text(what = 'a text', secret = false): Reader<string> {
  return (value, path, reading) => {
    if (value.kind !== 'scalar') return wrongType(value, path, reading, what);
    if (typeof value.value === 'boolean') {
      return wrongType(
        value,
        path,
        reading,
        secret ? `${what} (put it in quotes)` : `${what} (put \`${value.text}\` in quotes)`,
      );
    }
    return value.text;
  };
}

/** A text that is never shown. */
export function credential(what: string): Reader<string> {
  return text(what, true);
}

/** A text that holds something. */
export function filled(read: Reader<string>): Reader<string> {
  return (value, path, reading) => {
    const result = read(value, path, reading);
    if (result?.trim() !== '') return result;
    reading.report.error(value.place, path, 'is empty');
    return undefined;
  };
}

/** Yes or no. Quoted `"true"`, `"false"` and 0 and 1 count, as in GOST. */
export function flag(): Reader<boolean> {
  return (value, path, reading) => {
    if (value.kind === 'scalar') {
      if (typeof value.value === 'boolean') return value.value;
      const word = value.text.toLowerCase();
      if (word === 'true' || word === '1') return true;
      if (word === 'false' || word === '0') return false;
    }
    return wrongType(value, path, reading, '`true` or `false`');
  };
}

/** A whole number within bounds. */
export function whole(min: number, max = Number.MAX_SAFE_INTEGER): Reader<number> {
  return (value, path, reading) => {
    const number = value.kind === 'scalar' && /^[-+]?\d+$/.test(value.text) ? Number(value.text) : NaN;
    if (number >= min && number <= max) return number;
    const upTo =
      max === Number.MAX_SAFE_INTEGER
        ? `of at least ${String(min)}`
        : `from ${String(min)} to ${String(max)}`;
    return wrongType(value, path, reading, `a whole number ${upTo}`);
  };
}

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/**
 * Go's duration (`10s`, `1m30s`, `1.5h`, `250ms`) in milliseconds, never negative. A number without a unit means
 * nanoseconds, as in GOST; one that is probably meant as seconds draws a warning.
 */
export function durationMs(): Reader<number> {
  const wanted = 'a duration such as `10s`, `1m30s` or `250ms`';
  return (value, path, reading) => {
    if (value.kind !== 'scalar') return wrongType(value, path, reading, wanted);
    if (/^\d{1,19}$/.test(value.text)) {
      const nanoseconds = Number(value.text);
      if (nanoseconds > 0 && nanoseconds < 1e6) {
        reading.report.warn(
          value.place,
          path,
          `a number without a unit means nanoseconds, as in GOST; if ${value.text} seconds are meant, write \`${value.text}s\``,
        );
      }
      return nanoseconds / 1e6;
    }
    const parts = [...value.text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)];
    if (parts.length === 0 || parts.map(([all]) => all).join('') !== value.text) {
      return wrongType(value, path, reading, wanted);
    }
    return parts.reduce((sum, [, number, unit]) => sum + Number(number) * unitMs[unit!]!, 0);
  };
}

/** One word of several; capitals do not count. `unserved` are words of GOST that this version does not serve. */
export function word<const W extends string>(
  what: string,
  words: readonly W[],
  unserved: readonly string[] = [],
): Reader<W> {
  return (value, path, reading) => {
    reading.onShape?.({ kind: 'word', words, unserved });
    if (value.kind !== 'scalar') return wrongType(value, path, reading, `${what}: ${words.join(', ')}`);
    const wanted = value.text.toLowerCase();
    const found = words.find((candidate) => candidate.toLowerCase() === wanted);
    if (found !== undefined) return found;
    if (unserved.some((candidate) => candidate.toLowerCase() === wanted)) {
      reading.report.error(
        value.place,
        path,
        `GOST's ${what} \`${wanted}\` is not served by this version; served: ${words.join(', ')}`,
      );
      return undefined;
    }
    const hint = didYouMean(value.text, [...words, ...unserved]);
    const shown = isHarmless(value.text) ? ` \`${value.text}\`` : '';
    reading.report.error(value.place, path, `unknown ${what}${shown}${hint}; served: ${words.join(', ')}`);
    return undefined;
  };
}

/** Reports that something else was expected. What was written is not shown, only what kind of thing it is. */
export function wrongType(value: Value, path: string, reading: Reading, wanted: string): undefined {
  reading.report.error(value.place, path, `expected ${wanted}, found ${kindOf(value)}`);
  return undefined;
}

function kindOf(value: Value): string {
  if (value.kind !== 'scalar') return value.kind === 'list' ? 'a list' : 'a mapping';
  if (value.value === null) return 'nothing';
  if (typeof value.value === 'boolean') return 'a boolean';
  return typeof value.value === 'number' ? 'a number' : 'a text';
}

/** True for short plain words, which a message may repeat. */
function isHarmless(word: string): boolean {
  return /^[A-Za-z][\w-]{0,19}$/.test(word);
}

/** True for an empty value: `key:`, `~`, `null`. */
function isNull(value: Value): boolean {
  return value.kind === 'scalar' && value.value === null;
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
