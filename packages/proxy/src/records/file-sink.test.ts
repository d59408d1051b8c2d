import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { manualWheel } from '../core/manual-clock.fixture.ts';
import { createFileSink } from './file-sink.ts';
import type { FileSinkOptions } from './file-sink.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-records-'));
});
afterEach(() => rm(folder, { recursive: true }));

function scene(more: Partial<FileSinkOptions> = {}) {
  const path = join(folder, 'records');
  const notes: string[] = [];
  const sink = createFileSink({ name: 'r', path, note: (text) => notes.push(text), ...more });
  const put = (...texts: string[]) => {
    for (const text of texts) sink.put(Buffer.from(text), null);
  };
  return { path, sink, put, notes, written: () => readFile(path, 'utf8') };
}

test('appends in order, each record followed by the separator, to a file of our own', async () => {
  const { path, sink, put, written } = scene({ sep: '\n' });
  await sink.open();
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  put('a', 'b');
  put('c');
  await sink.close();
  expect(await written()).toBe('a\nb\nc\n');
  put('late');
  const again = scene();
  again.put('d', 'e');
  await again.sink.close();
  expect(await written()).toBe('a\nb\nc\nde');
});

test('large amounts are whole and in order', async () => {
  const { sink, put, written } = scene();
  const texts = Array.from({ length: 2_000 }, (_, i) => String(i).padEnd(1_500, '.'));
  put(...texts);
  await sink.close();
  expect(await written()).toBe(texts.join(''));
  expect(sink.dropped).toBe(0);
});

test('a file that is moved away is written on: there is one descriptor', async () => {
  const { path, sink, put } = scene();
  await sink.open();
  await rename(path, `${path}.1`);
  put('x');
  await sink.close();
  expect(await readFile(`${path}.1`, 'utf8')).toBe('x');
});

test('what cannot be opened is an error when asked to, and otherwise tried again with one warning', async () => {
  const { clock, wheel } = manualWheel();
  const { path, sink, put, notes, written } = scene({ wheel });
  await mkdir(path);
  await expect(sink.open()).rejects.toMatchObject({
    name: 'ProxyError',
    message: expect.stringMatching(/records cannot be written: EISDIR/) as string,
  });
  put('a');
  await comesTrue(() => notes.length > 0);
  put('b');
  clock.advance(250);
  await rmdir(path);
  const closing = sink.close();
  await closing;
  expect(await written()).toBe('ab');
  expect(notes).toEqual([
    expect.stringMatching(/^recorder r cannot be written, and is tried again: EISDIR/),
    'recorder r can be written again',
  ]);
});

test('a pipe that nobody reads holds up nothing', async () => {
  const { path, sink } = scene();
  execFileSync('mkfifo', [path]);
  await expect(sink.open()).rejects.toThrow(/ENXIO/);
});

test('what cannot be written by the deadline is counted', async () => {
  const { sink, put, notes } = scene({ path: join(folder, 'missing', 'records'), closeMs: 30 });
  put('a', 'b');
  await sink.close();
  expect(sink.dropped).toBe(2);
  expect(notes.at(-1)).toBe('recorder r: 2 records could not be written before the end');
});

test('an error in between loses nothing and repeats nothing', async () => {
  // A disk that is full: the device takes nothing.
  const { sink, put, notes } = scene({ path: '/dev/full', closeMs: 600 });
  put('a', 'b');
  await comesTrue(() => notes.length > 0);
  expect(notes[0]).toMatch(/ENOSPC/);
  await sink.close();
  expect(sink.dropped).toBe(2);
});

test('what there is no room for is dropped', async () => {
  const { sink, put, written } = scene({ maxRecords: 2 });
  put('a', 'b', 'c');
  await sink.close();
  expect(await written()).toBe('ab');
  expect(sink.dropped).toBe(1);
});

/** Lets the system answer until something has come true. */
async function comesTrue(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}
