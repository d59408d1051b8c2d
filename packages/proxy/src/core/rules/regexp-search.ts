import { isWordCode } from './regexp-classes.ts';
import type { CharSet } from './regexp-classes.ts';
import type { Assertion } from './regexp-parse.ts';

/** One step of a pattern: takes a character, goes on at several places at once, or only where something holds. */
export type Step =
  | { readonly kind: 'one'; readonly accepts: CharSet }
  | { readonly kind: 'split'; readonly to: readonly number[] }
  | { readonly kind: 'assert'; readonly what: Assertion };

/** All that matters of what stands before a place in a text. */
type Before = 'start' | 'line' | 'word' | 'other';

/** Where a search is between two characters. What comes of it with the next one is worked out once and kept. */
interface State {
  readonly before: Before;
  /** The steps that are reached. */
  readonly steps: readonly number[];
  /** By the class of the next character. True and false: that is the answer, whatever follows. */
  readonly next: (State | boolean | undefined)[];
}

/** Numbers that the states of one pattern may hold together, some hundred kilobytes. With more all are worked out anew. */
const maxKept = 50_000;

/** States that one text may add. One that goes on leading to new ones is searched without them, which is then quicker. */
const maxAdded = 500;

/** Characters beyond ASCII whose class is remembered. */
const maxRemembered = 4096;

/**
 * Makes the search for a pattern: whether it matches any part of a text. `anchored`: it can only begin where the text does.
 *
 * Characters that all steps treat alike are one class, and states are worked out as texts lead to them, as RE2 does; so a text
 * of which the like has been seen costs one look into a table for each character. At worst it is one round over the steps.
 */
export function createSearch(steps: readonly Step[], anchored: boolean): (text: string) => boolean {
  const classes = createClasses(steps);
  const entered = new Int32Array(steps.length + 1);
  let round = 0;
  let states = new Map<string, State>();
  let kept = 0;
  let added = 0;

  const stateOf = (before: Before, reached: readonly number[]): State => {
    const key = `${before} ${reached.join(' ')}`;
    const known = states.get(key);
    if (known !== undefined) return known;
    added++;
    kept += reached.length + 16;
    if (kept > maxKept) {
      states = new Map();
      kept = reached.length + 16;
    }
    const state: State = { before, steps: reached, next: [] };
    states.set(key, state);
    return state;
  };

  /** `code` is undefined at the end of the text. */
  const follow = (state: State, code: number | undefined): State | boolean => {
    round++;
    const pending = [...state.steps];
    const reached: number[] = [];
    for (let step = pending.pop(); step !== undefined; step = pending.pop()) {
      if (entered[step] === round) continue;
      entered[step] = round;
      const what = steps[step];
      if (what === undefined) return true;
      if (what.kind === 'split') pending.push(...what.to);
      else if (what.kind === 'assert') {
        if (holds(what.what, state.before, code)) pending.push(step + 1);
      } else if (code !== undefined && what.accepts(code)) reached.push(step + 1);
    }
    if (code === undefined) return false;
    // A match may begin at any place.
    if (!anchored) reached.push(0);
    else if (reached.length === 0) return false;
    if (added >= maxAdded) return { before: beforeOf(code), steps: reached, next: [] };
    return stateOf(
      beforeOf(code),
      reached.sort((a, b) => a - b),
    );
  };

  return (text) => {
    added = 0;
    let state = stateOf('start', [0]);
    for (let at = 0; ;) {
      const code = text.codePointAt(at);
      const kind = code === undefined ? 0 : classes.of(code);
      const next = (state.next[kind] ??= follow(state, code));
      if (typeof next === 'boolean') return next;
      state = next;
      at += code! > 0xffff ? 2 : 1;
    }
  };
}

/** Numbers characters from 1 so that two have the same number where no step tells them apart. */
function createClasses(steps: readonly Step[]): { of(code: number): number } {
  const sets = [...new Set(steps.flatMap((step) => (step.kind === 'one' ? [step.accepts] : [])))];
  const numbers = new Map<string, number>();
  const ascii = new Int32Array(128);
  const further = new Map<number, number>();
  const classify = (code: number): number => {
    // What assertions look at is told apart, too.
    let key: string = beforeOf(code);
    for (let from = 0; from < sets.length; from += 32) {
      let bits = 0;
      const end = Math.min(from + 32, sets.length);
      for (let at = from; at < end; at++) bits = (bits << 1) | (sets[at]!(code) ? 1 : 0);
      key += ` ${String(bits)}`;
    }
    const number = numbers.get(key) ?? numbers.size + 1;
    numbers.set(key, number);
    return number;
  };
  return {
    of(code) {
      if (code < 128) return ascii[code] || (ascii[code] = classify(code));
      const known = further.get(code);
      if (known !== undefined) return known;
      if (further.size >= maxRemembered) further.clear();
      const number = classify(code);
      further.set(code, number);
      return number;
    },
  };
}

function beforeOf(code: number): Before {
  if (code === 10) return 'line';
  return isWordCode(code) ? 'word' : 'other';
}

function holds(what: Assertion, before: Before, after: number | undefined): boolean {
  switch (what) {
    case 'textStart':
      return before === 'start';
    case 'textEnd':
      return after === undefined;
    case 'lineStart':
      return before === 'start' || before === 'line';
    case 'lineEnd':
      return after === undefined || after === 10;
    default: {
      const border = (before === 'word') !== (after !== undefined && isWordCode(after));
      return border === (what === 'wordBorder');
    }
  }
}
