import { malformed } from './http1-error.ts';
import type { Http1Side } from './http1-error.ts';

/** 1 for each character of a token (RFC 9110, section 5.6.2). */
export const tokenCharacters = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
  tokenCharacters[character.charCodeAt(0)] = 1;
}

const tab = 0x09;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const colon = 0x3a;
const del = 0x7f;

/**
 * Reads field lines (RFC 9112, section 5): `text` from `from` to its end, in latin1, each line ended by CRLF and the
 * empty line left out. Returns name, value, name, value, … with names as they were written and values without the
 * white space around them. Throws Http1Error for an empty name, white space before the colon, a folded line, a line
 * ended by LF or CR alone, and a control character.
 */
export function parseFields(text: string, from: number, side: Http1Side): string[] {
  const fields: string[] = [];
  const end = text.length;
  let at = from;
  while (at < end) {
    const nameStart = at;
    while (tokenCharacters[text.charCodeAt(at)] === 1) at++;
    if (at === nameStart || text.charCodeAt(at) !== colon) throw badName(text, nameStart, at, side);
    const nameEnd = at++;

    let code = text.charCodeAt(at);
    while (code === space || code === tab) code = text.charCodeAt(++at);
    const valueStart = at;
    let valueEnd = at;
    for (;;) {
      if (code > space && code !== del) valueEnd = at + 1;
      else if (code !== space && code !== tab) break;
      code = text.charCodeAt(++at);
    }
    if (code !== carriageReturn || text.charCodeAt(at + 1) !== lineFeed) {
      throw badValue(text.slice(nameStart, nameEnd), code, side);
    }
    at += 2;
    fields.push(text.slice(nameStart, nameEnd), text.slice(valueStart, valueEnd));
  }
  return fields;
}

function badName(text: string, nameStart: number, at: number, side: Http1Side): Error {
  const code = text.charCodeAt(at);
  if (at === nameStart) {
    if (code === space || code === tab) return malformed(side, 'a header line begins with white space');
    if (code === colon) return malformed(side, 'a header has no name');
  }
  if (code === space || code === tab) {
    return malformed(side, `white space in the name of header ${text.slice(nameStart, at)}`);
  }
  if (code === carriageReturn || code === lineFeed)
    return malformed(side, 'a header line has no colon, or a line is not ended by CRLF');
  return malformed(side, 'a header name holds a character that is not allowed there');
}

function badValue(name: string, code: number, side: Http1Side): Error {
  if (code === lineFeed) return malformed(side, `header ${name} is ended by LF without CR`);
  if (code === carriageReturn) return malformed(side, `header ${name} holds CR without LF`);
  return malformed(side, `header ${name} holds a control character`);
}
