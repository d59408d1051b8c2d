import { PluginError } from '../errors.ts';
import { parseJson, type JsonObject, type JsonValue } from './json-read.ts';
import { writeJsonString } from './json-write.ts';
import { nilBytes, type Field, type MessageType, type Scalar } from './proto.ts';

export { parseJson, type JsonObject, type JsonValue } from './json-read.ts';
export { writeJson, writeJsonString } from './json-write.ts';

/** How a message looks as JSON. Keys are the names of the table's fields. */
export interface JsonShape {
  /** The keys in GOST's order; a trailing `?` means: left out when empty. Others of the table are neither read nor written. */
  readonly keys: readonly string[];
  /** The same for messages inside, by type name. Absent: all fields in the order of the table. */
  readonly nested?: Readonly<Record<string, readonly string[]>>;
  /** A second key that is read when the first is absent or empty. */
  readonly alias?: Readonly<Record<string, string>>;
  /** Keys without which the object is no answer. */
  readonly required?: readonly string[];
}

type Values = Readonly<Record<string, unknown>>;
type WriteValue = (value: unknown) => string;
type ReadValue = (value: JsonValue) => unknown;

const int64 = { min: -(1n << 63n), max: (1n << 63n) - 1n };
const uint64 = { min: 0n, max: (1n << 64n) - 1n };
const int32 = { min: -0x8000_0000n, max: 0x7fff_ffffn };

/**
 * Derives the writer of a message as Go's encoding/json writes GOST's structs: keys in order, zero values present, no
 * white space, integers as numbers, bytes as padded base64 ({@link nilBytes} as `null`), lists never `null`. The writer
 * throws PluginError `internal`, naming the key, for a value that is not of its field's type.
 */
export function createJsonWriter<T extends object>(
  type: MessageType<T>,
  shape: JsonShape,
): (message: T) => string {
  return writerOf(type, shape.keys, shape) as (message: T) => string;
}

function writerOf(
  type: MessageType<object>,
  keys: readonly string[],
  shape: JsonShape,
): (message: object) => string {
  const members = keys.map((key) => {
    const optional = key.endsWith('?');
    const field = fieldOf(type, optional ? key.slice(0, -1) : key);
    const where = `${type.typeName}.${field.name}`;
    const one = valueWriter(field, where, shape);
    const write: WriteValue = field.repeated
      ? (value) => {
          if (!Array.isArray(value ?? [])) throw wrong('internal', where, 'a list');
          return `[${((value ?? []) as unknown[]).map(one).join(',')}]`;
        }
      : one;
    return { name: field.name, label: `${JSON.stringify(field.name)}:`, optional, write };
  });
  return (message) => {
    let text = '{';
    for (let i = 0; i < members.length; i++) {
      const { name, label, optional, write } = members[i]!;
      const value = (message as Values)[name];
      if (optional && isEmpty(value)) continue;
      text += text.length > 1 ? `,${label}${write(value)}` : label + write(value);
    }
    return `${text}}`;
  };
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === false || value === 0 || value === 0n)
    return true;
  return (Array.isArray(value) || value instanceof Uint8Array) && value.length === 0;
}

function valueWriter(field: Field, where: string, shape: JsonShape): WriteValue {
  if (typeof field.type === 'string') return scalarWriters[field.type](where);
  const { type } = field;
  const write = writerOf(type, shape.nested?.[type.typeName] ?? type.fields.map(({ name }) => name), shape);
  return (value) => {
    if (value === undefined || value === null) return 'null';
    if (typeof value !== 'object') throw wrong('internal', where, 'an object');
    return write(value);
  };
}

const scalarWriters: Readonly<Record<Scalar, (where: string) => WriteValue>> = {
  string: (where) => (value) => {
    if (value === undefined || value === null) return '""';
    if (typeof value !== 'string') throw wrong('internal', where, 'a string');
    return writeJsonString(value);
  },
  bool: (where) => (value) => {
    if (value === undefined || value === null) return 'false';
    if (typeof value !== 'boolean') throw wrong('internal', where, 'true or false');
    return String(value);
  },
  bytes: (where) => (value) => {
    if (value === undefined || value === null || value === nilBytes) return 'null';
    if (!(value instanceof Uint8Array)) throw wrong('internal', where, 'bytes');
    return `"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')}"`;
  },
  int64: (where) => integerWriter(where, int64),
  uint64: (where) => integerWriter(where, uint64),
  int32: (where) => integerWriter(where, int32),
};

function integerWriter(where: string, range: { min: bigint; max: bigint }): WriteValue {
  return (value) => String(integer(value ?? 0, where, range, 'internal'));
}

/**
 * Derives the reader of a message from JSON. The result has every field of the table. Strict where a guess could let
 * somebody in: one value and nothing after it, no key twice, keys in exactly their case (a key that differs only in its
 * case is an error, not an unknown key), integers in range and exact. Unknown keys are ignored, `null` is the zero value.
 * Throws PluginError `badReply`, naming the key.
 */
export function createJsonReader<T extends object>(
  type: MessageType<T>,
  shape: JsonShape,
): (bytes: Uint8Array) => T {
  const read = readerOf(type, shape.keys, shape);
  return (bytes) => read(parseJson(bytes), type.typeName) as T;
}

