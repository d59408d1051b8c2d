/** A line whose leading white space was rewritten. */
export interface ExpandedLine {
  /** From 1. */
  readonly number: number;
  /** The white space that was replaced, as it stood there. It ends with a tab. */
  readonly before: string;
  /** How many spaces stand in its place. */
  readonly width: number;
  /** True for a line of nothing but white space: its tabs mean nothing, and nobody needs to hear of them. */
  readonly blank: boolean;
}

/**
 * Rewrites the tabs in the indentation of YAML lines as spaces, to the next multiple of four columns each.
 *
 * Only white space that YAML would count as indentation is touched. The text of a block scalar (`|`, `>`) begins at the
 * column of its first line (or at its indicator); a tab from there on is content and stays, a tab before it is
 * indentation. A continued line of a quoted or plain value drops its leading white space in any case (YAML 1.2.2, section
 * 6.7), so that a tab there is indentation too and the value stays the same. A text without such tabs is returned as it is.
 */
export function expandTabs(text: string): { text: string; lines: ExpandedLine[] } {
  if (!/^ *\t/m.test(text)) return { text, lines: [] };
  const out: string[] = [];
  const lines: ExpandedLine[] = [];
  const scanner = createScanner();
  for (const [index, line] of text.split('\n').entries()) {
    const lead = /^[ \t]*/.exec(line)![0];
    const blank = line.length === lead.length || line.slice(lead.length) === '\r';
    const kept = scanner.indentation(lead, blank);
    // The rewritten part ends with the last tab in it, so that a line of spaces before content is left alone.
    const before = kept === 0 ? '' : lead.slice(0, lead.lastIndexOf('\t', kept - 1) + 1);
    const width = blank && kept === lead.length ? 0 : columns(before);
    const rest = line.slice(before.length);
    if (before !== '') lines.push({ number: index + 1, before, width, blank });
    const now = before === '' ? line : ' '.repeat(width) + rest;
    if (!blank) scanner.line(now);
    out.push(now);
  }
  return { text: out.join('\n'), lines };
}

function columns(white: string): number {
  let column = 0;
  for (const char of white) column = char === '\t' ? column + 4 - (column % 4) : column + 1;
  return column;
}

interface BlockScalar {
  /** The text belongs to a node at this column and must stand deeper; -1 at the top. */
  readonly parent: number;
  /** The column at which content begins, once it is known. */
  content: number | undefined;
}

/** Knows, line after line, in what kind of YAML text the next line begins. */
interface Scanner {
  /** How many characters of a line's leading white space are indentation, the rest being content. */
  indentation(lead: string, blank: boolean): number;
  /** Reads a line whose tabs are already spaces. */
  line(line: string): void;
}

function createScanner(): Scanner {
  /** Columns of the open block collections, outermost first. */
  let open: number[] = [];
  let quote = '';
  let flow = 0;
  let block: BlockScalar | undefined;

  /** Follows what is not block structure: quoted text and flow collections. Answers where it stopped, past the end mostly. */
  const skipInline = (line: string, from: number): number => {
    let at = from;
    while (at < line.length) {
      const char = line[at]!;
      if (quote !== '') {
        if (char === '\\' && quote === '"') at++;
        else if (char === quote) {
          if (quote === "'" && line[at + 1] === "'") at++;
          else quote = '';
        }
        at++;
        if (quote === '' && flow === 0) return at;
        continue;
      }
      if (char === '#' && (at === 0 || /\s/.test(line[at - 1]!))) return line.length;
      if (char === '"' || char === "'") {
        // Inside a plain word a quote is a letter.
        if (at === 0 || /[\s[{,:]/.test(line[at - 1]!)) quote = char;
      } else if (char === '[' || char === '{') flow++;
      else if (char === ']' || char === '}') {
        flow--;
        if (flow === 0) return at + 1;
      }
      at++;
    }
    return at;
  };

  const startBlock = (header: string, parent: number) => {
    const digit = /[1-9]/.exec(header)?.[0];
    block = { parent, content: digit === undefined ? undefined : Math.max(parent, 0) + Number(digit) };
  };

  return {
    indentation(lead, blank) {
      if (block === undefined) return lead.length;
      if (block.content === undefined) {
        if (blank) return lead.length;
        const spaces = /^ */.exec(lead)![0].length;
        // Deep enough by spaces alone: the text begins here, and what follows them is its first word.
        if (spaces > block.parent && spaces > 0) block.content = spaces;
        else if (columns(lead) > block.parent) block.content = columns(lead);
        else return lead.length;
      }
      let column = 0;
      let index = 0;
      while (index < lead.length && column < block.content) {
        column = lead[index] === '\t' ? column + 4 - (column % 4) : column + 1;
        index++;
      }
      return index;
    },
    line(line) {
      const indent = /^ */.exec(line)![0].length;
      if (block !== undefined) {
        if (block.content !== undefined && indent >= block.content) return;
        block = undefined;
      }
      let at = indent;
      if (quote !== '' || flow > 0) {
        at = skipInline(line, 0);
      } else {
        if (line.startsWith('---') || line.startsWith('...')) {
          open = [];
          at = 3;
        } else if (line[at] !== '#') {
          open = open.filter((column) => column < indent);
        }
      }
      const outer = open.at(-1) ?? -1;
      let parent = outer;
      while (at < line.length && quote === '' && flow === 0) {
        const rest = line.slice(at);
        const skip =
          /^\s+/.exec(rest) ?? // between two words
          /^[&!][^\s]*(?=\s|$)/.exec(rest); // an anchor or a tag belongs to what follows
        const header = /^[|>][-+1-9]*\s*(#.*)?$/.exec(rest);
        if (rest.startsWith('#')) return;
        if (skip !== null) at += skip[0].length;
        else if (header !== null) {
          startBlock(header[0], parent);
          return;
        } else if (/^[-?:](\s|$)/.test(rest)) {
          if (rest[0] !== ':') {
            open.push(at);
            parent = at;
          }
          at++;
        } else if (/^["'[{]/.test(rest)) {
          const start = at;
          at = skipInline(line, at);
          if (/^\s*:(\s|$)/.test(line.slice(at))) {
            open.push(start);
            parent = start;
          }
        } else {
          const key = /^[^#]*?:(?=\s|$)/.exec(rest);
          // A plain value reaches to the end of its line; what it holds is no structure.
          if (key === null) return;
          open.push(at);
          parent = at;
          at += key[0].length;
        }
      }
    },
  };
}
