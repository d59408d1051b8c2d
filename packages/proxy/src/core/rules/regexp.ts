import { isWordCode } from './regexp-classes.ts';
import type { CharSet } from './regexp-classes.ts';
import { parseRegexp } from './regexp-parse.ts';
import type { Assertion, Piece } from './regexp-parse.ts';

/** A regular expression in RE2's syntax, as GOST's rules have them. */
export interface Regexp {
  /**
   * Whether any part of the text matches. It takes at most (steps of the pattern) × (length of the text) steps, whatever the
   * two are: all ways through the pattern are followed at once, and none is gone back on.
   */
  test(text: string): boolean;
}

/** One step: takes a character, goes on at several places at once, or only where something holds. */
type Step =
  | { readonly kind: 'one'; readonly accepts: CharSet }
  | { readonly kind: 'split'; readonly to: number[] }
  | { readonly kind: 'assert'; readonly what: Assertion };

/** Steps of one pattern, its repetitions written out. `[a-z]{1,63}` takes 126. */
const maxSteps = 2000;

/** No pattern that a person writes comes near. */
const maxPatternLength = 4096;

/** Reads a pattern. Throws TypeError that says what is wrong at which of its characters. */
export function createRegexp(pattern: string): Regexp {
  if (pattern.length > maxPatternLength)
    throw new TypeError(`the pattern is longer than ${String(maxPatternLength)} characters`);
  const piece = parseRegexp(pattern);
  const steps: Step[] = [];
  emit(piece, steps);
  const anchored = beginsAtStart(piece);
  return { test: (text) => run(steps, text, anchored) };
}

function push(steps: Step[], step: Step): void {
  if (steps.length >= maxSteps) {
    throw new TypeError(
      `the pattern is longer than ${String(maxSteps)} steps when its repetitions are written out`,
    );
  }
  steps.push(step);
}

function emit(piece: Piece, steps: Step[]): void {
  switch (piece.kind) {
    case 'one':
    case 'assert':
      push(steps, piece);
      return;
    case 'all':
      for (const part of piece.of) emit(part, steps);
      return;
    case 'any': {
      const starts: number[] = [];
      const ends: number[][] = [];
      push(steps, { kind: 'split', to: starts });
      for (const choice of piece.of) {
        starts.push(steps.length);
        emit(choice, steps);
        const end: number[] = [];
        ends.push(end);
        push(steps, { kind: 'split', to: end });
      }
      for (const end of ends) end.push(steps.length);
      return;
    }
    case 'repeat':
      emitRepeat(piece, steps);
  }
}

function emitRepeat({ of, min, max }: Extract<Piece, { kind: 'repeat' }>, steps: Step[]): void {
  const before = steps.length;
  for (let times = 0; times < min; times++) {
    emit(of, steps);
    // What is made of nothing is as long a thousand times.
    if (steps.length === before) return;
  }
  if (max === Infinity) {
    const loop: number[] = [];
    const at = steps.length;
    push(steps, { kind: 'split', to: loop });
    emit(of, steps);
    push(steps, { kind: 'split', to: [at] });
    loop.push(at + 1, steps.length);
    return;
  }
  const exits: number[][] = [];
  for (let times = min; times < max; times++) {
    const exit = [steps.length + 1];
    exits.push(exit);
    push(steps, { kind: 'split', to: exit });
    emit(of, steps);
  }
  for (const exit of exits) exit.push(steps.length);
}

/** True where it can match nowhere but at the start of a text. */
function beginsAtStart(piece: Piece): boolean {
  if (piece.kind === 'assert') return piece.what === 'textStart';
  if (piece.kind === 'any') return piece.of.every(beginsAtStart);
  return piece.kind === 'all' && piece.of[0] !== undefined && beginsAtStart(piece.of[0]);
}

function run(steps: readonly Step[], text: string, anchored: boolean): boolean {
  const entered = new Int32Array(steps.length + 1).fill(-1);
  let current: number[] = [];
  let next: number[] = [];
  const pending: number[] = [];
  let before: number | undefined;
  let at = 0;
  for (let round = 0; ; round++) {
    const code = text.codePointAt(at);
    // The steps that the last character led to stand in `current`; a match may begin here, too.
    pending.push(...current);
    current.length = 0;
    if (round === 0 || !anchored) pending.push(0);
    else if (pending.length === 0) return false;
    for (let step = pending.pop(); step !== undefined; step = pending.pop()) {
      if (entered[step] === round) continue;
      entered[step] = round;
      const what = steps[step];
      if (what === undefined) return true;
      if (what.kind === 'one') current.push(step);
      else if (what.kind === 'split') pending.push(...what.to);
      else if (holds(what.what, before, code)) pending.push(step + 1);
    }
    if (code === undefined) return false;
    for (const step of current) {
      const what = steps[step]!;
      if (what.kind === 'one' && what.accepts(code)) next.push(step + 1);
    }
    [current, next] = [next, current];
    next.length = 0;
    before = code;
    at += code > 0xffff ? 2 : 1;
  }
}

function holds(what: Assertion, before: number | undefined, after: number | undefined): boolean {
  switch (what) {
    case 'textStart':
      return before === undefined;
    case 'textEnd':
      return after === undefined;
    case 'lineStart':
      return before === undefined || before === 10;
    case 'lineEnd':
      return after === undefined || after === 10;
    default: {
      const border = isWord(before) !== isWord(after);
      return border === (what === 'wordBorder');
    }
  }
}

function isWord(code: number | undefined): boolean {
  return code !== undefined && isWordCode(code);
}
