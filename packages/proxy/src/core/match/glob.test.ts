import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseGlob } from './glob.ts';

describe('a pattern', () => {
  test.each([
    ['*', 'anything.at.all', true],
    ['*', '', true],
    ['*.example.com', 'a.b.example.com', true],
    ['*.example.com', 'example.com', false],
    ['*example.com', 'badexample.com', true],
    ['*.Example.COM', 'a.example.com', true],
    ['www.*.com', 'www.a.b.com', true],
    ['www.*.com', 'www.com', false],
    ['a?c.example', 'abc.example', true],
    ['a?c.example', 'ac.example', false],
    ['a?c.example', 'abbc.example', false],
    ['10.*.1', '10.2.3.1', true],
    ['*.[ab].example', 'x.b.example', true],
    ['*.[ab].example', 'x.c.example', false],
    ['*.[!ab].example', 'x.c.example', true],
    ['*.[!ab].example', 'x.a.example', false],
    ['h[0-9]*', 'h7.example', true],
    ['h[0-9]*', 'hx.example', false],
    ['*.{com,example.org}', 'a.example.org', true],
    ['*.{com,example.org}', 'a.com', true],
    ['*.{com,example.org}', 'a.org', false],
    ['{a,b{c,d}}*', 'bdx', true],
    ['{a,b{c,d}}*', 'bx', false],
    ['{,www.}example.*', 'example.com', true],
    ['{,www.}example.*', 'www.example.com', true],
    ['{a*,b}z?', 'aqqzx', true],
    ['a\\*b?', 'a*bc', true],
    ['a\\*b?', 'axbc', false],
    ['**', 'x', true],
  ])('%s and %s: %s', (pattern, host, matches) => {
    expect(parseGlob(pattern).matches(host)).toBe(matches);
  });

  test('may be for some ports only', () => {
    expect(parseGlob('*.example.com:443')).toMatchObject({
      ports: { min: 443, max: 443 },
      below: 'example.com',
    });
    expect(parseGlob('*:0-65535')).toMatchObject({ pattern: '*', ports: { min: 0, max: 65535 } });
    expect(parseGlob('[2001:db8::*]:80')).toMatchObject({
      pattern: '2001:db8::*',
      ports: { min: 80, max: 80 },
    });
    expect(parseGlob('2001:db8::*').ports).toBeUndefined();
  });

  test.each([
    ['*:x', 'port'],
    ['*:', 'port'],
    ['*:70000', 'port'],
    ['*:9-1', 'port'],
    ['*.b[', '`['],
    ['*.[]x', '`['],
    ['*.[b-a]', 'backwards'],
    ['*.{a,b', '`{'],
    [`*${'{'.repeat(9)}a${'}'.repeat(9)}`, 'nested'],
    ['*\\', '`\\`'],
    ['*.bücher.example', 'encoded'],
    [`*${'a'.repeat(512)}`, '512'],
    ['* x', 'encoded'],
  ])('%s is none', (pattern, why) => {
    expect(() => parseGlob(pattern)).toThrow(TypeError);
    expect(() => parseGlob(pattern)).toThrow(why);
  });

  test.each([
    ['10.*', true],
    ['fe80::*', true],
    ['[0-9]*', true],
    ['*', false],
    ['*.de', false],
    ['host1*', false],
  ])('%s speaks of addresses: %s', (pattern, speaks) => {
    expect(parseGlob(pattern).speaksOfAddresses).toBe(speaks);
  });

  test('matches as a regular expression of stars and dots does', () => {
    const piece = fc.constantFrom('a', 'b', '.', '*', '?');
    const host = fc.array(fc.constantFrom('a', 'b', '.'), { maxLength: 10 });
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 8 }), host, (pieces, characters) => {
        const pattern = pieces.join('');
        const text = characters.join('');
        const expression = pieces.map((one) =>
          one === '*' ? '.*' : one === '?' ? '.' : one === '.' ? '\\.' : one,
        );
        expect(parseGlob(pattern).matches(text)).toBe(new RegExp(`^${expression.join('')}$`, 's').test(text));
      }),
      { numRuns: 500 },
    );
  });

  test('what a backtracking matcher would take for ever over ends at once', () => {
    const host = `${'a'.repeat(253)}`;
    expect(parseGlob(`${'*a'.repeat(250)}b*`).matches(host)).toBe(false);
    expect(parseGlob(`*{${'{a,a}'.repeat(90)},c}b?`).matches(host)).toBe(false);
  });

  test('garbage is a pattern or a TypeError', () => {
    const piece = fc.oneof(
      fc.constantFrom('*', '?', '[', ']', '{', '}', ',', '!', '-', '\\', ':', '.'),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(piece), fc.string(), (pieces, host) => {
        try {
          parseGlob(pieces.join('')).matches(host);
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
