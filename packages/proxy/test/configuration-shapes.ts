// What a file may hold, as the readers themselves say it: every mapping, its keys, and the words that a key may be.
import { createReport } from '../src/schema/report.ts';
import { createSource } from '../src/schema/source.ts';
import type { Value } from '../src/schema/parse.ts';
import type { Reader, Shape } from '../src/schema/read.ts';
import { servedTypes } from '../src/config/sections/blocks.ts';
import { readConfig } from '../src/config/sections/services.ts';

/** One mapping of the file. */
export interface Served {
  /** Where it stands, lists included: `services.handler.metadata`. Empty: the file itself. */
  readonly path: string;
  /** What the block's `type` is, for the metadata of a block that has types. */
  readonly type: string | undefined;
  /** Every key with its other names. */
  readonly keys: readonly string[];
  readonly unserved: readonly string[];
}

/** What one key may be, where that is one word of several. */
export interface ServedWord {
  readonly path: string;
  readonly words: readonly string[];
  readonly unserved: readonly string[];
}

const place = { source: createSource('walk', ''), offset: 0 };
const textOf = (text: string): Value => ({ kind: 'scalar', value: text, text, place });
const mappingOf = (entries: Readonly<Record<string, Value>> = {}): Value => ({
  kind: 'mapping',
  entries: Object.entries(entries).map(([key, value]) => ({ key, value, place })),
  place,
});

/** What a reader says of itself when it is given this. */
function shapesOf(read: Reader<unknown>, value: Value): Shape[] {
  const shapes: Shape[] = [];
  read(value, '', { report: createReport(), lenient: false, onShape: (shape) => shapes.push(shape) });
  return shapes;
}

/** Every mapping that a file may hold, and every key that is a word of several. */
export function walkConfig(): {
  readonly mappings: readonly Served[];
  readonly words: readonly ServedWord[];
} {
  const mappings: Served[] = [];
  const words: ServedWord[] = [];

  const walk = (read: Reader<unknown>, path: string): void => {
    // A list is read by its items.
    const first = [mappingOf(), { kind: 'list', items: [mappingOf()], place } as const]
      .map((value) => shapesOf(read, value))
      .find((shapes) => shapes.length > 0);
    for (const word of (first ?? []).filter((shape) => shape.kind === 'word'))
      words.push({ path, words: word.words, unserved: word.unserved });
    const shape = first?.find((one) => one.kind === 'mapping');
    if (shape === undefined) return;
    enter(shape, path, undefined);
    const side = /(?:^|\.)(handler|listener|connector|dialer)$/.exec(path)?.[1];
    if (side === undefined) return;
    for (const type of servedTypes[side as keyof typeof servedTypes]) {
      const block = mappingOf({ type: textOf(type), metadata: mappingOf() });
      const metadata = shapesOf(read, block)
        .filter((one) => one.kind === 'mapping')
        .at(-1)!;
      enter(metadata, `${path}.metadata`, type);
    }
  };
  const enter = (
    shape: Extract<Shape, { kind: 'mapping' }>,
    path: string,
    type: string | undefined,
  ): void => {
    const { fields, unserved } = shape;
    const keyed = Object.entries(fields).map(([property, { read, key, aliases = [] }]) => {
      return { read, key: key ?? property, aliases };
    });
    mappings.push({ path, type, keys: keyed.flatMap(({ key, aliases }) => [key, ...aliases]), unserved });
    const typed = /(?:^|\.)(handler|listener|connector|dialer)$/.test(path);
    for (const { read, key } of keyed) {
      if (typed && key === 'metadata') continue;
      walk(read, path === '' ? key : `${path}.${key}`);
    }
  };

  walk(readConfig, '');
  return { mappings, words };
}
