// Files that nobody should write, given to the real binary: a clear message in a bounded time, or they just load.
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startProgram } from '../program.ts';
import { visit } from './visits.ts';

const launcher = fileURLToPath(new URL('../../bin/sallyport.js', import.meta.url));

describe('files that nobody should write', () => {
  const folder = () => {
    const made = mkdtempSync(path.join(tmpdir(), 'bad-input-'));
    onTestFinished(() => rmSync(made, { recursive: true }));
    return made;
  };
  /** Runs `sallyport check` and answers its exit code, what it said, and how long it took. */
  async function check(file: string): Promise<{ code: number | null; said: string; ms: number }> {
    const started = performance.now();
    const program = startProgram(process.execPath, [launcher, 'check', '-C', file]);
    const [code] = (await once(program.process, 'close')) as [number | null];
    return { code, said: program.lines.join('\n'), ms: performance.now() - started };
  }
  const lol = Array.from({ length: 12 }, (_, i) => {
    const of = i === 0 ? '"lol"' : `*a${String(i - 1)}`;
    return `a${String(i)}: &a${String(i)} [${Array<string>(10).fill(of).join(', ')}]`;
  }).join('\n');
  const self = (port: number) =>
    `services:\n- name: me\n  addr: 127.0.0.1:${String(port)}\n  handler: {type: tcp}\n  forwarder: {nodes: [{addr: "localhost:${String(port)}"}]}\n`;

  test.each([
    [
      '3,000 levels of YAML',
      () => Array.from({ length: 3000 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
      /more than 64 levels/,
    ],
    ['3,000 levels of JSON', () => '{"a":'.repeat(3000) + '1' + '}'.repeat(3000), /more than 64 levels/],
    ['3,000 brackets', () => `services: ${'['.repeat(3000)}`, /more than 64 levels|ends/],
    ['a bomb of aliases', () => lol, /aliases/],
    ['a service that forwards to itself', () => self(18_080), /forwards to itself/],
    [
      'noise',
      () =>
        Array.from({ length: 100_000 }, (_, i) => String.fromCharCode((i * 197 + (i >> 3) * 31) & 255)).join(
          '',
        ),
      /:\d+:\d+: /,
    ],
  ])('%s', async (_title, text, message) => {
    const file = path.join(folder(), 'bad.yml');
    writeFileSync(file, text());
    const { code, said, ms } = await check(file);
    expect(code).toBe(2);
    expect(said).toMatch(message);
    expect(said.length).toBeLessThan(20_000);
    expect(ms).toBeLessThan(15_000);
  });

  test('a line of 100 MB', async () => {
    const file = path.join(folder(), 'long.yml');
    const out = createWriteStream(file);
    for (let i = 0; i < 100; i++) out.write(Buffer.alloc(1024 * 1024, 'a'));
    out.end();
    await once(out, 'close');
    const { code, said, ms } = await check(file);
    expect(code).toBe(2);
    expect(said).toMatch(/larger than 64 MiB/);
    expect(ms).toBeLessThan(15_000);
  });

  test('a million rules load, and hold', async () => {
    const file = path.join(folder(), 'rules.yml');
    const out = createWriteStream(file);
    out.write('services: [{name: front, addr: "127.0.0.1:0", handler: {type: http}, bypass: many}]\n');
    out.write('bypasses:\n- name: many\n  matchers:\n');
    for (let i = 0; i < 1000; i++) {
      out.write(Array.from({ length: 1000 }, (_, j) => `  - n${String(j)}.of-${String(i)}.test\n`).join(''));
    }
    out.end();
    await once(out, 'close');
    const program = startProgram(process.execPath, [launcher, '-C', file]);
    onTestFinished(() => program.stop().then(() => undefined));
    const line = await program.line(/front listening on/, 170_000);
    const at = / listening on (\S+?)[ "]/.exec(line)![1]!;
    expect((await visit('CONNECT', at, { target: 'n999.of-999.test:80' })).outcome).toBe('HTTP 403');
    // Nobody listens there, which is found out because it is dialled.
    expect((await visit('CONNECT', at, { target: '127.0.0.1:1' })).outcome).toBe('HTTP 502');
  }, 180_000);
});
