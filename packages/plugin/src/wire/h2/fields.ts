import type { RawHeaders } from '../grpc.ts';

/**
 * Says what is wrong with a header or trailer section (RFC 9113, sections 8.2 and 8.3), or undefined when it is well-formed.
 * A malformed section is an error of its stream, not of the connection.
 */
export function findFieldError(
  fields: RawHeaders,
  kind: 'request' | 'response' | 'trailers',
): string | undefined {
  let pseudo = 0;
  let regular = false;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!;
    const value = fields[i + 1]!;
    if (name.charCodeAt(0) === colon) {
      if (regular) return `${name} after an ordinary field`;
      const bit = kind === 'trailers' ? undefined : pseudoFields[kind][name];
      if (bit === undefined) return `${name} in ${kind === 'trailers' ? 'trailers' : `a ${kind}`}`;
      if ((pseudo & bit) !== 0) return `${name} twice`;
      pseudo |= bit;
      // An empty :path is forbidden, and so is one that does not begin with a slash (section 8.3.1).
      if (name === ':path' && value.charCodeAt(0) !== slash && value !== '*')
        return 'a :path without a slash';
      if (name === ':status' && !/^[1-9][0-9][0-9]$/.test(value)) return 'a :status that is no status';
    } else {
      regular = true;
      if (!isName(name)) return 'a field name with a character that is not allowed';
      if (connectionFields.has(name)) return `the field ${name}, which belongs to HTTP/1`;
      if (name === 'te' && value !== 'trailers') return 'a te other than trailers';
    }
    if (!isValue(value)) return `a character in ${name} that is not allowed`;
  }
  const required = kind === 'trailers' ? 0 : requiredFields[kind];
  if ((pseudo & required) !== required)
    return `no ${kind === 'request' ? ':method, :scheme or :path' : ':status'}`;
  return undefined;
}

const colon = 0x3a;
const slash = 0x2f;

const pseudoFields: Record<'request' | 'response', Record<string, number>> = {
  request: { ':method': 1, ':scheme': 2, ':path': 4, ':authority': 8 },
  response: { ':status': 1 },
};
const requiredFields = { request: 7, response: 1 };

const connectionFields = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** RFC 9113, section 8.2.1: no control characters, space, upper case, DEL and above, and no colon. */
function isName(name: string): boolean {
  if (name.length === 0) return false;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code <= 0x20 || (code >= 0x41 && code <= 0x5a) || code >= 0x7f || code === colon) return false;
  }
  return true;
}

/** RFC 9113, section 8.2.1: no NUL, CR, LF inside, and no space or tab at either end. */
function isValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code === 0 || code === 0x0a || code === 0x0d) return false;
  }
  return value === '' || (!isBlank(value.charCodeAt(0)) && !isBlank(value.charCodeAt(value.length - 1)));
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** The value of the first field of this name. */
export function fieldValue(fields: RawHeaders, name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}
