import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { functions } from './functions.ts';
import { namesInRule, parseRule } from './parse.ts';
import type { RuleList, RuleNode } from './parse.ts';

const tree = (text: string) => parseRule(text).tree;
const host = (name: string): RuleNode => ({ kind: 'call', name: 'Host', args: [name] });
const [a, b, c] = ['a', 'b', 'c'].map(host) as [RuleNode, RuleNode, RuleNode];

describe('a rule', () => {
  test.each<[text: string, tree: RuleNode]>([
    ['Host(`a`)', a],
    ['  host ( "a" ) ', a],
    ['HOST(`a`)', a],
    ['Host(`a`) && Host(`b`) && Host(`c`)', { kind: 'all', of: [a, b, c] }],
    ['Host(`a`)||Host(`b`)&&Host(`c`)', { kind: 'any', of: [a, { kind: 'all', of: [b, c] }] }],
    ['(Host(`a`)||Host(`b`))&&Host(`c`)', { kind: 'all', of: [{ kind: 'any', of: [a, b] }, c] }],
    [
      '!Host(`a`) && !(Host(`b`))',
      {
        kind: 'all',
        of: [
          { kind: 'not', of: a },
          { kind: 'not', of: b },
        ],
      },
    ],
    ['!!((Host(`a`)))', { kind: 'not', of: { kind: 'not', of: a } }],
    ['Host(`a`)\n||\n\tHost(`b`)', { kind: 'any', of: [a, b] }],
    [
      'Header(`X`,\n"a\\"\\\\\\t\\u00e9\\x41\\101\\U0001f600")',
      { kind: 'call', name: 'Header', args: ['X', 'a"\\\té\x41A😀'] },
    ],
    ['PathRegexp(`^\\d"+$`)', { kind: 'call', name: 'PathRegexp', args: ['^\\d"+$'] }],
  ])('%s', (text, expected) => {
    expect(tree(text)).toEqual(expected);
    expect(parseRule(text).text).toBe(text);
  });

  test('names the modules that it asks, each once', () => {
    const rule = parseRule('Bypass(`x`) && (!Admission(`y`) || Bypass(`z`) || Bypass(`x`))');
    expect(namesInRule(rule)).toEqual({ bypass: ['x', 'z'], admission: ['y'] });
  });

  test('that is printed is read as it was', () => {
    fc.assert(
      fc.property(anyRule, fc.constantFrom('', ' ', '\n '), (rule, space) => {
        expect(tree(print(rule, space))).toEqual(rule);
      }),
    );
  });
});

