import { PluginError } from '../errors.ts';
import { wellFormed } from './json-read.ts';
import type { MessageType } from './proto.ts';

/**
 * Derives the writer of a message as the query of a GET, as Go's net/url writes it: keys sorted, `+` for a space, all but
 * letters, digits and `-_.~` percent-encoded in upper case. A key with a trailing `?` is left out when empty. The result
 * has no `?` in front.
 */
export function createQueryWriter<T extends object>(
  type: MessageType<T>,
  keys: readonly string[],
): (message: T) => string {
  const sorted = keysOf(type, keys).sort((a, b) => (a.name < b.name ? -1 : 1));
  return (message) => {
    let query = '';
    for (const { name, optional } of sorted) {
      const value = (message as Readonly<Record<string, unknown>>)[name] ?? '';
      if (typeof value !== 'string')
        throw new PluginError('internal', `${type.typeName}.${name} must be a string`);
      if (optional && value === '') continue;
      query += `${query === '' ? '' : '&'}${name}=${escapeQuery(value)}`;
    }
    return query;
  };
}

/**
 * Derives the reader of a message from a query (without `?`). Keys that the message has not are ignored: they belong to
 * the configured address. Throws PluginError `badReply` when one of its keys stands twice or an escape is not valid.
 */
export function createQueryReader<T extends object>(
  type: MessageType<T>,
  keys: readonly string[],
): (query: string) => T {
  const names = new Set(keysOf(type, keys).map(({ name }) => name));
  return (query) => {
    const message: Record<string, string> = {};
    for (const { name } of type.fields) message[name] = '';
    const seen = new Set<string>();
    for (const part of query.split('&')) {
      const equals = part.indexOf('=');
      const name = unescapeQuery(equals < 0 ? part : part.slice(0, equals), 'query');
      if (!names.has(name)) continue;
      if (seen.has(name)) throw new PluginError('badReply', `the query has the key "${name}" twice`);
      seen.add(name);
      message[name] = equals < 0 ? '' : unescapeQuery(part.slice(equals + 1), `${type.typeName}.${name}`);
    }
    return message as T;
  };
}

function keysOf(type: MessageType<object>, keys: readonly string[]): { name: string; optional: boolean }[] {
  return keys.map((key) => {
    const optional = key.endsWith('?');
    const name = optional ? key.slice(0, -1) : key;
    const field = type.fields.find((one) => one.name === name);
    if (field === undefined || field.type !== 'string' || field.repeated) {
      throw new PluginError(
        'internal',
        `${type.typeName}.${name} is not one string, so it cannot stand in a query`,
      );
    }
    return { name, optional };
  });
}

/** As Go's url.QueryEscape; encodeURIComponent leaves five more characters as they are. */
function escapeQuery(text: string): string {
  return encodeURIComponent(wellFormed(text))
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%20/g, '+');
}

function unescapeQuery(text: string, where: string): string {
  try {
    return decodeURIComponent(text.replace(/\+/g, ' '));
  } catch (cause) {
    throw new PluginError('badReply', `${where}: the query has an escape that is not valid`, { cause });
  }
}
