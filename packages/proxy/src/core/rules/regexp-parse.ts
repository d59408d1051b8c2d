import { folded, perlClasses, posixClasses, unicodeClass } from './regexp-classes.ts';
import type { CharSet } from './regexp-classes.ts';

/** Where something holds that takes no character. */
export type Assertion = 'textStart' | 'textEnd' | 'lineStart' | 'lineEnd' | 'wordBorder' | 'noWordBorder';

/** A regular expression, taken apart. */
export type Piece =
  | { readonly kind: 'one'; readonly accepts: CharSet }
  | { readonly kind: 'assert'; readonly what: Assertion }
  | { readonly kind: 'all' | 'any'; readonly of: readonly Piece[] }
  | { readonly kind: 'repeat'; readonly of: Piece; readonly min: number; readonly max: number };

/** What a flag in `(?ims)` changes. `U` only tells how much is taken, which does not matter to whether anything is. */
interface Flags {
  readonly i: boolean;
  readonly m: boolean;
  readonly s: boolean;
}

/** RE2's own. */
const maxRepeat = 1000;
const maxNesting = 100;

const simpleEscapes: Readonly<Record<string, number>> = { a: 7, f: 12, t: 9, n: 10, r: 13, v: 11 };

/**
 * Reads a regular expression as Go does (RE2's syntax): no look-around and no references back to a group. Throws TypeError
 * that says what is wrong at which character; the pattern is not repeated.
 */
export function parseRegexp(pattern: string): Piece {
  const parser = new RegexpParser(pattern);
  const piece = parser.alternatives(0, { i: false, m: false, s: false });
  if (!parser.atEnd) parser.fail('a `)` without a `(`');
  return piece;
}

class RegexpParser {
  readonly #characters: readonly string[];
  #at = 0;

  constructor(pattern: string) {
    this.#characters = [...pattern];
  }

  get atEnd(): boolean {
    return this.#at >= this.#characters.length;
  }

  fail(what: string, at = this.#at): never {
    throw new TypeError(`character ${String(at + 1)} of the pattern: ${what}`);
  }