describe('what is wrong is said with its place', () => {
  test.each([
    ['', 1, 'expected a function such as `Host`, `!` or `(`, found the end of the rule'],
    ['Host(`a`) &&', 13, 'expected a function such as `Host`, `!` or `(`, found the end of the rule'],
    ['&& Host(`a`)', 1, 'expected a function such as `Host`, `!` or `(`, found `&`'],
    ['Hst(`a`)', 1, 'unknown function `Hst`; did you mean `Host`?'],
    ['Host(`a`) && PathPrefx(`/a`)', 14, 'unknown function `PathPrefx`; did you mean `PathPrefix`?'],
    ['Rule(`a`)', 1, `unknown function \`Rule\`; known: ${Object.keys(functions).join(', ')}`],
    [
      'Host(`a`) || bodyJSON(`a`, `b`)',
      14,
      "GOST's function `BodyJSON` is not served by this version, which chooses a node before the body of a request has come",
    ],
    [
      'BodyRegexp(`a`)',
      1,
      "GOST's function `BodyRegexp` is not served by this version, which chooses a node before the body of a request has come",
    ],
    ['Host(`a`) & Host(`b`)', 11, 'a single `&`; write `&&`'],
    ['Host(`a`) or Host(`b`)', 11, 'write `||` for `or`'],
    ['Host(`a`) Host(`b`)', 11, 'expected `&&`, `||` or the end of the rule, found something else'],
    ['(Host(`a`)', 1, 'a `(` without a `)`'],
    ['(Host(`a`) x', 12, 'expected `&&`, `||` or `)`, found something else'],
    ['Host(`a`))', 10, 'a `)` without a `(`'],
    ['Host `a`', 6, 'expected the arguments of `Host` in parentheses, found a backtick'],
    ["Host('a')", 6, 'an argument stands in backticks or double quotes'],
    ['Host(a)', 6, 'an argument stands in backticks or double quotes'],
    ['Host(', 6, 'expected an argument, found the end of the rule'],
    ['Host(`a', 6, 'a text whose backtick is not closed'],
    ['Host("a', 6, 'a text whose double quote is not closed'],
    ['Host("\\q")', 7, 'no escape that Go knows; in backticks a `\\` is just that'],
    ['Host("\\xff")', 7, 'no escape that Go knows; in backticks a `\\` is just that'],
    ['Host(`a` `b`)', 10, 'expected `,` or `)` behind an argument of `Host`, found a backtick'],
    ['Host()', 1, '`Host` takes 1 argument, not 0'],
    ['Host(`a`, `b`)', 1, '`Host` takes 1 argument, not 2'],
    ['!Query(`a`, `b`, `c`, `d`)', 2, '`Query` takes 1 or 2 or 3 arguments, not 4'],
    ['Header(`a`, ``)', 13, '`Header`: an argument is empty'],
    ['Host(`a:80`)', 6, '`Host`: is no host name; it has no port and no path'],
    ['Host(`a.*.b`)', 6, '`Host`: a `*` stands only in front; use `HostRegexp` for other patterns'],
    ['Host(`*`)', 6, '`Host`: names no host; for every host leave the function out'],
    ['HostRegexp(`é`)', 12, '`HostRegexp`: holds letters that a host has only encoded (`xn--`)'],
    ['ClientIP(`10.0.0.0/33`)', 10, '`ClientIP`: is neither an IP address nor a network'],
    ['Network(`tcp4`)', 9, '`Network`: no network begins so; known: tcp, udp'],
    ['Proto(`htpp`)', 7, '`Proto`: unknown protocol; did you mean `http`?; known: http, tls, ssh, redis'],
    [
      'Proto(`quic`)',
      7,
      "`Proto`: GOST's protocol `quic` is not served by this version, which does not look into QUIC",
    ],
    ['Path(`a`)', 6, '`Path`: a path begins with `/`'],
    ['PathPrefix(`a`)', 12, '`PathPrefix`: a path begins with `/`'],
    ['PathRegexp(`a(`)', 12, '`PathRegexp`: character 2 of the pattern: a `(` without a `)`'],
    ['Header(`a`, `is`, `1`)', 13, '`Header`: no comparison; known: gt, ge, lt, le, eq, ne'],
    ['Header(`a`, `toString`, `1`)', 13, '`Header`: no comparison; known: gt, ge, lt, le, eq, ne'],
    ['Query(`a`, `gt`, `much`)', 18, '`Query`: is no number'],
    ['HeaderRegexp(`a`, `[`)', 19, '`HeaderRegexp`: character 1 of the pattern: a `[` without a `]`'],
  ])('%s', (text, character, message) => {
    expect(() => parseRule(text)).toThrow(
      new TypeError(`character ${String(character)} of the rule: ${message}`),
    );
  });

  test('what costs too much is refused', () => {
    const deep = (levels: number) => `${'('.repeat(levels)}Host(\`a\`)${')'.repeat(levels)}`;
    expect(tree(deep(100))).toEqual(a);
    expect(() => parseRule(deep(101))).toThrow('nested more than 100 deep');
    expect(() => parseRule(`${'!'.repeat(50_000)}Host(\`a\`)`)).toThrow('nested more than 100 deep');
    expect(() => parseRule('Host(`a`)||'.repeat(10_000))).toThrow('longer than 65536 characters');
    const wide = Array.from({ length: 3000 }, () => 'Host(`a`)').join('||');
    expect((tree(wide) as RuleList).of).toHaveLength(3000);
  });

  test('anything at all is a rule or a TypeError that says where and repeats no argument', () => {
    const part = fc.constantFrom(
      ...['Host', '(', ')', '`', '"', '&&', '||', '!', ',', ' ', '\\', '/', '*.', 'gt', '1', '\n', '&', '😀'],
      ...[...Object.keys(functions), '`a`', '("s3cret")', '(`s3cret`, `x`)', '(`a(`)'],
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
        const text = parts.join('');
        try {
          parseRule(text);
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
          const { message } = error as Error;
          const place = /^character (\d+) of the rule: /.exec(message);
          expect(Number(place?.[1])).toBeGreaterThanOrEqual(1);
          expect(Number(place?.[1])).toBeLessThanOrEqual(text.length + 1);
          expect(message).not.toContain('s3cret');
        }
      }),
      { numRuns: 3000 },
    );
  });
});

/** Any rule whose arguments are good. */
const anyRule = fc.letrec<{ rule: RuleNode }>((tie) => ({
  rule: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<RuleNode>(a, b, { kind: 'call', name: 'ClientIP', args: ['10.0.0.0/8'] }),
    fc
      .tuple(
        fc.constantFrom('Header' as const, 'Query' as const),
        fc.string({ minLength: 1 }),
        fc.string({ minLength: 1 }),
      )
      .map(([name, key, value]): RuleNode => ({ kind: 'call', name, args: [key, value] })),
    tie('rule').map((of): RuleNode => ({ kind: 'not', of })),
    fc
      .tuple(
        fc.constantFrom('all' as const, 'any' as const),
        fc.array(tie('rule'), { minLength: 2, maxLength: 4 }),
      )
      .map(([kind, of]): RuleNode => ({ kind, of })),
  ),
})).rule;

function print(node: RuleNode, space: string): string {
  if (node.kind === 'call') {
    const args = node.args.map((arg) =>
      arg.includes('`') ? JSON.stringify(arg).replaceAll('\x7f', '\\x7f') : `\`${arg}\``,
    );
    return `${node.name}${space}(${args.join(`${space},${space}`)}${space})`;
  }
  if (node.kind === 'not') return `!${space}${inner(node.of, space)}`;
  return node.of
    .map((part) => inner(part, space))
    .join(`${space}${node.kind === 'all' ? '&&' : '||'}${space}`);
}

function inner(node: RuleNode, space: string): string {
  const text = print(node, space);
  return node.kind === 'call' || node.kind === 'not' ? text : `(${space}${text}${space})`;
}
