// docs/from-gost.md is what happens: its files are loaded, its commands are run, and what it shows is what was printed. With
// UPDATE_DOCS=1 the outputs are written anew.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { contractByKind, implement, servePlugins } from '@sallyport/plugin';
import type { PluginServer } from '@sallyport/plugin';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../src/cli.ts';
import type { World } from '../src/cli.ts';
import { parseFlags } from '../src/flags.ts';
import { compatSwitches } from '../src/config/sections/compat.ts';
import { visit } from './modules/visits.ts';

const file = new URL('../../../docs/from-gost.md', import.meta.url);
let page = readFileSync(file, 'utf8');

let folder: string;
let plugin: PluginServer | undefined;
let before: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'from-gost-'));
  before = process.cwd();
  process.chdir(folder);
  plugin = await startPlugin();
  for (const [, yaml, name] of page.matchAll(/```yaml\n(# (\S+)\n[^]*?)```/g))
    writeFileSync(name!, onFreePorts(yaml!));
});
afterAll(async () => {
  process.chdir(before);
  await plugin?.close(0);
  rmSync(folder, { recursive: true });
  if (process.env.UPDATE_DOCS === '1') writeFileSync(file, page);
});

const portOf = (address: unknown) => String((address as AddressInfo).port);
const startPlugin = () =>
  servePlugins(
    [
      implement(contractByKind.auth, {
        authenticate({ username, password }, { meta }) {
          const ok = username === 'gost' && password === 'gost';
          if (!ok) meta.reason = 'the password is wrong';
          return { ok, user: username };
        },
      }),
    ],
    { port: 0, token: 'gost' },
  );

/** The page's file with ports that are free here, and back. */
const onFreePorts = (text: string) =>
  text.replaceAll("':8080'", "'127.0.0.1:0'").replaceAll('127.0.0.1:8000', plugin!.addr);
const asWritten = (text: string) =>
  text.replaceAll(plugin!.addr, '127.0.0.1:8000').replaceAll(`${folder}/`, '');

/** The program in this process. */
async function program(
  argv: readonly string[],
  world: Partial<World> = {},
): Promise<{ code: number; lines: string[] }> {
  const lines: string[] = [];
  const code = await run(argv, {
    ...{ env: {}, stdin: Readable.from([]), drainMs: 5000, searchFolders: [] },
    out: (line) => lines.push(...line.split('\n')),
    err: (line) => lines.push(...line.split('\n')),
    onStop: () => () => undefined,
    onReload: () => () => undefined,
    ...world,
  });
  return { code, lines };
}

/** Compares what a block of the page shows with what was printed, or writes it there. */
function hold(kind: string, first: string, printed: readonly string[]): void {
  const start = page.indexOf(`\`\`\`${kind}\n${first}`);
  expect(start, `a block ${kind} ${first}`).toBeGreaterThan(0);
  const from = start + kind.length + 4 + first.length;
  const to = page.indexOf('```', from);
  const shown = printed.map((line) => `${line}\n`).join('');
  if (process.env.UPDATE_DOCS === '1') page = page.slice(0, from) + shown + page.slice(to);
  else expect(page.slice(from, to)).toBe(shown);
}

/** A command line in words; quotes are as in a shell. */
const wordsOf = (command: string) =>
  [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!).slice(1);

