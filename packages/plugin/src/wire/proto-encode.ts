import { PluginError } from '../errors.ts';
import type { Field, MessageType, Scalar } from './proto.ts';

type Values = Readonly<Record<string, unknown>>;

/** One field, compiled: how many bytes it takes (0: left out), and how to write them. Both get the whole message. */
interface FieldEncoder {
  size(message: Values): number;
  /** Returns the offset behind what was written. */
  write(message: Values, out: Buffer, at: number): number;
}

/** One value of a field, without its tag. */
interface ValueEncoder {
  readonly wireType: 0 | 2;
  size(value: unknown): number;
  write(value: unknown, out: Buffer, at: number): number;
  /** True for proto3's zero value, which is not sent. */
  isZero(value: unknown): boolean;
}

// Up to here a loop in JavaScript is quicker than a call into the runtime's C++.
const shortText = 42;
const twoTo32 = 0x1_0000_0000;

const compiled = new WeakMap<MessageType<object>, readonly FieldEncoder[]>();

/**
 * Writes a message in the proto3 wire format (protobuf.dev, "Encoding"). Fields are written in the order of the table,
 * zero values are left out, a missing value counts as zero, broken UTF-16 becomes U+FFFD. The buffer is the caller's.
 * Throws PluginError `internal`, naming the field, when a value is not of its field's type: only our own side can
 * cause that, not the peer.
 */
export function encodeMessage<T extends object>(type: MessageType<T>, message: T): Buffer {
  const fields = encodersOf(type);
  const size = sizeOf(fields, message as Values);
  const out = Buffer.allocUnsafe(size);
  writeAll(fields, message as Values, out, 0);
  return out;
}

function encodersOf(type: MessageType<object>): readonly FieldEncoder[] {
  let fields = compiled.get(type);
  if (fields === undefined) {
    fields = type.fields.map((field) => compileField(type.typeName, field));
    compiled.set(type, fields);
  }
  return fields;
}

function sizeOf(fields: readonly FieldEncoder[], message: Values): number {
  let size = 0;
  for (let i = 0; i < fields.length; i++) size += fields[i]!.size(message);
  return size;
}

function writeAll(fields: readonly FieldEncoder[], message: Values, out: Buffer, at: number): number {
  for (let i = 0; i < fields.length; i++) at = fields[i]!.write(message, out, at);
  return at;
}

function compileField(typeName: string, field: Field): FieldEncoder {
  const { name } = field;
  const where = `${typeName}.${name}`;
  const value =
    typeof field.type === 'string' ? scalarEncoders[field.type](where) : messageEncoder(where, field.type);
  const tag = field.number * 8 + value.wireType;
  const tagSize = varintSize(tag);
  const writeTag =
    tag < 0x80
      ? (out: Buffer, at: number) => {
          out[at] = tag;
          return at + 1;
        }
      : (out: Buffer, at: number) => writeVarint(tag, out, at);

  if (field.repeated) {
    const listOf = (message: Values): readonly unknown[] => {
      const list = message[name];
      if (list === undefined || list === null) return [];
      if (!Array.isArray(list)) throw wrongValue(where, 'a list', list);
      return list;
    };
    return {
      size(message) {
        const list = listOf(message);
        let size = tagSize * list.length;
        for (let i = 0; i < list.length; i++) size += value.size(list[i]);
        return size;
      },
      write(message, out, at) {
        const list = listOf(message);
        for (let i = 0; i < list.length; i++) at = value.write(list[i], out, writeTag(out, at));
        return at;
      },
    };
  }
  return {
    size(message) {
      const one = message[name];
      return one === undefined || one === null || value.isZero(one) ? 0 : tagSize + value.size(one);
    },
    write(message, out, at) {
      const one = message[name];
      return one === undefined || one === null || value.isZero(one)
        ? at
        : value.write(one, out, writeTag(out, at));
    },
  };
}

