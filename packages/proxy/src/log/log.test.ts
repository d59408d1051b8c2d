import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { createLog, openLog } from './log.ts';
import type { LogLevel } from './log.ts';
import { formatLine } from './text.ts';

const capture = (level: LogLevel = 'info') => {
  const lines: string[] = [];
  const log = createLog(level, false, { write: (line) => lines.push(line) });
  return { log, lines };
};

test("JSON lines have GOST's keys and level names", () => {
  const { log, lines } = capture('trace');
  for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const)
    log[level]({ sid: 'x' }, 'hello');
  const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(records.map(({ level }) => level)).toEqual(['trace', 'debug', 'info', 'warn', 'error', 'fatal']);
  expect(Object.keys(records[0]!)).toEqual(['level', 'time', 'sid', 'msg']);
  expect(records[0]!.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test('below the level nothing is written', () => {
  const { log, lines } = capture('warn');
  log.info('no');
  log.child({ a: 1 }).debug('no');
  expect(lines).toEqual([]);
});

test('credentials do not get through, whatever they stand in', () => {
  const { log, lines } = capture();
  log.info(
    { password: 'hunter2', plugin: { token: 'hunter2' }, headers: { 'proxy-authorization': 'hunter2' } },
    'a',
  );
  log.info(
    { url: 'http://me:hunter2@host/path@x', err: new Error('Basic aHVudGVyMg== Bearer hunter2') },
    'to grpc://hunter2@h:1',
  );
  log.child({ token: 'hunter2' }).info('b');
  expect(lines.join('')).not.toMatch(/hunter2|aHVudGVyMg/);
  expect(lines[1]).toContain('http://***@host/path@x');
  expect(lines.map((line) => JSON.parse(line) as object)).toHaveLength(3);
});

test('text is one readable line', () => {
  const line = formatLine(
    '{"level":"info","time":"2026-01-02T03:04:05.678Z","sid":"a1","user":"my name","ms":1.5,"msg":"hello there"}\n',
  );
  expect(line).toBe('2026-01-02T03:04:05.678Z INFO  hello there sid=a1 user="my name" ms=1.5\n');
});

test('what a client chose can neither begin a line nor move the cursor', () => {
  const { log, lines } = capture();
  log.info({ user: 'a\nfake line', host: '\x1b[2J\x9b' }, 'm\r\nx\x1b[31m\x9b');
  const line = formatLine(lines[0]!);
  // eslint-disable-next-line no-control-regex -- exactly these must not be there
  expect(line.slice(0, -1)).not.toMatch(/[\0-\x1F\x7F-\x9F]/);
});

test('an error keeps its stack, below the line', () => {
  const { log, lines } = capture();
  log.error({ err: new Error('boom') }, 'it failed');
  expect(formatLine(lines[0]!)).toMatch(/^\S+ ERROR it failed\nError: boom\n {4}\s*at /);
});

test('a file is appended to and complete after close', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sallyport-log-'));
  try {
    const file = path.join(folder, 'x.log');
    for (const text of ['one', 'two']) {
      const { log, close } = openLog({ output: file });
      log.info(text);
      await close();
    }
    const messages = readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { msg: string }).msg);
    expect(messages).toEqual(['one', 'two']);
    expect(() => openLog({ output: path.join(folder, 'no', 'x.log') })).toThrow(/ENOENT/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('none writes nothing; a pipe gets JSON unless text is asked for', () => {
  const run = (options: string) =>
    spawnSync(
      process.execPath,
      [
        '--import',
        'tsx',
        '--input-type=module',
        '-e',
        `import { openLog } from ${JSON.stringify(new URL('./log.ts', import.meta.url).href)};
         const { log, close } = openLog(${options}); log.info({ a: 1 }, 'hi'); await close();`,
      ],
      { encoding: 'utf8' },
    );
  expect(JSON.parse(run('{}').stderr)).toMatchObject({ msg: 'hi', a: 1 });
  expect(run('{ format: "text" }').stderr).toMatch(/INFO {2}hi a=1\n$/);
  expect(run('{ output: "stdout" }').stdout).toMatch(/"msg":"hi"/);
  expect(run('{ output: "none" }')).toMatchObject({ stderr: '', stdout: '' });
});
