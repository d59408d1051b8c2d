const canonical = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i;
const bare = /^[\da-f]{32}$/i;

/**
 * Reads a UUID in any of the spellings that GOST's parser takes: `01234567-89ab-cdef-0123-456789abcdef`, the same 32 digits
 * without hyphens, within braces, or behind `urn:uuid:` (RFC 9562, section 4). Capitals do not count. Answers its 16
 * bytes; undefined for anything else.
 */
export function parseUuid(text: string): Buffer | undefined {
  let written = text;
  // Longer than any spelling: not worth looking at.
  if (written.length > 45) return undefined;
  if (written.length === 45 && /^urn:uuid:/i.test(written)) written = written.slice(9);
  else if (written.length === 38 && written.startsWith('{') && written.endsWith('}'))
    written = written.slice(1, -1);
  if (!canonical.test(written) && (written !== text || !bare.test(written))) return undefined;
  return Buffer.from(written.replaceAll('-', ''), 'hex');
}

/** The usual spelling of the 16 bytes, in small letters: the inverse of {@link parseUuid}. Throws TypeError for another length. */
export function formatUuid(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new TypeError(`a UUID has 16 bytes, not ${String(bytes.length)}`);
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, 16).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
