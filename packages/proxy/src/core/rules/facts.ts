import type { RouteRequest } from '../route.ts';

/**
 * The host that rules speak of: that of the request that was seen (its `Host`, or the name in TLS), else the target as the
 * client asked for it. Lower-case, without port, brackets and last dot; empty where nothing is known.
 */
export function hostOf({ seen, host }: RouteRequest): string {
  const written = seen !== undefined && seen.host !== '' ? seen.host : (host?.host ?? '');
  const lower = written.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

/**
 * The path of the request that was seen, with what is percent-encoded decoded, as Go's `URL.Path` and so GOST's rules have
 * it; empty where no path is known.
 */
export function pathOf({ seen }: RouteRequest): string {
  const path = encoded(seen?.path ?? '');
  if (!path.includes('%')) return path;
  try {
    return decodeURIComponent(path);
  } catch {
    // Some of it is no UTF-8: that stays as it was written, and the rest is decoded.
    return path.replace(encodedCharacter, decodedOrNot);
  }
}

/** Bytes that are not ASCII and should have been percent-encoded, such as curl sends them, are taken as if they were. */
function encoded(written: string): string {
  return written.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`);
}

/** One character in UTF-8, percent-encoded; what looks like one and is none is left to the decoder. */
const encodedCharacter =
  /%[0-7][\dA-F]|%[CD][\dA-F]%[89AB][\dA-F]|%E[\dA-F](?:%[89AB][\dA-F]){2}|%F[0-7](?:%[89AB][\dA-F]){3}/gi;

function decodedOrNot(written: string): string {
  try {
    return decodeURIComponent(written);
  } catch {
    return written;
  }
}

/** The values of one parameter of the query, decoded; empty where it is not there. */
export function queryValues({ seen }: RouteRequest, name: string): readonly string[] {
  const query = encoded(seen?.query ?? '');
  return query === '' ? [] : new URLSearchParams(query).getAll(name);
}

/** The values of one header field of the request that was seen; `lowerName` in lower case. */
export function headerValues({ seen }: RouteRequest, lowerName: string): readonly string[] {
  const values: string[] = [];
  for (const [name, value] of seen?.headers ?? []) {
    if (name.toLowerCase() !== lowerName) continue;
    // A field is read byte by byte, and a rule is written in UTF-8, as the value most likely is.
    values.push(/[^\0-\x7f]/.test(value) ? Buffer.from(value, 'latin1').toString() : value);
  }
  return values;
}
