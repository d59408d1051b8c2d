/** What stands in place of a credential, as in the log. */
const censored = '***';

/** Headers whose value is a credential, in small letters. */
const secretHeaders: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization']);

/** Keys whose text is an authority or begins with one where it is no URI: `user:password@host`. */
const authorities: ReadonlySet<string> = new Set(['host', 'uri', 'originalhost', 'originaluri']);

/** The same text without user names and passwords in the URIs that it holds (RFC 3986, section 3.2.1). */
export function redactUris(text: string): string {
  if (!text.includes('@')) return text;
  // Of a long scheme the end will do: a text that begins one at every letter must not cost the square of its length.
  return text.replace(/([a-z][a-z\d+.-]{0,20}:\/\/)[^\s/?#]*@/gi, `$1${censored}@`);
}

/** As {@link redactUris}, for a text that is a request's target or a host. */
export function redactTarget(text: string): string {
  return redactUris(text).replace(/^(?!\*\*\*@)[^\s/?#]+@/, `${censored}@`);
}

/**
 * The same JSON value, in the same order, without credentials: `Authorization` and `Proxy-Authorization` of every set of
 * headers that it holds, and user names and passwords of every URI. Nothing that is given is changed.
 */
export function redactDetails(value: unknown, key = ''): unknown {
  if (typeof value === 'string') return authorities.has(key) ? redactTarget(value) : redactUris(value);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map((one) => redactDetails(one, key));
  // A header may be called `__proto__`, which is no name to assign to.
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const small = name.toLowerCase();
      return [name, secretHeaders.has(small) ? censor(inner) : redactDetails(inner, small)];
    }),
  );
}

function censor(value: unknown): unknown {
  return Array.isArray(value) ? value.map(() => censored) : censored;
}
