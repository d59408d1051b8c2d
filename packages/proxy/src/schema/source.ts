import { expandTabs } from './tabs.ts';

/** One configuration text as it is parsed: tabs in indentation are spaces by now, and every offset leads back to the original. */
export interface Source {
  /** What messages call it: the path as it was given, `stdin`, or `-C` for a text on the command line. */
  readonly name: string;
  readonly text: string;
  /** The lines, counted from 1, on which a tab stood in indentation. Empty for nearly every file. */
  readonly tabLines: readonly number[];
  /** Line and column (both from 1, columns in UTF-16 units) in the original of an offset in `text`. */
  position(offset: number): { readonly line: number; readonly column: number };
}

/** A point in a configuration text. Kept as an offset: line and column are counted only when a message needs them. */
export interface Place {
  readonly source: Source;
  readonly offset: number;
}

/** `gost.yml:12:5`, as editors and terminals understand it. */
export function formatPlace({ source, offset }: Place): string {
  const { line, column } = source.position(offset);
  return `${source.name}:${String(line)}:${String(column)}`;
}

/**
 * Prepares a text for the parser. A tab in the indentation of a YAML line is read as indentation to the next multiple of
 * four columns; YAML itself forbids such tabs and GOST refuses the file. In JSON a tab is white space and not mentioned.
 */
export function createSource(name: string, original: string): Source {
  // A byte order mark is no part of the text, and it takes no column in an editor either.
  const bare = original.startsWith('\uFEFF') ? original.slice(1) : original;
  const { text, lines } = expandTabs(bare);
  const byNumber = new Map(lines.map((line) => [line.number, line]));
  let starts: number[] | undefined;
  return {
    name,
    text,
    tabLines: isJson(bare) ? [] : lines.filter((line) => !line.blank).map((line) => line.number),
    position(offset) {
      starts ??= lineStarts(text);
      const index = lastAtOrBefore(starts, offset);
      const column = offset - starts[index]!;
      const line = byNumber.get(index + 1);
      return { line: index + 1, column: (line ? originalColumn(line, column) : column) + 1 };
    },
  };
}

/** GOST's rule for a text without a file name: one that begins with a brace is JSON. */
function isJson(text: string): boolean {
  return /^\s*\{/.test(text);
}

/** Columns from 0. Inside what a tab became, the tab's own column is the answer. */
function originalColumn(line: { before: string; width: number }, column: number): number {
  if (column >= line.width) return column - line.width + line.before.length;
  let at = 0;
  for (let index = 0; index < line.before.length; index++) {
    at = line.before[index] === '\t' ? at + 4 - (at % 4) : at + 1;
    if (at > column) return index;
  }
  return line.before.length;
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1);
  return starts;
}

function lastAtOrBefore(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (sorted[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
