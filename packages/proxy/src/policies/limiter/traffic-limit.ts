/** What one line of a traffic limiter says, in bytes a second; 0 is no limit. */
export interface TrafficLimit {
  readonly in: number;
  readonly out: number;
  /** Bytes that may go at once in each direction; undefined: as much as one second's. */
  readonly burst: number | undefined;
}

/** Reads `IN [OUT] [BURST]`. Undefined where neither direction is limited. Throws TypeError. */
export function readTrafficLimit(words: readonly string[]): TrafficLimit | undefined {
  const [inbound, outbound = '0', burst = '0', ...more] = words;
  if (inbound === undefined) throw new TypeError('names no rate; write `KEY IN OUT`, as in `$ 10MB 1MB`');
  if (more.length > 0) throw new TypeError('has more than `KEY IN OUT BURST`');
  const limit = { in: parseSize(inbound), out: parseSize(outbound), burst: parseSize(burst) || undefined };
  return limit.in === 0 && limit.out === 0 ? undefined : limit;
}

/** GOST's units, `KB` and `KiB` both 1,024 bytes. */
const units: ReadonlyMap<string, number> = new Map([
  ['B', 1] as const,
  ...['K', 'M', 'G', 'T', 'P', 'E'].flatMap((letter, index) => {
    const bytes = 1024 ** (index + 1);
    return [[`${letter}B`, bytes] as const, [`${letter}iB`, bytes] as const];
  }),
]);

/**
 * Reads `512B`, `100KB`, `1.5MB`, `1GB512MB` as bytes; 0 and anything below it is 0, no limit, as in GOST. A positive number
 * without a unit is a TypeError, as is an unknown unit: GOST takes both for no limit at all, which nobody who wrote them meant.
 */
export function parseSize(text: string): number {
  const size = text.replace(/^[-+]/, '');
  const parts = [...size.matchAll(/(\d+(?:\.\d*)?|\.\d+)([A-Za-z]*)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== size) {
    throw new TypeError(`holds ${JSON.stringify(text)}, which is no size such as \`100KB\``);
  }
  if (text.startsWith('-')) return 0;
  let bytes = 0;
  for (const [, number, unit = ''] of parts) {
    if (unit === '' && Number(number) === 0) continue;
    const scale = units.get(unit);
    if (scale === undefined) {
      throw new TypeError(
        unit === ''
          ? `holds ${text} without a unit; write ${text}B if bytes are meant, or KB, MB, GB or TB`
          : `holds ${text}, whose unit is none of B, KB, MB, GB and TB`,
      );
    }
    bytes += Number(number) * scale;
  }
  if (bytes > Number.MAX_SAFE_INTEGER) throw new TypeError(`holds ${text}, which is more than 8,191 TB`);
  // What is written as more than nothing is a limit.
  return bytes > 0 && bytes < 1 ? 1 : Math.floor(bytes);
}
