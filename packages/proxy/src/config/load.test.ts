import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadConfig, loadText } from './load.ts';
import { formatFindings } from '../schema/report.ts';
import type { Report } from '../schema/report.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'sallyport-config-'));
});
afterAll(() => rm(folder, { recursive: true }));

const errors = (report: Report) => formatFindings(report.errors, report.more);

const good = `services:
- name: front
  addr: ":8080"
  handler:
    type: http
    auther: users
  listener:
    type: tcp
authers:
- name: users
  auths:
  - username: somebody
    password: "s3cret-pass"
  plugin:
    type: grpc
    addr: 127.0.0.1:8000
    token: "s3cret-token"
    timeout: 1s
`;

describe('where configuration comes from', () => {
  test('several files, standard input and JSON in braces become one; lists add up, the last log counts', async () => {
    const first = path.join(folder, 'first.yml');
    await writeFile(first, good + 'log: { level: info }\n');
    const second = '{"services": [{"addr": ":8081", "handler": {"type": "http", "auther": "users"}}]}';
    const stdin = Readable.from([Buffer.from('log:\n  level: '), Buffer.from('debug\n')]);
    const { config, report } = await loadConfig([first, second, '-'], { stdin });
    expect(errors(report)).toEqual([]);
    expect(config?.services.map(({ name }) => name)).toEqual(['front', 'service-1']);
    expect(config?.log?.level).toBe('debug');
  });

  test('a name defined in another file is found, a name in two files is an error', async () => {
    const first = path.join(folder, 'a.yml');
    await writeFile(first, good);
    const { report } = await loadConfig([first, first]);
    expect(errors(report)).toEqual([
      `${first}:2:9: services[0].name: a second service \`front\`; the first is at ${first}:2:9`,
      `${first}:10:9: authers[0].name: a second auther \`users\`; the first is at ${first}:10:9`,
    ]);
  });

  test.each([
    ['nowhere.yml', 'nowhere.yml:1:1: cannot be read: there is no such file'],
    ['.', '.:1:1: cannot be read: it is a folder'],
    ['http://example.org/x.yml', /does not, give it a file/],
    ['x.toml', /YAML and JSON, not TOML/],
  ])('%s', async (origin, message) => {
    const { config, report } = await loadConfig([origin]);
    expect(config).toBeUndefined();
    expect(errors(report)).toHaveLength(1);
    expect(errors(report)[0]).toMatch(message);
  });

  test('a file without services has nothing to do', async () => {
    const { report } = await loadConfig(['-'], { stdin: Readable.from(['# nothing\n']) });
    expect(errors(report)).toEqual(['-:1:1: no services are configured, so that there is nothing to do']);
  });
});

