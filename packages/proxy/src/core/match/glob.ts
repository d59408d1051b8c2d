import { parsePorts, splitPort } from './ports.ts';
import type { PortRange } from './ports.ts';

/** A pattern for host names. */
export interface Glob {
  /** As it was written, in lower case and without the port. */
  readonly pattern: string;
  /** Undefined: any port. */
  readonly ports: PortRange | undefined;
  /** Set for the commonest pattern, `*.example.com`: the name below which everything matches and nothing else. */
  readonly below: string | undefined;
  /** True when an IP address could match and is meant: `10.*`, but not `*`. */
  readonly speaksOfAddresses: boolean;
  /** Whether the host matches, ports aside. The host is in lower case. Takes at most (length of pattern) × (length of host) steps. */
  matches(host: string): boolean;
}

/** What one pattern may cost. Nothing that stands for host names comes near. */
const maxPatternLength = 512;
const maxNesting = 8;

/**
 * Reads a pattern as GOST's glob library does: `*` is any characters, dots included, `?` is one, `[abc]`, `[a-z]` and
 * `[!abc]` one of a set, `{a,b}` one of several, `\` takes the next character as it is; with `:80` or `:8000-8999` behind
 * it if it is only for these ports. Capitals do not count. Throws TypeError for what is no such pattern.
 */
export function parseGlob(text: string): Glob {
  const { host, port } = splitPort(text);
  const pattern = host.toLowerCase();
  if (pattern.length > maxPatternLength) {
    throw new TypeError(`is longer than ${String(maxPatternLength)} characters`);
  }
  if (pattern === '') throw new TypeError('names no host before the colon; write `*` for every host');
  // Targets are compared in their encoded form, so that such a pattern would match nothing.
  if (/[^\x21-\x7e]/.test(pattern))
    throw new TypeError('holds letters that a host has only encoded (`xn--`)');
  const ports = port === undefined ? undefined : parsePorts(port);
  const speaksOfAddresses = /^[\da-f.:*?[\]{},!\\-]+$/.test(pattern) && /[\d:]/.test(pattern);
  if (/^\*\.[a-z\d_-]+(\.[a-z\d_-]+)*$/.test(pattern)) {
    const tail = pattern.slice(1);
    const below = pattern.slice(2);
    return { pattern, ports, below, speaksOfAddresses, matches: (name) => name.endsWith(tail) };
  }
  const program = compile(pattern);
  const head = /^[^*?[\]{}\\]*/.exec(pattern)![0];
  const tail = /[{}[\]\\]/.test(pattern) ? '' : /[^*?]*$/.exec(pattern)![0];
  return {
    pattern,
    ports,
    below: undefined,
    speaksOfAddresses,
    // Most patterns are ruled out by how they begin or end.
    matches: (name) => name.startsWith(head) && name.endsWith(tail) && run(program, name),
  };
}

/** One step of a pattern: takes a character, or goes on at several places at once without taking any. */
type Step =
  | { readonly kind: 'one'; readonly accepts: (code: number) => boolean }
  | { readonly kind: 'split'; readonly to: number[] };

function compile(pattern: string): readonly Step[] {
  const steps: Step[] = [];
  let at = 0;

  const star = () => {
    // An edge back over one character of any kind: here → (any → here | onwards).
    const here = steps.length;
    steps.push(
      { kind: 'split', to: [here + 1, here + 3] },
      { kind: 'one', accepts: () => true },
      { kind: 'split', to: [here] },
    );
  };
  const literal = (code: number) => {
    steps.push({ kind: 'one', accepts: (other) => other === code });
  };
  const set = () => {
    const end = pattern.indexOf(']', at + 1);
    const negated = pattern[at] === '!';
    const inside = end < 0 ? '' : pattern.slice(negated ? at + 1 : at, end);
    if (inside === '') throw new TypeError('has a `[` without characters and a `]`');
    const ranges: { readonly from: number; readonly to: number }[] = [];
    for (let index = 0; index < inside.length; index++) {
      const from = inside.charCodeAt(index);
      const ranged = inside[index + 1] === '-' && index + 2 < inside.length;
      const to = ranged ? inside.charCodeAt(index + 2) : from;
      if (to < from) throw new TypeError('has a set whose range runs backwards');
      ranges.push({ from, to });
      if (ranged) index += 2;
    }
    steps.push({
      kind: 'one',
      accepts: (code) => ranges.some(({ from, to }) => code >= from && code <= to) !== negated,
    });
    at = end + 1;
  };
  const choice = (depth: number) => {
    if (depth > maxNesting)
      throw new TypeError(`has \`{\` nested more than ${String(maxNesting)} levels deep`);
    const starts: number[] = [];
    const ends: number[][] = [];
    steps.push({ kind: 'split', to: starts });
    for (;;) {
      starts.push(steps.length);
      sequence(depth);
      const end: number[] = [];
      ends.push(end);
      steps.push({ kind: 'split', to: end });
      const closing = pattern[at++];
      if (closing === '}') break;
      if (closing !== ',') throw new TypeError('has a `{` without a `}`');
    }
    for (const end of ends) end.push(steps.length);
  };
  const sequence = (depth: number) => {
    for (; at < pattern.length;) {
      const character = pattern[at]!;
      if (depth > 0 && (character === ',' || character === '}')) return;
      at++;
      if (character === '*') {
        while (pattern[at] === '*') at++;
        star();
      } else if (character === '?') steps.push({ kind: 'one', accepts: () => true });
      else if (character === '[') set();
      else if (character === '{') choice(depth + 1);
      else if (character === '\\') {
        if (at === pattern.length) throw new TypeError('ends in a `\\`');
        literal(pattern.charCodeAt(at++));
      } else literal(character.charCodeAt(0));
    }
  };
  sequence(0);
  return steps;
}

/** Follows all ways through the pattern at once, character by character, so that no pattern and no host makes it slow. */
function run(steps: readonly Step[], host: string): boolean {
  const end = steps.length;
  const seen = new Int32Array(end + 1).fill(-1);
  let current: number[] = [];
  let next: number[] = [];
  const enter = (into: number[], step: number, round: number): void => {
    if (seen[step] === round) return;
    seen[step] = round;
    const what = steps[step];
    if (what?.kind === 'split') for (const to of what.to) enter(into, to, round);
    else into.push(step);
  };
  enter(current, 0, 0);
  for (let at = 0; at < host.length; at++) {
    if (current.length === 0) return false;
    const code = host.charCodeAt(at);
    for (const step of current) {
      const what = steps[step];
      if (what?.kind === 'one' && what.accepts(code)) enter(next, step + 1, at + 1);
    }
    [current, next] = [next, current];
    next.length = 0;
  }
  return current.includes(end);
}
