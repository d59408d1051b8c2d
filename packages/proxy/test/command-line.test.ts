// The examples of docs/command-line.md and of --help: each is a configuration that loads without a warning.
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { run } from '../src/cli.ts';
import { help } from '../src/flags.ts';

const page = readFileSync(new URL('../../../docs/command-line.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/^```sh\n([^]*?)^```$/gm)].flatMap(([, block]) => block!.trim().split('\n'));
const shown = help.split('\n').filter((line) => /^ {2}sallyport -L/.test(line));
const examples = [...blocks, ...shown.map((line) => line.trim())];

/** As a shell would. */
const words = (line: string) =>
  [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!);

test('there are examples', () => {
  expect(blocks.length).toBeGreaterThan(12);
  expect(shown.length).toBeGreaterThan(4);
});

describe('an example', () => {
  test.each(examples.map((line) => [line]))('%s', async (line) => {
    const [program, ...args] = words(line);
    expect(program).toBe('sallyport');
    const out: string[] = [];
    const err: string[] = [];
    const code = await run([...args, '-O', 'json'], {
      env: {},
      stdin: Readable.from([]),
      out: (text) => out.push(text),
      err: (text) => err.push(text),
      onStop: () => () => undefined,
      onReload: () => () => undefined,
      drainMs: 0,
    });
    // The certificate of the example is nowhere.
    const missing = /cert\.pem cannot be read|key\.pem cannot be read/;
    expect(err.filter((text) => !missing.test(text))).toEqual([]);
    if (err.length === 0) {
      expect(code).toBe(0);
      expect((JSON.parse(out.join('\n')) as { services: unknown[] }).services).not.toEqual([]);
    }
  });
});
