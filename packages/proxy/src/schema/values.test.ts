import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { metadataDurationMs } from './durations.ts';
import { valueToJson } from './json.ts';
import { parseTree } from './parse.ts';
import type { Value } from './parse.ts';
import type { Reader } from './read.ts';
import { createReport } from './report.ts';
import { createSource } from './source.ts';
import { texts } from './texts.ts';

function tree(text: string): Value {
  const report = createReport();
  const value = parseTree(createSource('t', text), report, {});
  expect(report.errors).toEqual([]);
  return value!;
}

function read<T>(reader: Reader<T>, text: string) {
  const report = createReport();
  const value = reader(tree(text), 'at', { report, lenient: false });
  return { value, errors: report.errors.map(({ path, message }) => `${path}: ${message}`) };
}

describe('a tree as JSON', () => {
  test('is what JSON.parse makes of any JSON text', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        expect(JSON.parse(valueToJson(tree(JSON.stringify({ value }))))).toEqual(
          JSON.parse(JSON.stringify({ value })),
        );
      }),
      { numRuns: 200 },
    );
  });

  test.each([
    ['9007199254740993', '9007199254740993'],
    ['-0.5', '-0.5'],
    ['1e3', '1e3'],
    ['0x10', '16'],
    ['.5', '0.5'],
    ['+7', '7'],
    ['"7"', '"7"'],
    ['0123', /^("0123"|123|83)$/],
    ['.inf', '".inf"'],
    ['.nan', '".nan"'],
    ['~', 'null'],
    ['true', 'true'],
    ['"a\\"\\u2028"', /^"a\\"/],
  ])('%s', (written, expected) => {
    const json = valueToJson(tree(`[${written}]`)).slice(1, -1);
    expect(json).toMatch(
      typeof expected === 'string' ? new RegExp(`^${expected.replace(/[.+*$]/g, '\\$&')}$`) : expected,
    );
    JSON.parse(json);
  });
});

describe('texts by their keys', () => {
  test('keep their order, spelling and digits; nothing is an empty text', () => {
    const { value, errors } = read(texts(), 'X-B: 0123\nx-a: "yes"\nNone:\n');
    expect(errors).toEqual([]);
    expect(value).toEqual([
      ['X-B', '0123'],
      ['x-a', 'yes'],
      ['None', ''],
    ]);
  });

  test.each(['- a', 'a: {b: c}', 'a: [b]', 'a: true'])('%s is an error', (written) => {
    expect(read(texts(), written).errors).toHaveLength(1);
  });
});

describe('a duration in metadata', () => {
  test.each([
    ['15', 15_000],
    ['0', 0],
    ['"15"', 15_000],
    ['1m30s', 90_000],
    ['250ms', 250],
  ])('%s', (written, ms) => {
    const { value, errors } = read(metadataDurationMs(), written);
    expect(errors).toEqual([]);
    expect(value).toBe(ms);
  });

  test.each(['10000000000', '-1s', '1 s', 'soon', '[1]', '1.5'])('%s is an error', (written) => {
    const { value, errors } = read(metadataDurationMs(), written);
    expect(value).toBeUndefined();
    expect(errors).toHaveLength(1);
  });
});
