import { existsSync, lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import type { End } from '../../core/conn.ts';
import { transportSuite } from '../../core/transport-suite.fixture.ts';
import { unix } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'unix-'));
afterAll(() => rmSync(folder, { recursive: true }));
let count = 0;
const fresh = () => ({ host: join(folder, `s${String(count++)}`), port: 0 });
const way = unix.wrap(undefined, { metadata: {} });
const { signal } = new AbortController();
const problem = (error: Error) => {
  throw error;
};
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

transportSuite('unix', () => ({ listener: way, dialer: way, at: fresh, resets: false }));

async function listen(at: { host: string; port: number }) {
  let arrived: (end: End) => void = () => undefined;
  const next = new Promise<End>((resolve) => (arrived = resolve));
  const listening = await way.listen!(at, arrived, problem);
  closing.push(() => listening.close());
  return { listening, next };
}

describe('unix sockets', () => {
  test('a file that a dead program left is taken over, and removed in the end', async () => {
    const at = fresh();
    // A process that ends without closing leaves its socket file.
    const script = `require('net').createServer().listen(${JSON.stringify(at.host)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    expect(lstatSync(at.host).isSocket()).toBe(true);
    await expect(way.dial(at, { signal })).rejects.toMatchObject({ code: 'dialFailed' });
    const { listening, next } = await listen(at);
    const conn = await way.dial(at, { signal });
    expect(await next).toMatchObject({ local: at, remote: { host: '@', port: 0 } });
    expect(conn.remote).toEqual(at);
    conn.reset();
    await listening.close();
    expect(existsSync(at.host)).toBe(false);
  });

  test('a live one, and a file that is none, are left alone', async () => {
    const at = fresh();
    const { next } = await listen(at);
    await expect(way.listen!(at, () => undefined, problem)).rejects.toMatchObject({ code: 'addressInUse' });
    const conn = await way.dial(at, { signal });
    closing.push(() => conn.reset());
    expect((await next).kind).toBe('stream');
    const file = fresh();
    writeFileSync(file.host, 'precious');
    await expect(way.listen!(file, () => undefined, problem)).rejects.toMatchObject({ code: 'addressInUse' });
    expect(existsSync(file.host)).toBe(true);
  });

  test.runIf(process.platform === 'linux')('an abstract one has no file', async () => {
    const at = { host: `@sallyport-test-${String(process.pid)}`, port: 0 };
    const { next } = await listen(at);
    await expect(way.listen!(at, () => undefined, problem)).rejects.toMatchObject({ code: 'addressInUse' });
    const conn = await way.dial(at, { signal });
    closing.push(() => conn.reset());
    expect((await next).local).toEqual(at);
  });

  test('what cannot be says why', async () => {
    await expect(way.dial({ host: join(folder, 'none'), port: 0 }, { signal })).rejects.toMatchObject({
      code: 'dialFailed',
      message: `there is no socket at ${join(folder, 'none')}`,
    });
    await expect(
      way.listen!({ host: join(folder, 'no', 'folder'), port: 0 }, () => undefined, problem),
    ).rejects.toMatchObject({ code: 'listenFailed', message: /its folder does not exist/ });
    const long = { host: `/${'x'.repeat(200)}`, port: 0 };
    await expect(way.listen!(long, () => undefined, problem)).rejects.toMatchObject({
      message: /at most 107 bytes/,
    });
    await expect(way.dial(long, { signal })).rejects.toMatchObject({ message: /at most 107 bytes/ });
    await expect(way.dial({ host: 'a\0b', port: 0 }, { signal })).rejects.toMatchObject({
      code: 'malformedRequest',
    });
  });
});
