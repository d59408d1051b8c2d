import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRegexp } from './regexp.ts';

describe('what a pattern matches', () => {
  // As Go's regexp says, which is RE2.
  test.each<[pattern: string, yes: readonly string[], no: readonly string[]]>([
    ['', ['', 'a'], []],
    ['b', ['abc'], ['ac', 'B']],
    ['^a.c$', ['abc', 'a.c'], ['ac', 'xabc', 'abc\n', 'a\nc']],
    ['(?s)^a.c$', ['a\nc'], []],
    ['(?m)^b$', ['a\nb\nc', 'b'], ['ab']],
    ['(?i)^straße|K$', ['STRAßE', 'k'], ['strasse']],
    ['(?i:a)b', ['Ab'], ['AB']],
    ['(?i)a(?-i)b', ['Ab'], ['AB']],
    ['x(?i)a|b', ['xA', 'B'], ['XA']],
    ['(a(?i)b)c', ['aBc'], ['aBC', 'Abc']],
    ['^(?:ab|cd)+$', ['ab', 'abcd'], ['', 'abc']],
    ['^(?P<name>a)(?<other>b)$', ['ab'], ['a']],
    ['^a{2,3}$', ['aa', 'aaa'], ['a', 'aaaa']],
    ['^a{2}$', ['aa'], ['a', 'aaa']],
    ['^a{2,}$', ['aa', 'aaaaa'], ['a']],
    ['^a{0}b$', ['b'], ['ab']],
    ['^a{,2}$', ['a{,2}'], ['a', 'aa']],
    ['^a+?b*?c??$', ['a', 'aabbc'], ['b']],
    ['^(a*)*$', ['', 'aaa'], ['b']],
    ['^a(?i)*B$', ['aab', 'B'], ['Ab']],
    ['^(|a)+$', ['', 'aa'], ['b']],
    ['^[a-c]+$', ['abc'], ['d', '']],
    ['^[^a-c]$', ['d', '\n', '-'], ['a']],
    ['^[]a]+$', [']a'], ['b']],
    ['^[^]]$', ['a'], [']']],
    ['^[a-]$', ['a', '-'], ['b']],
    ['^[\\d.-]+$', ['1.2-3'], ['a']],
    ['^[[:alpha:]_[:^ascii:]]+$', ['aZ_é'], ['1']],
    ['(?i)^[a-c]$', ['B'], ['D']],
    ['(?i)^[^a]$', ['b'], ['a', 'A']],
    ['^\\d\\D\\w\\W\\s\\S$', ['1a_- x'], ['11_- x', '1a_-\vx', 'éa_- x']],
    ['\\bfoo\\b', ['a foo.', 'foo'], ['foot', '_foo']],
    ['\\Boo', ['foo'], ['oo']],
    ['\\Aa\\z', ['a'], ['a\n', 'ba']],
    ['^\\Qa.b*\\E+$', ['a.b*', 'a.b**'], ['aXb', 'a.b*a.b*']],
    ['^\\Qa.b', ['a.b'], ['aXb']],
    ['^\\x41\\x{1F600}\\101\\t\\.\\/\\_$', ['A😀A\t./_'], []],
    ['^\\pL\\p{Lu}\\p{Greek}\\PN\\p{^N}$', ['éÉαxx'], ['éÉα1x', '1Éαxx']],
    ['^.$', ['😀', 'a'], ['ab', '']],
    ['^([a-z0-9-]+\\.)+example\\.com$', ['a.b.example.com'], ['example.com', 'a.example.comx']],
    ['a|^b|c$', ['xa', 'bx', 'xc'], ['xb', 'cx']],
    ['(^a)*b', ['b', 'xb', 'ab'], ['a']],
  ])('%s', (pattern, yes, no) => {
    const regexp = createRegexp(pattern);
    for (const text of yes) expect([text, regexp.test(text)]).toEqual([text, true]);
    for (const text of no) expect([text, regexp.test(text)]).toEqual([text, false]);
  });

  test('the same as JavaScript, where both mean the same', () => {
    const { pattern } = fc.letrec<{ pattern: string }>((tie) => ({
      pattern: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.constantFrom('a', 'b', '[ab]', '[^a]', '.', '\\b', '\\d', '1', '^', '$', '(?:)'),
        fc.tuple(tie('pattern'), tie('pattern')).map(([a, b]) => a + b),
        fc.tuple(tie('pattern'), tie('pattern')).map(([a, b]) => `(?:${a}|${b})`),
        fc
          .tuple(tie('pattern'), fc.constantFrom('*', '+', '?', '{2}', '{1,2}', '{0,1}', '{2,}', '*?'))
          .map(([a, times]) => `(?:${a})${times}`),
      ),
    }));
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '1', ' '), maxLength: 8 });
    fc.assert(
      fc.property(pattern, fc.array(text, { maxLength: 5 }), (written, texts) => {
        const [ours, theirs] = [createRegexp(written), new RegExp(written, 'u')];
        for (const one of texts) expect([one, ours.test(one)]).toEqual([one, theirs.test(one)]);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('what is no pattern', () => {
  test.each([
    ['a(b', 'character 2 of the pattern: a `(` without a `)`'],
    ['a)b', 'character 2 of the pattern: a `)` without a `(`'],
    ['[a', 'character 1 of the pattern: a `[` without a `]`'],
    ['[b-a]', 'character 2 of the pattern: a range that runs backwards'],
    ['[a-\\d]', 'character 4 of the pattern: RE2 knows no such escape'],
    ['[[:nope:]]', 'character 2 of the pattern: no class of characters has this name'],
    ['*a', 'character 1 of the pattern: a repetition of nothing'],
    ['(|+)', 'character 3 of the pattern: a repetition of nothing'],
    ['(?i)*', 'character 5 of the pattern: a repetition of nothing'],
    ['a**', 'character 3 of the pattern: a repetition of a repetition; put the first one in parentheses'],
    ['a{2}{3}', 'character 5 of the pattern: a repetition of a repetition; put the first one in parentheses'],
    ['a{3,2}', 'character 2 of the pattern: a repetition whose least is more than its most'],
    ['a{1001}', 'character 2 of the pattern: a repetition of more than 1000 times'],
    ['(?=a)', 'character 1 of the pattern: look-around is no part of RE2'],
    ['(?<!a)', 'character 1 of the pattern: look-around is no part of RE2'],
    [
      '(?>a)',
      'character 1 of the pattern: `(?` begins no group that RE2 knows: `(?:`, `(?P<name>` or flags such as `(?i)`',
    ],
    ['(a)\\1', 'character 4 of the pattern: a reference back to a group is no part of RE2'],
    ['\\Z', 'character 1 of the pattern: RE2 knows no such escape'],
    ['a\\', 'character 2 of the pattern: a `\\` with nothing behind it'],
    ['\\x{110000}', 'character 1 of the pattern: `\\x` without a character’s number'],
    ['\\p{Klingon}', 'character 2 of the pattern: no category and no script of Unicode has this name'],
    ['(a{1000}){1000}', 'the pattern is longer than 2000 steps when its repetitions are written out'],
    ['(a{0,1000}){1000}', 'the pattern is longer than 2000 steps when its repetitions are written out'],
    ['a'.repeat(4097), 'the pattern is longer than 4096 characters'],
  ])('%#', (pattern, message) => {
    expect(() => createRegexp(pattern)).toThrow(new TypeError(message));
  });

  test('anything at all is a pattern or a TypeError that says where, soon', () => {
    const part = fc.constantFrom(
      ...'()[]{}*+?|^$.\\-,:=!<>P019aQEpLdxi'.split(''),
      ...['(?', '{1,2}', '\\Q', '[:', ':]', '[^', '\\p{', '😀'],
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 30 }), fc.string({ maxLength: 30 }), (parts, text) => {
        try {
          createRegexp(parts.join('')).test(text);
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
          expect((error as Error).message).toMatch(/^(character \d+ of )?the pattern/);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

test('what was worked out and forgotten is worked out again', () => {
  // As many states as there are texts of a and b of this length: more than are kept.
  const written = '^.*a.{14}b$';
  const [ours, theirs] = [createRegexp(written), new RegExp(written)];
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'é'), minLength: 300, maxLength: 900 });
  fc.assert(
    fc.property(text, (one) => {
      expect(ours.test(one)).toBe(theirs.test(one));
    }),
    { numRuns: 100 },
  );
});

test('patterns that others go back and forth in are as quick as any', () => {
  // Going back, each of these takes longer than the age of the world.
  const text = `${'a'.repeat(8000)}!`;
  for (const pattern of [
    '^(a+)+$',
    '^(a|a)*$',
    '^(a|aa)+$',
    '(x+x+)+y|(.*)*z',
    '^(([a-z])+.)+[A-Z]([a-z])+$',
  ]) {
    const started = performance.now();
    expect(createRegexp(pattern).test(text)).toBe(false);
    expect(performance.now() - started).toBeLessThan(2000);
  }
});
