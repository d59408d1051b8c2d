import { didYouMean, nearest } from '../../schema/nearest.ts';
import { ArgumentError, functions } from './functions.ts';
import type { FunctionName } from './functions.ts';

/** A rule for requests, read. */
export interface Rule {
  /** As it was written. */
  readonly text: string;
  readonly tree: RuleNode;
}

/** A part of a rule. `a && b && c` is one node of three; parentheses make one of their own. */
export type RuleNode = RuleCall | RuleNot | RuleList;

/** `Host("example.com")`. */
export interface RuleCall {
  readonly kind: 'call';
  readonly name: FunctionName;
  readonly args: readonly string[];
}

/** `!a`. */
export interface RuleNot {
  readonly kind: 'not';
  readonly of: RuleNode;
}

/** `a && b`, `a || b`, of at least two. */
export interface RuleList {
  readonly kind: 'all' | 'any';
  readonly of: readonly RuleNode[];
}

/** What one rule may cost. Nothing that a person writes comes near. */
const maxLength = 65_536;
const maxNesting = 100;

const byLowerCase = new Map(
  (Object.keys(functions) as FunctionName[]).map((name) => [name.toLowerCase(), name]),
);

/** What GOST has beside them: these look into the body, and a node is chosen before it has come. */
const ofTheBody = ['BodyRegexp', 'BodyJSON'];

/**
 * Reads a rule in GOST's language: functions of texts in backticks or double quotes, `!`, `&&` before `||`, parentheses.
 * Capitals do not count in the names of functions. Every argument is read, too, so that what this function takes means
 * something. Throws TypeError that says what is wrong at which character of the rule, counted from 1; arguments, which may
 * be credentials, are not repeated.
 */
export function parseRule(text: string): Rule {
  return { text, tree: new RuleParser(text).rule() };
}

/** The modules that a rule asks, by their names in the file. */
export function namesInRule({ tree }: Rule): {
  readonly bypass: readonly string[];
  readonly admission: readonly string[];
} {
  const found = { Bypass: new Set<string>(), Admission: new Set<string>() };
  const look = (node: RuleNode) => {
    if (node.kind === 'not') look(node.of);
    else if (node.kind !== 'call') node.of.forEach(look);
    else if (node.name === 'Bypass' || node.name === 'Admission') found[node.name].add(node.args[0]!);
  };
  look(tree);
  return { bypass: [...found.Bypass], admission: [...found.Admission] };
}

