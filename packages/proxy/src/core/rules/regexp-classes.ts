/** Whether a character, given as its code point, is one of a set. */
export type CharSet = (code: number) => boolean;

const isIn =
  (...ranges: readonly (readonly [from: number, to: number])[]): CharSet =>
  (code) =>
    ranges.some(([from, to]) => code >= from && code <= to);

const digit = isIn([0x30, 0x39]);
const lower = isIn([0x61, 0x7a]);
const upper = isIn([0x41, 0x5a]);
const alpha: CharSet = (code) => lower(code) || upper(code);
const alnum: CharSet = (code) => alpha(code) || digit(code);

/** ASCII alone, as in RE2: what `\b` is the border of. */
export const isWordCode: CharSet = (code) => alnum(code) || code === 0x5f;

/** What `\d`, `\s` and `\w` stand for in RE2: ASCII alone, and no vertical tab among the spaces. */
export const perlClasses: Readonly<Record<string, CharSet>> = {
  d: digit,
  s: isIn([0x09, 0x0a], [0x0c, 0x0d], [0x20, 0x20]),
  w: isWordCode,
};

/** What `[:name:]` stands for inside of brackets. */
export const posixClasses: Readonly<Record<string, CharSet>> = {
  alnum,
  alpha,
  ascii: isIn([0, 0x7f]),
  blank: isIn([0x09, 0x09], [0x20, 0x20]),
  cntrl: isIn([0, 0x1f], [0x7f, 0x7f]),
  digit,
  graph: isIn([0x21, 0x7e]),
  lower,
  print: isIn([0x20, 0x7e]),
  punct: isIn([0x21, 0x2f], [0x3a, 0x40], [0x5b, 0x60], [0x7b, 0x7e]),
  space: isIn([0x09, 0x0d], [0x20, 0x20]),
  upper,
  word: isWordCode,
  xdigit: isIn([0x30, 0x39], [0x41, 0x46], [0x61, 0x66]),
};

/** What `\p{name}` stands for: a general category (`L`, `Lu`) or a script (`Greek`). Undefined for other names. */
export function unicodeClass(name: string): CharSet | undefined {
  if (name === 'Any') return () => true;
  if (!/^[A-Za-z_]{1,40}$/.test(name)) return undefined;
  const property = /^[A-Z][a-z]?$/.test(name) ? `General_Category=${name}` : `Script=${name}`;
  try {
    // One property of one character: nothing here can be slow.
    const pattern = new RegExp(`^\\p{${property}}$`, 'u');
    return (code) => pattern.test(String.fromCodePoint(code));
  } catch {
    // Unicode knows no such name; whoever asked says so with the place.
    return undefined;
  }
}

/** What Unicode's case folding puts beside ASCII letters: the long s and the sign for kelvin. */
const besideAscii: Readonly<Record<string, readonly string[]>> = { s: ['\u017f'], k: ['\u212a'] };

/** The same set, whether a character is written small or large. */
export function folded(set: CharSet): CharSet {
  return (code) => {
    if (set(code)) return true;
    const character = String.fromCodePoint(code);
    const [small, large] = [character.toLowerCase(), character.toUpperCase()];
    const others = [small, large, large.toLowerCase(), small.toUpperCase(), ...(besideAscii[small] ?? [])];
    return others.some((other) => {
      const folding = other.codePointAt(0)!;
      // What becomes several characters (ß, SS) has no single one in the other size.
      return String.fromCodePoint(folding) === other && set(folding);
    });
  };
}
