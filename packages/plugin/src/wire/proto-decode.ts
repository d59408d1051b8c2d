import { isAscii } from 'node:buffer';
import { PluginError } from '../errors.ts';
import type { Field, MessageType, Scalar } from './proto.ts';

type Values = Record<string, unknown>;

/**
 * No bytes at all, as opposed to bytes of length zero: Go's nil slice. It is told apart by identity. GOST's JSON writes
 * it as `null` and an empty slice as `""`; the proto3 wire cannot tell the two apart and decodes both as this one.
 */
export const nilBytes: Buffer = Buffer.alloc(0);

/** How deep messages may lie inside messages; protobuf's own implementations stop at 100 by default. */
const maxDepth = 100;

/** How many values one repeated field may have: two bytes on the wire can become an object a hundred times as large. */
const maxItems = 65_536;

// Up to here a loop in JavaScript is quicker than a call into the runtime's C++.
const shortText = 48;
const shortMessage = 512;

const twoTo32 = 0x1_0000_0000;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Where reading stands. `high` holds the upper 32 bits of the varint that was read last. */
interface Cursor {
  readonly bytes: Buffer;
  at: number;
  high: number;
  /** A short message as Latin-1, made for its first ASCII text: each text is then a slice instead of a call into C++. */
  latin1: string | undefined;
}

interface FieldDecoder {
  readonly field: Field;
  readonly where: string;
  readonly wireType: 0 | 2;
  /** Packed lists: the values' own wire type is 0 but they come in one piece. */
  readonly packable: boolean;
  read(cursor: Cursor, end: number, depth: number, before: unknown): unknown;
}

interface Plan {
  readonly typeName: string;
  readonly zero: Values;
  readonly lists: readonly string[];
  readonly byNumber: ReadonlyMap<number, FieldDecoder>;
  /** The fields numbered below 32, by number: what a Map does, quicker. */
  readonly low: readonly (FieldDecoder | undefined)[];
}

const compiled = new WeakMap<MessageType<object>, Plan>();

/**
 * Reads a message in the proto3 wire format (protobuf.dev, "Encoding"). The result has every field of the table.
 * Unknown fields are skipped, the last value of a scalar wins, messages that come twice are merged, packed lists are
 * understood. Bytes are copied, so nothing holds on to the input. Throws PluginError `badReply`, naming the field, for
 * anything else: cut short, an overlong varint, a group, a wire type that is not the field's, text that is not UTF-8,
 * messages nested more than 100 deep, a list of more than 65,536 values.
 */
export function decodeMessage<T extends object>(type: MessageType<T>, bytes: Uint8Array): T {
  const buffer = Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const plan = planOf(type);
  const message = zeroOf(plan);
  readMessage({ bytes: buffer, at: 0, high: 0, latin1: undefined }, buffer.length, plan, message, 1);
  return message as T;
}

function planOf(type: MessageType<object>): Plan {
  let plan = compiled.get(type);
  if (plan === undefined) {
    plan = compile(type);
    compiled.set(type, plan);
  }
  return plan;
}

function compile(type: MessageType<object>): Plan {
  const zero: Values = {};
  const lists: string[] = [];
  const byNumber = new Map<number, FieldDecoder>();
  const low: (FieldDecoder | undefined)[] = new Array<undefined>(32).fill(undefined);
  for (const field of type.fields) {
    zero[field.name] = zeroValue(field);
    if (field.repeated) lists.push(field.name);
    const decoder = compileField(type.typeName, field);
    byNumber.set(field.number, decoder);
    if (field.number < 32) low[field.number] = decoder;
  }
  return { typeName: type.typeName, zero, lists, byNumber, low };
}

function zeroValue(field: Field): unknown {
  if (typeof field.type !== 'string' || field.repeated) return undefined;
  return { string: '', bytes: nilBytes, bool: false, int64: 0, uint64: 0, int32: 0 }[field.type];
}

function zeroOf(plan: Plan): Values {
  const message = { ...plan.zero };
  for (let i = 0; i < plan.lists.length; i++) message[plan.lists[i]!] = [];
  return message;
}

function compileField(typeName: string, field: Field): FieldDecoder {
  const where = `${typeName}.${field.name}`;
  if (typeof field.type === 'string') {
    const wireType = field.type === 'string' || field.type === 'bytes' ? 2 : 0;
    return {
      field,
      where,
      wireType,
      packable: wireType === 0 && field.repeated,
      read: scalarReaders[field.type](where),
    };
  }
  const { type } = field;
  // Compiled on first use: a message type may hold itself.
  let plan: Plan | undefined;
  return {
    field,
    where,
    wireType: 2,
    packable: false,
    read(cursor, end, depth, before) {
      if (depth >= maxDepth) throw bad(where, `messages lie more than ${maxDepth} deep inside each other`);
      plan ??= planOf(type);
      const stop = endOf(cursor, end, where);
      const message = before === undefined ? zeroOf(plan) : (before as Values);
      readMessage(cursor, stop, plan, message, depth + 1);
      return message;
    },
  };
}