class RuleParser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  rule(): RuleNode {
    if (this.#text.length > maxLength)
      throw new TypeError(`the rule is longer than ${String(maxLength)} characters`);
    const tree = this.#list('any', 0);
    if (this.#at < this.#text.length) {
      this.#fail(
        this.#text[this.#at] === ')'
          ? 'a `)` without a `(`'
          : `expected \`&&\`, \`||\` or the end of the rule, found ${this.#shown()}`,
      );
    }
    return tree;
  }

  #list(kind: 'all' | 'any', depth: number): RuleNode {
    const parts: RuleNode[] = [];
    do parts.push(kind === 'any' ? this.#list('all', depth) : this.#single(depth));
    while (this.#operator(kind === 'any' ? '||' : '&&'));
    return parts.length === 1 ? parts[0]! : { kind, of: parts };
  }

  #operator(operator: string): boolean {
    this.#skipSpace();
    if (this.#text.startsWith(operator, this.#at)) {
      this.#at += 2;
      return true;
    }
    if (this.#text[this.#at] === operator[0])
      this.#fail(`a single \`${operator[0]!}\`; write \`${operator}\``);
    const word = /^(?:and|or)\b/i.exec(this.#text.slice(this.#at, this.#at + 4))?.[0].toLowerCase();
    if (word !== undefined) this.#fail(`write \`${word === 'or' ? '||' : '&&'}\` for \`${word}\``);
    return false;
  }

  #single(depth: number): RuleNode {
    if (depth > maxNesting)
      this.#fail(`parentheses and \`!\` are nested more than ${String(maxNesting)} deep`);
    this.#skipSpace();
    const start = this.#at;
    if (this.#take('!')) return { kind: 'not', of: this.#single(depth + 1) };
    if (this.#take('(')) {
      const inner = this.#list('any', depth + 1);
      this.#skipSpace();
      if (!this.#take(')')) {
        if (this.#at < this.#text.length)
          this.#fail(`expected \`&&\`, \`||\` or \`)\`, found ${this.#shown()}`);
        this.#fail('a `(` without a `)`', start);
      }
      return inner;
    }
    const word = /^[A-Za-z_]\w*/.exec(this.#text.slice(this.#at, this.#at + 200))?.[0];
    if (word === undefined)
      this.#fail(`expected a function such as \`Host\`, \`!\` or \`(\`, found ${this.#shown()}`);
    this.#at += word.length;
    return this.#call(this.#named(word, start), start);
  }

  #named(word: string, at: number): FunctionName {
    const name = byLowerCase.get(word.toLowerCase());
    if (name !== undefined) return name;
    const ofBody = ofTheBody.find((known) => known.toLowerCase() === word.toLowerCase());
    if (ofBody !== undefined) {
      this.#fail(
        `GOST's function \`${ofBody}\` is not served by this version, which chooses a node before the body of a request has come`,
        at,
      );
    }
    const known = Object.keys(functions);
    const candidates = [...known, ...ofTheBody];
    const hint =
      nearest(word, candidates) === undefined ? `; known: ${known.join(', ')}` : didYouMean(word, candidates);
    const shown = word.length > 40 ? '' : ` \`${word}\``;
    this.#fail(`unknown function${shown}${hint}`, at);
  }

  #call(name: FunctionName, start: number): RuleCall {
    this.#skipSpace();
    if (!this.#take('('))
      this.#fail(`expected the arguments of \`${name}\` in parentheses, found ${this.#shown()}`);
    const args: string[] = [];
    const places: number[] = [];
    this.#skipSpace();
    while (!this.#take(')')) {
      if (args.length > 0) {
        if (!this.#take(','))
          this.#fail(`expected \`,\` or \`)\` behind an argument of \`${name}\`, found ${this.#shown()}`);
        this.#skipSpace();
      }
      places.push(this.#at);
      args.push(this.#literal());
      this.#skipSpace();
    }
    const { takes, read } = functions[name];
    if (!(takes as readonly number[]).includes(args.length)) {
      this.#fail(
        `\`${name}\` takes ${takes.join(' or ')} argument${takes.at(-1) === 1 ? '' : 's'}, not ${String(args.length)}`,
        start,
      );
    }
    const empty = args.indexOf('');
    if (empty >= 0) this.#fail(`\`${name}\`: an argument is empty`, places[empty]);
    try {
      read(args);
    } catch (error) {
      if (!(error instanceof ArgumentError)) throw error;
      this.#fail(`\`${name}\`: ${error.message}`, places[error.index]);
    }
    return { kind: 'call', name, args };
  }

  /** A text in Go's spelling. */
  #literal(): string {
    const start = this.#at;
    const quote = this.#text[start];
    if (quote === '`') {
      const end = this.#text.indexOf('`', start + 1);
      if (end < 0) this.#fail('a text whose backtick is not closed', start);
      this.#at = end + 1;
      return this.#text.slice(start + 1, end);
    }
    if (quote !== '"') {
      this.#fail(
        this.#at < this.#text.length
          ? 'an argument stands in backticks or double quotes'
          : 'expected an argument, found the end of the rule',
      );
    }
    this.#at++;
    let value = '';
    for (;;) {
      const character = this.#text[this.#at];
      if (character === undefined || character === '\n')
        this.#fail('a text whose double quote is not closed', start);
      this.#at++;
      if (character === '"') return value;
      value += character === '\\' ? this.#escape() : character;
    }
  }

  #escape(): string {
    const rest = this.#text.slice(this.#at, this.#at + 9);
    const simple = simpleEscapes[rest[0] ?? ''];
    if (simple !== undefined) {
      this.#at++;
      return simple;
    }
    // Bytes by their number (`\x41`, `\101`) are served as far as they are characters by themselves.
    const written =
      /^(?:x([\dA-Fa-f]{2})|u([\dA-Fa-f]{4})|U([\dA-Fa-f]{8}))/.exec(rest) ?? /^([0-7]{3})/.exec(rest);
    const hex = written?.[1] ?? written?.[2] ?? written?.[3] ?? '';
    const octal = written !== null && /^\d/.test(written[0]);
    const code = parseInt(hex, octal ? 8 : 16);
    const isByte = octal || rest.startsWith('x');
    if (written === null || code > (isByte ? 0x7f : 0x10ffff) || (code >= 0xd800 && code <= 0xdfff)) {
      this.#fail('no escape that Go knows; in backticks a `\\` is just that', this.#at - 1);
    }
    this.#at += written[0].length;
    return String.fromCodePoint(code);
  }

  #skipSpace(): void {
    while (/^[ \t\r\n]/.test(this.#text.charAt(this.#at))) this.#at++;
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  /** What stands here, as far as it cannot be a part of a credential. */
  #shown(): string {
    const character = this.#text[this.#at];
    if (character === undefined) return 'the end of the rule';
    if (character === '`') return 'a backtick';
    return /[!&|()",]/.test(character) ? `\`${character}\`` : 'something else';
  }

  #fail(what: string, at = this.#at): never {
    throw new TypeError(`character ${String(at + 1)} of the rule: ${what}`);
  }
}

const simpleEscapes: Readonly<Record<string, string>> = {
  ...{ a: '\u0007', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' },
  ...{ '\\': '\\', '"': '"' },
};