describe('bad input ends in an error with a position, in bounded time', () => {
  const only = (text: string) => {
    const { config, report } = loadText('f', text);
    expect(config).toBeUndefined();
    expect(report.errors).not.toHaveLength(0);
    return errors(report);
  };

  test('a file above the limit is not read to its end', async () => {
    const huge = path.join(folder, 'huge.yml');
    await writeFile(huge, 'a: ');
    await truncate(huge, 100 * 1024 * 1024);
    const { report } = await loadConfig([huge]);
    expect(errors(report)).toEqual([`${huge}:1:1: larger than 64 MiB, which is the most that is read`]);
    const endless = Readable.from(
      (function* () {
        for (;;) yield Buffer.alloc(1 << 20, 'x');
      })(),
    );
    const piped = await loadConfig(['-'], { stdin: endless, maxBytes: 8 << 20 });
    expect(errors(piped.report)).toEqual(['stdin:1:1: larger than 8 MiB, which is the most that is read']);
  });

  test('one line of many megabytes', () => {
    const lines = only(`a: ${'x'.repeat(30 << 20)}`);
    expect(lines).toEqual(['f:1:1: unknown key `a`']);
  });

  test('3,000 levels of every kind', () => {
    expect(only('['.repeat(3000))[0]).toMatch(/^f:1:\d+: nested more than 64 levels deep$/);
    expect(only('{a: '.repeat(3000))[0]).toMatch(/nested/);
    expect(only('- '.repeat(3000))[0]).toMatch(/nested/);
    expect(only('? '.repeat(3000))[0]).toMatch(/nested/);
    expect(only(Array.from({ length: 3000 }, (_, i) => `${' '.repeat(i)}a:\n`).join(''))[0]).toMatch(
      /nested/,
    );
    expect(only(Array.from({ length: 300 }, (_, i) => `${'\t'.repeat(i)}a:\n`).join(''))[0]).toMatch(
      /nested/,
    );
    expect(only('&a '.repeat(3000))).not.toHaveLength(0);
  });

  test('an alias bomb, an alias to itself, and too many aliases', () => {
    const levels = [...'abcdefghi'].map((name, index, all) =>
      index === 0
        ? 'a: &a [x, x, x, x, x, x, x, x, x]'
        : `${name}: &${name} [${Array(9)
            .fill(`*${all[index - 1]!}`)
            .join(', ')}]`,
    );
    expect(only(levels.join('\n')).join()).toMatch(/more than 100 aliases/);
    expect(only('a: &a { b: *a }')[0]).toMatch(
      /^f:1:12: this alias stands for a value that it is itself a part of/,
    );
    expect(only(`a: &a 1\nb: [${Array(200).fill('*a').join(', ')}]`).join()).toMatch(/more than 100 aliases/);
  });

  test('bytes that are no text', () => {
    expect(only('services:\n- name: \0')).toEqual(['f:2:9: the control character U+0000 cannot stand here']);
    expect(only('a: \x1b[31m')[0]).toMatch(/U\+001B/);
    expect(only(Buffer.from([0x61, 0x3a, 0x20, 0xff]).toString('utf8'))).toEqual([
      'f:1:4: this is not UTF-8 text',
    ]);
  });

  test('many mistakes are counted, not all printed', () => {
    const lines = only(`services:\n${'- x\n'.repeat(5000)}`);
    expect(lines).toHaveLength(1001);
    expect(lines.at(-1)).toBe('and 4000 more');
  });
});

test('whatever is done to a file, loading ends with a result or with positions, and never shows a credential', () => {
  const edit = fc.record({
    at: fc.nat(good.length),
    remove: fc.nat(12),
    insert: fc.oneof(
      fc.string({ maxLength: 6, unit: 'binary' }),
      fc.constantFrom(
        '\t',
        '\n',
        '  ',
        '- ',
        ': ',
        '"',
        "'",
        '[',
        '{',
        '}',
        '*',
        '&a ',
        '!',
        '|',
        '#',
        '<<: ',
        '\0',
        'null',
      ),
    ),
  });
  const broken = fc
    .array(edit, { minLength: 1, maxLength: 5 })
    .map((edits) =>
      edits.reduce(
        (text, { at, remove, insert }) => text.slice(0, at) + insert + text.slice(at + remove),
        good,
      ),
    );
  fc.assert(
    fc.property(broken, fc.boolean(), (text, lenient) => {
      const { config, report } = loadText('f', text, { lenient });
      expect(config === undefined).toBe(report.errors.length > 0);
      const lines = text.split('\n').length;
      for (const line of [...errors(report), ...formatFindings(report.warnings)]) {
        const [, at, column] = /^f:(\d+):(\d+): ./s.exec(line)!;
        expect(Number(at)).toBeGreaterThan(0);
        expect(Number(at)).toBeLessThanOrEqual(lines);
        expect(Number(column)).toBeGreaterThan(0);
        expect(line).not.toMatch(/s3cret/);
      }
    }),
    { numRuns: 1500 },
  );
});

test('noise ends in errors or a result', () => {
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('utf8')),
    fc.string({ maxLength: 300, unit: 'grapheme' }),
    fc
      .array(fc.constantFrom(...'[]{}:,-?|>&*!#"\'%@` \n\tab<'), { maxLength: 200 })
      .map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(noise, (text) => {
      const { config, report } = loadText('f', text);
      expect(config === undefined).toBe(report.errors.length > 0);
    }),
    { numRuns: 2000 },
  );
});

test('unknown keys are only warnings when asked', () => {
  const text = `${good}extra: 1\n`;
  expect(errors(loadText('f', text).report)).toEqual(['f:19:1: unknown key `extra`']);
  const lenient = loadText('f', text, { lenient: true });
  expect(lenient.config).toBeDefined();
  expect(formatFindings(lenient.report.warnings)).toContain(
    'f:19:1: unknown key `extra` (ignored, --lenient)',
  );
});
