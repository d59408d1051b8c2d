import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { connectPlugin, contractByKind } from '@sallyport/plugin';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

// Other processes, and plain Node: what is run here is what is published, as a user has it after `npm run build`.
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const run = promisify(execFile);

describe.each([
  ['auth.mjs', 'auth', ['--token', 'gost'], ['--token', 'another']],
  ['pool.mjs', 'hop', ['--node', '192.0.2.1:1080', '--node', '192.0.2.2:1080'], ['--module', 'bypass']],
])('the example %s', (name, module, flags, wrong) => {
  let plugin: ChildProcess;
  let addr: string;

  beforeAll(async () => {
    plugin = spawn(process.execPath, [path(name), '--port', '0', ...flags], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(createInterface(plugin.stdout!), 'line')) as [string];
    addr = line.split(' ').at(-1)!;
  });

  afterAll(async () => {
    const exited = once(plugin, 'exit');
    plugin.kill();
    await exited;
  });

  test('passes conformance.mjs', async () => {
    const { stdout } = await run(process.execPath, [
      path('conformance.mjs'),
      '--module',
      module,
      '--addr',
      addr,
    ]);
    expect(counts(stdout)).toMatchObject({ fail: 0 });
    expect(counts(stdout).pass).toBeGreaterThan(50);
  });

  test(`fails it with ${wrong.join(' ')}`, async () => {
    const failed = run(process.execPath, [path('conformance.mjs'), '--addr', addr, ...wrong]);
    const { code, stdout } = (await failed.catch((error: unknown) => error)) as {
      code: number;
      stdout: string;
    };
    expect(code).toBe(1);
    expect(counts(stdout).fail).toBeGreaterThan(10);
  });
});

test('pool.mjs keeps a user with a node, and uses them all', async () => {
  const nodes = ['192.0.2.1:1080', '192.0.2.2:1080', '192.0.2.3:1080'];
  const pool = spawn(
    process.execPath,
    [path('pool.mjs'), '--port', '0', ...nodes.flatMap((node) => ['--node', node])],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const [line] = (await once(createInterface(pool.stdout), 'line')) as [string];
  const plugin = connectPlugin(contractByKind.hop, { addr: line.split(' ').at(-1)!, token: 'gost' });
  try {
    const ask = (user: string) => {
      const question = {
        network: 'tcp',
        target: 'a.test:443',
        host: '',
        path: '',
        user,
        client: '127.0.0.1:1',
      };
      return plugin.select(question, { meta: {} });
    };
    const chosen = new Set<string>();
    for (let i = 0; i < 40; i++) {
      const [first, again] = await Promise.all([ask(`user-${String(i)}`), ask(`user-${String(i)}`)]);
      expect(again).toEqual(first);
      chosen.add(first!.addr);
    }
    expect([...chosen].sort()).toEqual(nodes);
  } finally {
    await plugin.close();
    const exited = once(pool, 'exit');
    pool.kill();
    await exited;
  }
});

test.each(['grpc', 'http'])('our client passes client-conformance.mjs over %s', async (transport) => {
  const { stdout } = await run(process.execPath, [path('client-conformance.mjs'), '--transport', transport], {
    maxBuffer: 16 * 1024 * 1024,
  });
  expect(counts(stdout)).toMatchObject({ fail: 0 });
  expect(counts(stdout).pass).toBeGreaterThan(80);
});

/** The last lines of TAP: `# pass 100`, `# fail 0`. */
function counts(tap: string): { pass: number; fail: number } {
  const count = (what: string): number => Number(new RegExp(`^(?:#|ℹ) ${what} (\\d+)$`, 'm').exec(tap)?.[1]);
  return { pass: count('pass'), fail: count('fail') };
}
