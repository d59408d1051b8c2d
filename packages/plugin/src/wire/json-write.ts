import { PluginError } from '../errors.ts';
import { maxJsonDepth } from './json-read.ts';

// What JSON.stringify writes otherwise than Go, found in its output: an escaped backslash is matched first, so that what
// follows it is not taken for an escape.
const differing = /\\\\|\\ud[89a-f][0-9a-f]{2}|[<>&\u2028\u2029]/g;

const named: Readonly<Record<string, string>> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
  '\\\\': '\\\\',
};

/**
 * Writes a string exactly as Go's encoding/json does from Go 1.22 on: `<`, `>`, `&`, U+2028 and U+2029 escaped, control
 * characters as \b \f \n \r \t or \u00xx, broken UTF-16 as the escape \ufffd, everything else as it is.
 */
export function writeJsonString(text: string): string {
  if (isPlain(text)) return `"${text}"`;
  // Every match that has no name is half a surrogate pair.
  return JSON.stringify(text).replace(differing, (found) => named[found] ?? '\\ufffd');
}

/** True for short text of printable ASCII that needs no escape: nearly every address and name. */
function isPlain(text: string): boolean {
  if (text.length > 64) return false;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || unit > 0x7e) return false;
    if (unit === 0x22 || unit === 0x26 || unit === 0x3c || unit === 0x3e || unit === 0x5c) return false;
  }
  return true;
}

/** How objects are written. */
export interface WriteOptions {
  /** Keys sorted by their bytes, as Go writes maps. Default: in the order that they have. */
  readonly sortKeys?: boolean;
}

/**
 * Writes any value as Go's encoding/json writes the same value: no white space, bigints as integers. Members that are
 * `undefined` are left out. Throws PluginError `internal` for what is no JSON (NaN, functions, circles).
 */
export function writeJson(value: unknown, options: WriteOptions = {}): string {
  return writeValue(value, options.sortKeys ?? false, 1);
}

function writeValue(value: unknown, sortKeys: boolean, depth: number): string {
  if (depth > maxJsonDepth)
    throw new PluginError('internal', `a value for JSON has more than ${maxJsonDepth} levels`);
  switch (typeof value) {
    case 'string':
      return writeJsonString(value);
    case 'boolean':
    case 'bigint':
      return String(value);
    case 'number':
      if (Number.isFinite(value)) return Object.is(value, -0) ? '-0' : String(value);
      break;
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value))
        return `[${value.map((one) => writeValue(one, sortKeys, depth + 1)).join(',')}]`;
      if (value instanceof Uint8Array) break;
      return writeObject(value as Record<string, unknown>, sortKeys, depth);
  }
  throw new PluginError(
    'internal',
    `a value for JSON is ${value instanceof Uint8Array ? 'bytes' : String(value)}`,
  );
}

function writeObject(object: Readonly<Record<string, unknown>>, sortKeys: boolean, depth: number): string {
  const keys = Object.keys(object).filter((key) => object[key] !== undefined);
  if (sortKeys) keys.sort(byBytes);
  return `{${keys.map((key) => `${writeJsonString(key)}:${writeValue(object[key], sortKeys, depth + 1)}`).join(',')}}`;
}

/** The order of UTF-8 bytes, which is Go's; UTF-16 orders characters beyond U+FFFF differently. */
function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