const scalarEncoders: Readonly<Record<Scalar, (where: string) => ValueEncoder>> = {
  string: (where) => ({
    wireType: 2,
    isZero: (value) => value === '',
    size(value) {
      if (typeof value !== 'string') throw wrongValue(where, 'a string', value);
      const length = utf8Length(value);
      return varintSize(length) + length;
    },
    write: (value, out, at) => writeText(value as string, out, at),
  }),
  bytes: (where) => ({
    wireType: 2,
    isZero: (value) => value instanceof Uint8Array && value.length === 0,
    size(value) {
      if (!(value instanceof Uint8Array)) throw wrongValue(where, 'bytes', value);
      return varintSize(value.length) + value.length;
    },
    write(value, out, at) {
      const bytes = value as Uint8Array;
      at = writeVarint(bytes.length, out, at);
      out.set(bytes, at);
      return at + bytes.length;
    },
  }),
  bool: (where) => ({
    wireType: 0,
    isZero: (value) => value === false,
    size(value) {
      if (typeof value !== 'boolean') throw wrongValue(where, 'true or false', value);
      return 1;
    },
    write(value, out, at) {
      out[at] = value === true ? 1 : 0;
      return at + 1;
    },
  }),
  int64: (where) => integerEncoder(where, -(1n << 63n), (1n << 63n) - 1n),
  uint64: (where) => integerEncoder(where, 0n, (1n << 64n) - 1n),
  int32: (where) => integerEncoder(where, -0x8000_0000n, 0x7fff_ffffn),
};

function integerEncoder(where: string, min: bigint, max: bigint): ValueEncoder {
  const expected = `an integer from ${min} to ${max}`;
  const least = Number(min);
  const most = Number(max);
  /** A number that is certainly in range stays one; everything else becomes the bigint of its 64 bits. */
  const normal = (value: unknown): number | bigint => {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most) return value;
    if (typeof value === 'number' && (!Number.isInteger(value) || value < least)) {
      throw wrongValue(where, expected, value);
    }
    if (typeof value !== 'number' && typeof value !== 'bigint') throw wrongValue(where, expected, value);
    const big = BigInt(value);
    if (big < min || big > max) throw wrongValue(where, expected, value);
    return BigInt.asUintN(64, big);
  };
  return {
    wireType: 0,
    isZero: (value) => value === 0 || value === 0n,
    size(value) {
      const n = normal(value);
      return typeof n === 'number' ? varintSize(n) : bigVarintSize(n);
    },
    write(value, out, at) {
      const n = normal(value);
      return typeof n === 'number' ? writeVarint(n, out, at) : writeBigVarint(n, out, at);
    },
  };
}

function messageEncoder(where: string, type: MessageType<object>): ValueEncoder {
  // Compiled on first use: a message type may hold itself.
  let fields: readonly FieldEncoder[] | undefined;
  return {
    wireType: 2,
    isZero: () => false,
    size(value) {
      if (typeof value !== 'object' || value === null) throw wrongValue(where, 'a message', value);
      const size = sizeOf((fields ??= encodersOf(type)), value as Values);
      return varintSize(size) + size;
    },
    write(value, out, at) {
      const inner = (fields ??= encodersOf(type));
      at = writeVarint(sizeOf(inner, value as Values), out, at);
      return writeAll(inner, value as Values, out, at);
    },
  };
}

function wrongValue(where: string, expected: string, value: unknown): PluginError {
  const got = typeof value === 'string' ? 'a string' : value instanceof Object ? 'an object' : String(value);
  return new PluginError('internal', `${where} must be ${expected}, not ${got}`);
}

function utf8Length(text: string): number {
  if (text.length > shortText) return Buffer.byteLength(text);
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return Buffer.byteLength(text);
  }
  return text.length;
}

function writeText(text: string, out: Buffer, at: number): number {
  if (text.length > shortText) {
    const length = Buffer.byteLength(text);
    at = writeVarint(length, out, at);
    return at + (length === text.length ? out.write(text, at, 'latin1') : out.write(text, at, 'utf8'));
  }
  // At most three bytes a UTF-16 unit: the length of so short a text is one byte whatever its characters are.
  const start = at + 1;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) {
      const length = out.write(text, start, 'utf8');
      out[at] = length;
      return start + length;
    }
    out[start + i] = unit;
  }
  out[at] = text.length;
  return start + text.length;
}

function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  if (value < 0x1000_0000) return 4;
  let size = 5;
  for (let rest = value / 0x8_0000_0000; rest >= 1; rest /= 128) size++;
  return size;
}

function writeVarint(value: number, out: Buffer, at: number): number {
  while (value >= twoTo32) {
    out[at++] = (value % 128) | 0x80;
    value = Math.floor(value / 128);
  }
  while (value >= 0x80) {
    out[at++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  out[at] = value;
  return at + 1;
}

function bigVarintSize(value: bigint): number {
  let size = 1;
  for (let rest = value >> 7n; rest > 0n; rest >>= 7n) size++;
  return size;
}

function writeBigVarint(value: bigint, out: Buffer, at: number): number {
  while (value >= 0x80n) {
    out[at++] = Number(value & 0x7fn) | 0x80;
    value >>= 7n;
  }
  out[at] = Number(value);
  return at + 1;
}