function readerOf(
  type: MessageType<object>,
  keys: readonly string[],
  shape: JsonShape,
): (value: JsonValue, where: string) => object {
  const names = keys.map((key) => key.replace(/\?$/, ''));
  const known = new Map<string, ReadValue>();
  for (const name of names) {
    known.set(name, fieldReader(type, fieldOf(type, name), shape));
  }
  const aliases = Object.entries(shape.alias ?? {}).map(([name, alias]) => ({
    name,
    alias,
    read: known.get(name)!,
  }));
  const spelled = [...known.keys(), ...aliases.map(({ alias }) => alias)];
  const inCase = new Map(spelled.map((key) => [key.toLowerCase(), key]));
  const zero = Object.fromEntries(type.fields.map((field) => [field.name, zeroOf(field)]));
  const lists = type.fields.filter(({ repeated }) => repeated).map(({ name }) => name);
  const required = (shape.required ?? []).filter((key) => known.has(key));

  return (value, where) => {
    if (value === null || typeof value !== 'object' || Array.isArray(value))
      throw wrong('badReply', where, 'an object');
    const object = value as JsonObject;
    for (const key of required) {
      if (!Object.hasOwn(object, key)) throw new PluginError('badReply', `${where} has no key "${key}"`);
    }
    const message: Record<string, unknown> = { ...zero };
    for (const name of lists) message[name] = [];
    for (const key of Object.keys(object)) {
      const read = known.get(key);
      if (read === undefined) {
        const meant = inCase.get(key.toLowerCase());
        if (meant === undefined || meant === key) continue;
        throw new PluginError('badReply', `${where} has the key "${key}" where "${meant}" is meant`);
      }
      const one = read(object[key]!);
      if (one !== undefined) message[key] = one;
    }
    for (const { name, alias, read } of aliases) {
      if (!isEmpty(message[name]) || !Object.hasOwn(object, alias)) continue;
      const one = read(object[alias]!);
      if (one !== undefined) message[name] = one;
    }
    return message;
  };
}

function zeroOf(field: Field): unknown {
  if (field.repeated || typeof field.type !== 'string') return undefined;
  return { string: '', bytes: nilBytes, bool: false, int64: 0, uint64: 0, int32: 0 }[field.type];
}

/** Reads one key's value; undefined for null, which leaves the zero value. */
function fieldReader(type: MessageType<object>, field: Field, shape: JsonShape): ReadValue {
  const where = `${type.typeName}.${field.name}`;
  const one =
    typeof field.type === 'string'
      ? scalarReaders[field.type](where)
      : messageReader(field.type, where, shape);
  if (!field.repeated) return (value) => (value === null ? undefined : one(value));
  return (value) => {
    if (value === null) return undefined;
    if (!Array.isArray(value)) throw wrong('badReply', where, 'a list');
    return value.map(one);
  };
}

function messageReader(type: MessageType<object>, where: string, shape: JsonShape): ReadValue {
  const keys = shape.nested?.[type.typeName] ?? type.fields.map(({ name }) => name);
  const read = readerOf(type, keys, { keys, nested: shape.nested });
  return (value) => read(value, where);
}

const scalarReaders: Readonly<Record<Scalar, (where: string) => ReadValue>> = {
  string: (where) => (value) => {
    if (typeof value !== 'string') throw wrong('badReply', where, 'a string');
    return value;
  },
  bool: (where) => (value) => {
    if (typeof value !== 'boolean') throw wrong('badReply', where, 'true or false');
    return value;
  },
  bytes: (where) => (value) => {
    if (typeof value !== 'string') throw wrong('badReply', where, 'a string of base64');
    return readBase64(value, where);
  },
  int64: (where) => (value) => integer(value, where, int64, 'badReply'),
  uint64: (where) => (value) => integer(value, where, uint64, 'badReply'),
  int32: (where) => (value) => integer(value, where, int32, 'badReply'),
};

/** Base64 as Go's StdEncoding takes it: the standard alphabet, padded, line ends anywhere. */
function readBase64(text: string, where: string): Buffer {
  const dense = /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, '') : text;
  if (dense.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(dense))
    throw wrong('badReply', where, 'base64');
  return Buffer.from(dense, 'base64');
}

function integer(
  value: unknown,
  where: string,
  range: { min: bigint; max: bigint },
  code: 'badReply' | 'internal',
): number | bigint {
  // A number beyond the safe range has been rounded already, unless it is our own.
  const whole =
    typeof value === 'number' &&
    (code === 'internal' ? Number.isInteger(value) : Number.isSafeInteger(value));
  if (!(whole || typeof value === 'bigint') || value < range.min || value > range.max) {
    throw wrong(code, where, `an integer from ${range.min} to ${range.max}`);
  }
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value + 0;
  const exact = BigInt(value);
  return exact >= Number.MIN_SAFE_INTEGER && exact <= Number.MAX_SAFE_INTEGER ? Number(exact) : exact;
}

function fieldOf(type: MessageType<object>, name: string): Field {
  const field = type.fields.find((one) => one.name === name);
  if (field === undefined) throw new PluginError('internal', `${type.typeName} has no field ${name}`);
  return field;
}

function wrong(code: 'badReply' | 'internal', where: string, expected: string): PluginError {
  return new PluginError(code, `${where} must be ${expected}`);
}
