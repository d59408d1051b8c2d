import { tokenCharacters } from './fields.ts';
import { Http1Error } from './http1-error.ts';

/** What both kinds of head have. */
interface AnyHead {
  /** A minor version above 1 counts as 1.1 (RFC 9110, section 2.5). */
  readonly version: '1.0' | '1.1';
  /** Name, value, name, value, …: names in their original case, values as latin1 without white space around them. */
  readonly headers: readonly string[];
}

/** The head of a request. */
export interface Http1RequestHead extends AnyHead {
  readonly method: string;
  /** As it was written: no space and no control character, but bytes above 0x7e may occur (curl sends such paths). */
  readonly target: string;
}

/** The head of a response. */
export interface Http1ResponseHead extends AnyHead {
  readonly status: number;
  readonly reason: string;
}

/** The value of the first field of this name, or undefined. `name` is given in lower case. */
export function headerValue(headers: readonly string[], name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (isName(headers[i]!, name)) return headers[i + 1]!;
  }
  return undefined;
}

/** The values of all fields of this name, in order. `name` is given in lower case. */
export function headerValues(headers: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    if (isName(headers[i]!, name)) values.push(headers[i + 1]!);
  }
  return values;
}

/** The elements of a list field such as `Connection`, over all its lines, in lower case and without empty ones. */
export function headerTokens(headers: readonly string[], name: string): string[] {
  const tokens: string[] = [];
  for (const value of headerValues(headers, name)) {
    for (const part of value.split(',')) {
      const token = part.trim().toLowerCase();
      if (token !== '') tokens.push(token);
    }
  }
  return tokens;
}

function isName(written: string, name: string): boolean {
  return written.length === name.length && (written === name || written.toLowerCase() === name);
}

/** True when the connection may carry another message after this one (RFC 9112, section 9.3). */
export function keepsAlive(head: Http1RequestHead | Http1ResponseHead): boolean {
  const tokens = headerTokens(head.headers, 'connection');
  if (tokens.includes('close')) return false;
  return head.version === '1.1' || tokens.includes('keep-alive');
}

/**
 * Writes a head, the empty line included, as text to be sent in latin1. `startLine` has no line end:
 * `GET / HTTP/1.1`, `HTTP/1.1 200 OK`. Throws Http1Error with status 500 where the text would not be read back as what
 * was given: a line end or another control character anywhere, a name that is no token, a character above 0xff.
 */
export function formatHead(startLine: string, headers: readonly string[]): string {
  if (!isText(startLine)) throw new Http1Error(500, 'the start line holds a character that cannot be sent');
  let text = `${startLine}\r\n`;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    const value = headers[i + 1] ?? '';
    if (!isToken(name)) throw new Http1Error(500, `${JSON.stringify(name)} cannot be the name of a header`);
    if (!isText(value)) throw new Http1Error(500, `header ${name} holds a character that cannot be sent`);
    text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}

/** True for a token (RFC 9110, section 5.6.2): what a method or the name of a header may be. */
export function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (tokenCharacters[text.charCodeAt(i)] !== 1) return false;
  }
  return text !== '';
}

function isText(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f || code > 0xff) return false;
  }
  return true;
}
