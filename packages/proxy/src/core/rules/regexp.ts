import { parseRegexp } from './regexp-parse.ts';
import type { Piece } from './regexp-parse.ts';
import { createSearch } from './regexp-search.ts';
import type { Step } from './regexp-search.ts';

/** A regular expression in RE2's syntax, as GOST's rules have them. */
export interface Regexp {
  /**
   * Whether any part of the text matches. It takes at most (steps of the pattern) × (length of the text) steps, whatever the
   * two are, and most often one for each character: all ways through the pattern are followed at once.
   */
  test(text: string): boolean;
}

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
  return { test: createSearch(steps, beginsAtStart(piece)) };
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