  alternatives(depth: number, outer: Flags): Piece {
    if (depth > maxNesting) this.fail(`groups are nested more than ${String(maxNesting)} deep`);
    const choices: Piece[] = [];
    let flags = outer;
    for (;;) {
      const sequence: Piece[] = [];
      flags = this.#sequence(sequence, depth, flags);
      choices.push({ kind: 'all', of: sequence });
      if (!this.#take('|')) break;
    }
    return choices.length === 1 ? choices[0]! : { kind: 'any', of: choices };
  }

  /** Answers the flags that hold behind it: `(?i)` counts to the end of its group. */
  #sequence(into: Piece[], depth: number, outer: Flags): Flags {
    let flags = outer;
    let repeatedAt: number | undefined;
    while (!this.atEnd && this.#peek() !== '|' && this.#peek() !== ')') {
      const start = this.#at;
      const bounds = this.#quantifier();
      if (bounds !== undefined) {
        if (repeatedAt === start)
          this.fail('a repetition of a repetition; put the first one in parentheses', start);
        if (into.length === 0) this.fail('a repetition of nothing', start);
        into.push({ kind: 'repeat', of: into.pop()!, ...bounds });
        // How much is taken does not matter to whether anything is.
        this.#take('?');
        repeatedAt = this.#at;
        continue;
      }
      if (this.#quoted(into, flags)) continue;
      const found = this.#atom(depth, flags);
      if ('kind' in found) into.push(found);
      else flags = found;
    }
    return flags;
  }

  #quantifier(): { min: number; max: number } | undefined {
    if (this.#take('*')) return { min: 0, max: Infinity };
    if (this.#take('+')) return { min: 1, max: Infinity };
    if (this.#take('?')) return { min: 0, max: 1 };
    if (this.#peek() !== '{') return undefined;
    // A brace that begins no count is a brace, as in RE2.
    const written = /^\{(\d+)(?:(,)(\d*))?\}/.exec(this.#characters.slice(this.#at, this.#at + 30).join(''));
    if (written === null) return undefined;
    const min = Number(written[1]);
    const open = written[2] !== undefined && written[3] === '';
    const max = open ? Infinity : Number(written[3] ?? written[1]);
    if (min > maxRepeat || (!open && max > maxRepeat))
      this.fail(`a repetition of more than ${String(maxRepeat)} times`);
    if (min > max) this.fail('a repetition whose least is more than its most');
    this.#at += written[0].length;
    return { min, max };
  }

  #atom(depth: number, flags: Flags): Piece | Flags {
    const at = this.#at;
    const character = this.#characters[this.#at++]!;
    switch (character) {
      case '(':
        return this.#group(depth, flags, at);
      case '[':
        return this.#brackets(flags, at);
      case '.':
        return { kind: 'one', accepts: flags.s ? () => true : (code) => code !== 10 };
      case '^':
        return { kind: 'assert', what: flags.m ? 'lineStart' : 'textStart' };
      case '$':
        return { kind: 'assert', what: flags.m ? 'lineEnd' : 'textEnd' };
      case '\\':
        return this.#escaped(flags, at);
      default:
        return literal(character.codePointAt(0)!, flags);
    }
  }

  #group(depth: number, flags: Flags, at: number): Piece | Flags {
    let inner = flags;
    if (this.#take('?')) {
      const rest = this.#characters.slice(this.#at, this.#at + 80).join('');
      const name = /^P?<([A-Za-z_]\w*)>/.exec(rest);
      const switched = /^([imsU]*)(?:-([imsU]+))?([:)])/.exec(rest);
      if (/^<?[=!]/.test(rest)) this.fail('look-around is no part of RE2', at);
      if (name !== null) this.#at += name[0].length;
      else if (switched !== null) {
        this.#at += switched[0].length;
        inner = withFlags(flags, switched[1]!, switched[2] ?? '');
        if (switched[3] === ')') return inner;
      } else this.fail('`(?` begins no group that RE2 knows: `(?:`, `(?P<name>` or flags such as `(?i)`', at);
    }
    const piece = this.alternatives(depth + 1, inner);
    if (!this.#take(')')) this.fail('a `(` without a `)`', at);
    return piece;
  }

  #escaped(flags: Flags, at: number): Piece {
    const next = this.#peek();
    switch (next) {
      case 'A':
        return this.#assert('textStart');
      case 'z':
        return this.#assert('textEnd');
      case 'b':
        return this.#assert('wordBorder');
      case 'B':
        return this.#assert('noWordBorder');
      default: {
        const set = this.#classEscape();
        if (set !== undefined) return { kind: 'one', accepts: flags.i ? folded(set) : set };
        return literal(this.#codeEscape(at), flags);
      }
    }
  }

  /** `\Qas it stands\E`, or to the end of the pattern; a repetition behind it is one of its last character. */
  #quoted(into: Piece[], flags: Flags): boolean {
    if (!this.#isNext('\\', 'Q')) return false;
    this.#at += 2;
    while (!this.atEnd && !this.#isNext('\\', 'E'))
      into.push(literal(this.#characters[this.#at++]!.codePointAt(0)!, flags));
    this.#at = Math.min(this.#at + 2, this.#characters.length);
    return true;
  }

  #assert(what: Assertion): Piece {
    this.#at++;
    return { kind: 'assert', what };
  }

  /** `\d`, `\S`, `\pL`, `\P{Greek}`; the backslash has been taken. */
  #classEscape(): CharSet | undefined {
    const letter = this.#peek() ?? '';
    const perl = perlClasses[letter.toLowerCase()];
    if (perl !== undefined) {
      this.#at++;
      return letter === letter.toLowerCase() ? perl : not(perl);
    }
    if (letter !== 'p' && letter !== 'P') return undefined;
    const at = this.#at++;
    let name = this.#characters[this.#at++] ?? '';
    if (name === '{') {
      const end = this.#characters.indexOf('}', this.#at);
      if (end < 0) this.fail('a `{` without a `}`', at);
      name = this.#characters.slice(this.#at, end).join('');
      this.#at = end + 1;
    }
    const negated = name.startsWith('^');
    const set = unicodeClass(negated ? name.slice(1) : name);
    if (set === undefined) this.fail('no category and no script of Unicode has this name', at);
    return negated === (letter === 'P') ? set : not(set);
  }

  /** One character behind a backslash, which has been taken. */
  #codeEscape(at: number): number {
    if (this.atEnd) this.fail('a `\\` with nothing behind it', at);
    const character = this.#characters[this.#at++]!;
    const simple = simpleEscapes[character];
    if (simple !== undefined) return simple;
    const rest = this.#characters.slice(this.#at, this.#at + 12).join('');
    if (character === 'x') {
      const hex = /^(?:([\dA-Fa-f]{2})|\{([\dA-Fa-f]{1,8})\})/.exec(rest);
      const code = parseInt(hex?.[1] ?? hex?.[2] ?? '', 16);
      if (hex === null || code > 0x10ffff) this.fail('`\\x` without a character’s number', at);
      this.#at += hex[0].length;
      return code;
    }
    if (/[0-7]/.test(character)) {
      const more = /^[0-7]{1,2}/.exec(rest)?.[0] ?? '';
      if (character === '0' || more !== '') {
        this.#at += more.length;
        return parseInt(character + more, 8);
      }
    }
    if (/\d/.test(character)) this.fail('a reference back to a group is no part of RE2', at);
    if (/[A-Za-z]/.test(character) || character.codePointAt(0)! >= 0x80)
      this.fail('RE2 knows no such escape', at);
    return character.codePointAt(0)!;
  }

  #brackets(flags: Flags, at: number): Piece {
    const negated = this.#take('^');
    const sets: CharSet[] = [];
    for (let first = true; first || this.#peek() !== ']'; first = false) {
      if (this.atEnd) this.fail('a `[` without a `]`', at);
      const start = this.#at;
      const named = this.#posix();
      if (named !== undefined) {
        sets.push(named);
        continue;
      }
      if (this.#take('\\')) {
        const set = this.#classEscape();
        if (set !== undefined) {
          sets.push(set);
          continue;
        }
        this.#at = start;
      }
      const from = this.#classCode();
      let to = from;
      if (this.#peek() === '-' && ![']', undefined].includes(this.#characters[this.#at + 1])) {
        this.#at++;
        to = this.#classCode();
      }
      if (to < from) this.fail('a range that runs backwards', start);
      sets.push((code) => code >= from && code <= to);
    }
    this.#at++;
    const inside: CharSet = (code) => sets.some((set) => set(code));
    const set = flags.i ? folded(inside) : inside;
    return { kind: 'one', accepts: negated ? not(set) : set };
  }

  #posix(): CharSet | undefined {
    const start = this.#at;
    const written = /^\[:(\^?)([^:\]]*):\]/.exec(this.#characters.slice(start, start + 20).join(''));
    if (written === null) return undefined;
    const set = posixClasses[written[2]!];
    if (set === undefined) this.fail('no class of characters has this name', start);
    this.#at += written[0].length;
    return written[1] === '' ? set : not(set);
  }

  #classCode(): number {
    const at = this.#at;
    const character = this.#characters[this.#at++];
    if (character === undefined) this.fail('a `[` without a `]`', at);
    return character === '\\' ? this.#codeEscape(at) : character.codePointAt(0)!;
  }

  #peek(): string | undefined {
    return this.#characters[this.#at];
  }

  #isNext(first: string, second: string): boolean {
    return this.#peek() === first && this.#characters[this.#at + 1] === second;
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }
}

function withFlags(flags: Flags, on: string, off: string): Flags {
  const value = (flag: 'i' | 'm' | 's') => (flags[flag] || on.includes(flag)) && !off.includes(flag);
  return { i: value('i'), m: value('m'), s: value('s') };
}

function literal(code: number, flags: Flags): Piece {
  const same: CharSet = (other) => other === code;
  return { kind: 'one', accepts: flags.i ? folded(same) : same };
}

function not(set: CharSet): CharSet {
  return (code) => !set(code);
}
