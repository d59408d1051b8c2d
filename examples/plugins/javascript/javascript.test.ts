import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

// Other processes, and plain Node: what is run here is what is published, as a user has it after `npm run build`.
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const run = promisify(execFile);

describe('the example auth.mjs', () => {
  let plugin: ChildProcess;
  let addr: string;

  beforeAll(async () => {
    plugin = spawn(process.execPath, [path('auth.mjs'), '--port', '0', '--token', 'gost'], {
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
      'auth',
      '--addr',
      addr,
    ]);
    expect(counts(stdout)).toMatchObject({ fail: 0 });
    expect(counts(stdout).pass).toBeGreaterThan(50);
  });

  test('fails it with another token, or as another module', async () => {
    for (const wrong of [
      ['--token', 'another'],
      ['--module', 'bypass'],
    ]) {
      const failed = run(process.execPath, [path('conformance.mjs'), '--addr', addr, ...wrong]);
      const { code, stdout } = (await failed.catch((error: unknown) => error)) as {
        code: number;
        stdout: string;
      };
      expect(code).toBe(1);
      expect(counts(stdout).fail).toBeGreaterThan(10);
    }
  });
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
