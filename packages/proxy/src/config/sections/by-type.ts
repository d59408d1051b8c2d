import { mapping, optional, required } from '../../schema/read.ts';
import type { Field, Fields, FromFields, Located, Reader } from '../../schema/read.ts';
import type { Value } from '../../schema/parse.ts';

/** What `metadata` was read as. Which keys it may have follows from the type beside it. */
export type Metadata = Readonly<Record<string, unknown>> & Located;

/** What {@link byType} answers. */
export type ByType<F extends Fields> = FromFields<F> & {
  readonly type: string;
  readonly metadata: Metadata | undefined;
};

/** A mapping with a `type` that says which keys its `metadata` may have. */
export interface ByTypeOptions<F extends Fields> {
  readonly type: Reader<string>;
  /** Absent: the type must be written. */
  readonly defaultType?: string;
  /** What is said when the type is missing. */
  readonly missing?: string;
  /** The other keys. */
  readonly fields: F;
  /** Of those the ones that this type reads in another way. */
  fieldsOf?(type: string): Partial<F>;
  readonly unserved: readonly string[];
  /** The keys of `metadata`, and those that only GOST has. */
  metadata(type: string): { readonly fields: Fields; readonly unserved: readonly string[] };
}

/** Reads a mapping whose `metadata` depends on its `type`. */
export function byType<F extends Fields>(options: ByTypeOptions<F>): Reader<ByType<F>> {
  const { defaultType, fields, unserved, missing } = options;
  const type: Field<string> =
    defaultType === undefined ? required(options.type, missing) : optional(options.type);
  const readers = new Map<string, Reader<FromFields<Fields>>>();
  /** Made when first needed: few files use all types. */
  const readerOf = (name: string | undefined) => {
    const key = name ?? '';
    let reader = readers.get(key);
    if (reader === undefined) {
      const known = name === undefined ? undefined : options.metadata(name);
      // Beside a type that is wrong nobody can say which keys are right.
      const metadata: Reader<unknown> =
        known === undefined ? () => undefined : mapping(known.fields, { unserved: known.unserved });
      const own = name === undefined ? {} : options.fieldsOf?.(name);
      const [needed] = Object.entries(known?.fields ?? {}).flatMap(
        ([property, { required: isNeeded, key: written }]) => (isNeeded ? [written ?? property] : []),
      );
      const block =
        needed === undefined
          ? optional(metadata)
          : required(metadata, `\`metadata\` is missing, in which \`${name!}\` needs \`${needed}\``);
      reader = mapping({ ...fields, ...own, type, metadata: block } as Fields, { unserved });
      readers.set(key, reader);
    }
    return reader;
  };
  return (value, path, reading) => {
    const written = typeIn(value);
    const name = written === undefined ? defaultType : options.type(written, path, quietly(reading));
    const found = readerOf(name)(value, path, reading);
    return found && ({ ...found, type: found['type'] ?? defaultType } as unknown as ByType<F>);
  };
}

function typeIn(value: Value): Value | undefined {
  if (value.kind !== 'mapping') return undefined;
  const found = value.entries.find(({ key }) => key.toLowerCase() === 'type')?.value;
  return found?.kind === 'scalar' && found.value === null ? undefined : found;
}

/** The type is read once more with the other keys; what is wrong with it is reported then. */
function quietly(reading: Parameters<Reader<string>>[2]): Parameters<Reader<string>>[2] {
  const report = { errors: [], warnings: [], more: 0, error: () => undefined, warn: () => undefined };
  return { ...reading, report };
}