describe('docs/from-gost.md', () => {
  const checks = [...page.matchAll(/```console\n\$ (sallyport check \S+)\n/g)].map(([, command]) => command!);

  test.each(checks)('$ %s', async (command) => {
    const { code, lines } = await program(wordsOf(command));
    expect(code).toBe(command.includes('refused') ? 2 : 0);
    hold('console', `$ ${command}\n`, lines.map(asWritten));
  });

  const commands = /```sh\n([^]*?)```/.exec(page)![1]!.trim().split('\n');
  test.each(commands)('$ %s', async (command) => {
    const { code, lines } = await program([...wordsOf(command), '-O', 'yaml']);
    expect(lines.join('\n')).toContain('services:');
    expect(code).toBe(0);
  });

  test('names every flag, and each difference has a switch', () => {
    const flags = ['-L', '-F', '-C', '-O', '-R', '-D', '-DD', '-V', '-api', '-metrics', '--lenient'];
    for (const flag of flags) {
      expect(page).toContain(`\`${flag}\``);
      const value = /^-[LFCOR]$/.test(flag) ? ({ '-O': 'yaml', '-R': '30s' }[flag] ?? 'x') : undefined;
      expect(parseFlags(value === undefined ? [flag] : [flag, value]).problems, flag).toEqual([]);
    }
    for (const [, name] of page.matchAll(/compat[.:]\s?\{? ?(\w+)/g))
      expect(Object.keys(compatSwitches)).toContain(name);
  });

  test('links lead to headings that are there', () => {
    for (const name of ['from-gost', 'configuration', 'plugins']) {
      const text = readFileSync(new URL(`../../../docs/${name}.md`, import.meta.url), 'utf8');
      for (const [, to, anchor] of text.matchAll(/\]\(([\w-]+\.md)?(?:#([\w-]+))?\)/g)) {
        if (to === undefined && anchor === undefined) continue;
        const target =
          to === undefined ? text : readFileSync(new URL(`../../../docs/${to}`, import.meta.url), 'utf8');
        const headings = [...target.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
          heading!
            .toLowerCase()
            .replace(/[^\w\- ]/g, '')
            .replaceAll(' ', '-'),
        );
        if (anchor !== undefined) expect(headings, `${name}.md → ${to ?? ''}#${anchor}`).toContain(anchor);
      }
    }
  });

  test('the log and the reload are what a run writes', async () => {
    const origin = http.createServer((_request, response) => response.end('hello'));
    await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
    writeFileSync('log.yml', 'log: { format: text, output: log.txt }\n');
    let stop = () => {};
    let reload = () => {};
    const running = program(['-C', 'gost.yml', '-C', 'log.yml'], {
      onStop(request) {
        stop = request;
        return () => undefined;
      },
      onReload(request) {
        reload = request;
        return () => undefined;
      },
    });
    /** All lines, once there is one that matches. */
    const lines = async (pattern: RegExp): Promise<string[]> => {
      for (const until = Date.now() + 15_000; ; await wait(10)) {
        const written = readFileSync('log.txt', { encoding: 'utf8', flag: 'a+' });
        const all = written
          .slice(0, written.lastIndexOf('\n') + 1)
          .split('\n')
          .slice(0, -1);
        if (all.some((line) => pattern.test(line))) return all;
        if (Date.now() > until) throw new Error(`no ${String(pattern)} in:\n${written}`);
      }
    };
    try {
      const address = /listening on (\S+)/.exec((await lines(/listening/)).at(-1)!)![1]!;
      const target = `127.0.0.1:${portOf(origin.address())}`;
      const outcomes: string[] = [];
      const ask = async (wish: { target: string; credentials: string }, last: RegExp) => {
        outcomes.push((await visit('GET', address, wish)).outcome);
        return lines(last);
      };
      await ask({ target, credentials: 'gost:gost' }, /closed: /);
      await ask({ target, credentials: 'gost:wrong' }, /users says no/);
      await ask({ target: '10.1.2.3:80', credentials: 'gost:gost' }, /GET .* 403/);
      const addr = plugin!.addr;
      await plugin!.close(0);
      const log = await ask({ target, credentials: 'gost:gost' }, /could not ask/);
      expect(outcomes).toEqual(['ok', 'HTTP 407', 'HTTP 403', 'HTTP 407']);

      reload();
      await lines(/reloaded; /);
      const text = readFileSync('gost.yml', 'utf8');
      writeFileSync('gost.yml', text.replace('auther: users', 'auther: usres'));
      reload();
      const all = await lines(/not reloaded/);

      const made = alike({ addr, address, target });
      hold('log', '', log.map(made));
      hold('reload', '', all.slice(log.length).map(made));
    } finally {
      stop();
      await running;
      origin.closeAllConnections();
      origin.close();
      plugin = undefined;
    }
  });
});

/** What differs from run to run made alike: times, ids, ports. */
function alike({ addr, address, target }: { addr: string; address: string; target: string }) {
  const sessions: string[] = [];
  const clients: string[] = [];
  const place = (list: string[], one: string) => {
    if (!list.includes(one)) list.push(one);
    return list.indexOf(one) + 1;
  };
  return (line: string) =>
    line
      .replaceAll(addr, '127.0.0.1:8000')
      .replaceAll(address, '[::]:8080')
      .replaceAll(target, '127.0.0.1:9000')
      .replace(/^\S+Z /, '')
      .replace(/session=(\w+)/g, (_, id: string) => `session=62cgsu000${String(place(sessions, id))}`)
      .replace(/127\.0\.0\.1:(\d{5})/g, (_, port: string) => `127.0.0.1:4000${String(place(clients, port))}`)
      .replace(/, [\d.]+ ms/g, ', 1.2 ms')
      .replace(/\bms=[\d.]+/g, 'ms=1.2');
}