function readMessage(cursor: Cursor, end: number, plan: Plan, message: Values, depth: number): void {
  while (cursor.at < end) {
    const tag = readVarint(cursor, end, plan.typeName);
    const number = tag >>> 3;
    if (cursor.high !== 0 || number === 0) throw bad(plan.typeName, 'a field has no valid number');
    const decoder = number < 32 ? plan.low[number] : plan.byNumber.get(number);
    const wireType = tag & 7;
    if (decoder === undefined) {
      skip(cursor, end, wireType, `${plan.typeName} field ${number}`);
      continue;
    }
    const { field } = decoder;
    if (wireType !== decoder.wireType) {
      if (!(decoder.packable && wireType === 2))
        throw bad(decoder.where, `wire type ${wireType} is not the field's`);
      const list = message[field.name] as unknown[];
      for (const stop = endOf(cursor, end, decoder.where); cursor.at < stop;) {
        append(list, decoder.read(cursor, stop, depth, undefined), decoder.where);
      }
    } else if (field.repeated) {
      append(message[field.name] as unknown[], decoder.read(cursor, end, depth, undefined), decoder.where);
    } else {
      message[field.name] = decoder.read(cursor, end, depth, message[field.name]);
    }
  }
}

function append(list: unknown[], value: unknown, where: string): void {
  if (list.length >= maxItems) throw bad(where, `more than ${maxItems} values`);
  list.push(value);
}

const scalarReaders: Readonly<Record<Scalar, (where: string) => FieldDecoder['read']>> = {
  string: (where) => (cursor, end) => {
    const stop = endOf(cursor, end, where);
    const start = cursor.at;
    cursor.at = stop;
    return readText(cursor, start, stop, where);
  },
  bytes: (where) => (cursor, end) => {
    const stop = endOf(cursor, end, where);
    const start = cursor.at;
    cursor.at = stop;
    return start === stop ? nilBytes : Buffer.from(cursor.bytes.subarray(start, stop));
  },
  bool: (where) => (cursor, end) => readVarint(cursor, end, where) !== 0 || cursor.high !== 0,
  int64: (where) => (cursor, end) => {
    const low = readVarint(cursor, end, where);
    const high = cursor.high | 0;
    if (high >= -0x20_0000 && high < 0x20_0000) {
      const value = high * twoTo32 + low;
      if (Number.isSafeInteger(value)) return value;
    }
    return (BigInt(high) << 32n) | BigInt(low);
  },
  uint64: (where) => (cursor, end) => {
    const low = readVarint(cursor, end, where);
    const high = cursor.high;
    return high < 0x20_0000 ? high * twoTo32 + low : (BigInt(high) << 32n) | BigInt(low);
  },
  int32: (where) => (cursor, end) => readVarint(cursor, end, where) | 0,
};

function readText(cursor: Cursor, start: number, stop: number, where: string): string {
  const { bytes } = cursor;
  const length = stop - start;
  if (length === 0) return '';
  if (length <= shortText) {
    let i = start;
    while (i < stop && bytes[i]! < 0x80) i++;
    if (i === stop) {
      // A slice may keep the whole text alive, which is why only a short message is worth it.
      if (bytes.length > shortMessage) return bytes.toString('latin1', start, stop);
      cursor.latin1 ??= bytes.toString('latin1');
      return cursor.latin1.slice(start, stop);
    }
  }
  const part = bytes.subarray(start, stop);
  if (isAscii(part)) return bytes.toString('latin1', start, stop);
  try {
    return utf8.decode(part);
  } catch (cause) {
    throw bad(where, 'text is not UTF-8', cause);
  }
}

/** Reads a length and returns the offset at which the value ends, having checked that it lies inside. */
function endOf(cursor: Cursor, end: number, where: string): number {
  const length = readVarint(cursor, end, where);
  if (cursor.high !== 0 || length > end - cursor.at) throw bad(where, 'the message is cut short');
  return cursor.at + length;
}

/** Returns the lower 32 bits, unsigned; the upper 32 are in `cursor.high`. */
function readVarint(cursor: Cursor, end: number, where: string): number {
  const { bytes } = cursor;
  let { at } = cursor;
  if (at < end && bytes[at]! < 0x80) {
    cursor.high = 0;
    cursor.at = at + 1;
    return bytes[at]!;
  }
  let low = 0;
  let high = 0;
  for (let shift = 0; ; shift += 7) {
    if (at >= end) throw bad(where, 'the message is cut short');
    const byte = bytes[at++]!;
    // The tenth byte holds one bit: anything more does not fit into 64.
    if (shift === 63 && byte > 1) throw bad(where, 'a varint is longer than 64 bits');
    const bits = byte & 0x7f;
    if (shift < 28) low |= bits << shift;
    else if (shift === 28) {
      low |= bits << 28;
      high = bits >>> 4;
    } else high |= bits << (shift - 32);
    if (byte < 0x80) break;
  }
  cursor.at = at;
  cursor.high = high >>> 0;
  return low >>> 0;
}

function skip(cursor: Cursor, end: number, wireType: number, where: string): void {
  if (wireType === 0) readVarint(cursor, end, where);
  else if (wireType === 2) cursor.at = endOf(cursor, end, where);
  else if (wireType === 1 || wireType === 5) {
    const length = wireType === 1 ? 8 : 4;
    if (length > end - cursor.at) throw bad(where, 'the message is cut short');
    cursor.at += length;
  } else {
    throw bad(
      where,
      wireType === 3 || wireType === 4 ? 'groups are not proto3' : `wire type ${wireType} does not exist`,
    );
  }
}

function bad(where: string, what: string, cause?: unknown): PluginError {
  return new PluginError('badReply', `${where}: ${what}`, { cause });
}
