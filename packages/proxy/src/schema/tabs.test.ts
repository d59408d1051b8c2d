import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createSource } from './source.ts';
import { expandTabs } from './tabs.ts';

const expand = (text: string) => expandTabs(text).text;

test('a tab in indentation reaches to the next multiple of four', () => {
  expect(expand('a:\n\tb: 1\n  \tc: 1\n\t  d:\n\t\te: 1\n')).toBe(
    'a:\n    b: 1\n    c: 1\n      d:\n        e: 1\n',
  );
});

test('tabs elsewhere stay', () => {
  const text = 'a: x\ty\nb:\t1\nc: "q\tr"\n';
  expect(expandTabs(text)).toEqual({ text, lines: [] });
});

test('the text of a block scalar keeps its tabs, before it a tab is indentation', () => {
  expect(expand('a: |\n  \tkept\n  b\tc\nd:\n\te: 1\n')).toBe('a: |\n  \tkept\n  b\tc\nd:\n    e: 1\n');
  expect(expand('a: |\n\tone\n\t\ttwo\nb: 1\n')).toBe('a: |\n    one\n    \ttwo\nb: 1\n');
  expect(expand('a: >2-\n  \tkept\n\tb: 1\n')).toBe('a: >2-\n  \tkept\n    b: 1\n');
  expect(expand('- x: |\n    \tkept\n  y:\n\tz: 1\n')).toBe('- x: |\n    \tkept\n  y:\n    z: 1\n');
  expect(expand('- |\n \tkept\n- b:\n\tc: 1\n')).toBe('- |\n \tkept\n- b:\n    c: 1\n');
});

test('what looks like a block scalar inside a quote or a list in brackets is none', () => {
  expect(expand('a: "x: |\n\ty"\nb:\n\tc: 1\n')).toBe('a: "x: |\n    y"\nb:\n    c: 1\n');
  expect(expand('a: [x,\n\t|,\n\ty]\n')).toBe('a: [x,\n    |,\n    y]\n');
  expect(expand('# it\'s |\n\ta: 1\nb: it"s\n\tc: 1\n')).toBe('# it\'s |\n    a: 1\nb: it"s\n    c: 1\n');
  expect(expand('a: x | # |\n\tb: 1\n')).toBe('a: x | # |\n    b: 1\n');
});

test('positions lead back to the original line and column', () => {
  const original = 'a:\n \t\tb: x\nc: y\n';
  const source = createSource('f', original);
  expect(source.position(source.text.indexOf('b'))).toEqual({ line: 2, column: 4 });
  expect(source.position(source.text.indexOf('x'))).toEqual({ line: 2, column: 7 });
  expect(source.position(source.text.indexOf('y'))).toEqual({ line: 3, column: 4 });
  expect(source.tabLines).toEqual([2]);
});

test('lines of white space and JSON are not spoken of', () => {
  expect(createSource('f', 'a: 1\n\t\n\t \nb: 2\n').tabLines).toEqual([]);
  expect(createSource('f', '{\n\t"a": 1\n}').tabLines).toEqual([]);
});

test('nothing but leading white space ever changes, and every position finds its character', () => {
  const piece = fc.constantFrom(
    '\t',
    ' ',
    '  ',
    '\n',
    '- ',
    'a: ',
    'b',
    '|',
    '>',
    '"',
    "'",
    '[',
    ']',
    '{',
    '}',
    '#',
    ',',
    ':',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      const original = pieces.join('');
      const source = createSource('f', original);
      const before = original.split('\n');
      for (const [index, line] of source.text.split('\n').entries()) {
        expect(line.trimStart()).toBe(before[index]!.trimStart());
      }
      for (let offset = 0; offset < source.text.length; offset++) {
        if (/\s/.test(source.text[offset]!)) continue;
        const { line, column } = source.position(offset);
        expect(before[line - 1]![column - 1]).toBe(source.text[offset]);
      }
    }),
    { numRuns: 500 },
  );
});
