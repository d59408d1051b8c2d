import { isAscii } from 'node:buffer';
import { PluginError } from '../errors.ts';

/** A JSON value with exact integers: those beyond the safe range of a number are bigints. */
export type JsonValue = null | boolean | string | number | bigint | readonly JsonValue[] | JsonObject;

/** A JSON object. Keys keep the order in which they were written. */
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** Deeper nesting than any configuration of a node has; it bounds the stack. */
export const maxJsonDepth = 64;

const maxValues = 262_144;
const maxBytes = 64 * 1024 * 1024;
const maxDigits = 1_000;

const quote = 0x22;
const backslash = 0x5c;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const number = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

interface Cursor {
  readonly text: string;
  at: number;
  values: number;
}

/**
 * Reads exactly one JSON value (RFC 8259) with nothing but white space around it. Stricter than `JSON.parse`: a key may
 * stand only once in an object, and integers are exact. Half a surrogate pair in an escape becomes U+FFFD, as in Go.
 * Throws PluginError `badReply` for anything else, also for bytes that are not UTF-8, more than 64 levels, 262,144
 * values or 64 MiB. The message says where, never what: an answer may hold secrets.
 */
export function parseJson(bytes: Uint8Array): JsonValue {
  if (bytes.length > maxBytes) throw new PluginError('badReply', `not JSON: longer than ${maxBytes} bytes`);
  const cursor: Cursor = { text: decodeText(bytes), at: 0, values: 0 };
  const value = readValue(cursor, 1);
  skipSpace(cursor);
  if (cursor.at < cursor.text.length) throw bad(cursor, 'something follows the value');
  return value;
}

function decodeText(bytes: Uint8Array): string {
  if (Buffer.isBuffer(bytes) && isAscii(bytes)) return bytes.toString('latin1');
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new PluginError('badReply', 'not JSON: the text is not UTF-8', { cause });
  }
}

function readValue(cursor: Cursor, depth: number): JsonValue {
  if (depth > maxJsonDepth) throw bad(cursor, `more than ${maxJsonDepth} levels`);
  if (++cursor.values > maxValues) throw bad(cursor, `more than ${maxValues} values`);
  skipSpace(cursor);
  switch (cursor.text.charCodeAt(cursor.at)) {
    case 0x7b:
      return readObject(cursor, depth);
    case 0x5b:
      return readList(cursor, depth);
    case quote:
      return readString(cursor);
    case 0x74:
      return readWord(cursor, 'true', true);
    case 0x66:
      return readWord(cursor, 'false', false);
    case 0x6e:
      return readWord(cursor, 'null', null);
    default:
      return readNumber(cursor);
  }
}

function readObject(cursor: Cursor, depth: number): JsonObject {
  const object: Record<string, JsonValue> = {};
  cursor.at++;
  if (take(cursor, 0x7d)) return object;
  do {
    skipSpace(cursor);
    if (cursor.text.charCodeAt(cursor.at) !== quote) throw bad(cursor, 'a key is expected');
    const key = readString(cursor);
    if (Object.hasOwn(object, key))
      throw bad(cursor, `the key ${JSON.stringify(key.slice(0, 64))} stands twice`);
    if (!take(cursor, 0x3a)) throw bad(cursor, 'a colon is expected');
    const value = readValue(cursor, depth + 1);
    // Assigning to this one name would set the prototype instead of a key.
    if (key === '__proto__') {
      Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
    } else object[key] = value;
  } while (take(cursor, 0x2c));
  if (!take(cursor, 0x7d)) throw bad(cursor, 'a comma or the end of the object is expected');
  return object;
}

function readList(cursor: Cursor, depth: number): readonly JsonValue[] {
  const list: JsonValue[] = [];
  cursor.at++;
  if (take(cursor, 0x5d)) return list;
  do list.push(readValue(cursor, depth + 1));
  while (take(cursor, 0x2c));
  if (!take(cursor, 0x5d)) throw bad(cursor, 'a comma or the end of the list is expected');
  return list;
}

function readWord<T>(cursor: Cursor, word: string, value: T): T {
  if (!cursor.text.startsWith(word, cursor.at)) throw bad(cursor, 'a value is expected');
  cursor.at += word.length;
  return value;
}

function readNumber(cursor: Cursor): number | bigint {
  number.lastIndex = cursor.at;
  const found = number.exec(cursor.text);
  if (found === null) throw bad(cursor, 'a value is expected');
  const [literal, fraction, exponent] = found;
  if (literal.length > maxDigits) throw bad(cursor, `a number has more than ${maxDigits} digits`);
  const value = Number(literal);
  if (!Number.isFinite(value)) throw bad(cursor, 'a number is too large');
  cursor.at += literal.length;
  return fraction !== undefined || exponent !== undefined || Number.isSafeInteger(value)
    ? value
    : BigInt(literal);
}

function readString(cursor: Cursor): string {
  const { text } = cursor;
  let from = cursor.at + 1;
  let at = from;
  let built = '';
  let halves = false;
  for (;;) {
    const unit = text.charCodeAt(at);
    if (unit === quote) break;
    if (unit === backslash) {
      built += text.slice(from, at);
      const letter = text[at + 1] ?? '';
      if (letter === 'u') {
        const hex = text.slice(at + 2, at + 6);
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) throw bad({ text, at, values: 0 }, 'an escape is not valid');
        const code = parseInt(hex, 16);
        halves ||= code >= 0xd800 && code <= 0xdfff;
        built += String.fromCharCode(code);
        at += 6;
      } else {
        const plain = Object.hasOwn(escapes, letter) ? escapes[letter] : undefined;
        if (plain === undefined) throw bad({ text, at, values: 0 }, 'an escape is not valid');
        built += plain;
        at += 2;
      }
      from = at;
    } else if (unit >= 0x20) at++;
    else
      throw bad(
        { text, at, values: 0 },
        at < text.length ? 'a control character in a string' : 'a string is not closed',
      );
  }
  cursor.at = at + 1;
  if (built === '') return text.slice(from, at);
  const whole = built + text.slice(from, at);
  return halves ? wellFormed(whole) : whole;
}

/** Text whose broken UTF-16, half a surrogate pair, is U+FFFD instead. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

function take(cursor: Cursor, character: number): boolean {
  skipSpace(cursor);
  if (cursor.text.charCodeAt(cursor.at) !== character) return false;
  cursor.at++;
  return true;
}

function skipSpace(cursor: Cursor): void {
  for (;;) {
    const unit = cursor.text.charCodeAt(cursor.at);
    if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return;
    cursor.at++;
  }
}

function bad(cursor: Cursor, what: string): PluginError {
  const cut = cursor.at >= cursor.text.length ? ', but the text ends' : '';
  return new PluginError('badReply', `not JSON at character ${cursor.at}: ${what}${cut}`);
}
