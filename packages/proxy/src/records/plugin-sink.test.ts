import { PluginError, recorder as contract } from '@sallyport/plugin';
import { inMemoryPlugin } from '@sallyport/plugin/testing';
import { expect, test } from 'vitest';
import { manualWheel, settled } from '../core/manual-clock.fixture.ts';
import type { PolicyOf } from '../core/policies.ts';
import { createPluginSink } from './plugin-sink.ts';
import type { PluginSinkOptions } from './plugin-sink.ts';

type Take = (text: string) => boolean | Promise<boolean>;

/** A sink on a clock of its own; `take` says what the plugin does with each record. */
function scene(take: Take, more: Partial<PluginSinkOptions> = {}) {
  const { clock, wheel } = manualWheel();
  const asked: string[] = [];
  const notes: string[] = [];
  let signal: AbortSignal | undefined;
  const recorder: PolicyOf<'recorder'> = {
    record(ask, call) {
      const text = Buffer.from(ask.data).toString();
      asked.push(text);
      ({ signal } = call);
      return take(text);
    },
  };
  const sink = createPluginSink({ name: 'r', recorder, note: (text) => notes.push(text), wheel, ...more });
  const put = (...texts: string[]) => {
    for (const text of texts) sink.put(Buffer.from(text), null);
  };
  return { clock, sink, put, asked, notes, signal: () => signal };
}

const numbered = (count: number) => Array.from({ length: count }, (_, i) => String(i));
const unreachable = () => Promise.reject(new PluginError('unreachable', 'nobody listens'));

test('every record is handed over in order, with its metadata, and closing has nothing to wait for', async () => {
  const got: [string, unknown][] = [];
  const sink = createPluginSink({
    name: 'r',
    recorder: inMemoryPlugin(contract, {
      record({ data, metadata }) {
        got.push([Buffer.from(data).toString(), metadata]);
        return true;
      },
    }),
    note: () => undefined,
  });
  const metadata = { kind: 'x', 'some.key': 7 };
  for (const text of numbered(100)) sink.put(Buffer.from(text), text === '0' ? null : metadata);
  await sink.close();
  expect(got).toEqual(numbered(100).map((text) => [text, text === '0' ? null : metadata]));
  expect(sink.dropped).toBe(0);
});

test('a plugin that cannot be asked is asked again, ever less often, and nothing is lost', async () => {
  let down = true;
  const kept: string[] = [];
  const { clock, put, asked, notes, sink } = scene((text) => {
    if (down) return unreachable();
    kept.push(text);
    return true;
  });
  put(...numbered(40));
  await settled();
  expect(asked).toHaveLength(16);
  const pauses: number[] = [];
  for (let before = clock.nowMs; pauses.length < 7; before = clock.nowMs) {
    const count = asked.length;
    await clock.runUntil(() => asked.length > count);
    pauses.push(Math.round((clock.nowMs - before) / 250) * 250);
    // One record goes ahead to see.
    expect(asked).toHaveLength(count + 1);
  }
  expect(pauses).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 10_000]);
  down = false;
  await clock.runUntil(() => kept.length === 40);
  // One went ahead; then all are in order again.
  expect(kept.slice(1)).toEqual(numbered(40).filter((text) => text !== kept[0]));
  expect(notes).toEqual([
    'recorder r cannot be told, and is tried again: nobody listens',
    'recorder r can be told again',
  ]);
  expect(sink.dropped).toBe(0);
});

test('a plugin that hangs holds up nobody, costs bounded memory, and is left at the deadline', async () => {
  const { clock, sink, put, asked, notes, signal } = scene(() => new Promise(() => undefined), {
    maxRecords: 20,
  });
  put(...numbered(50));
  await settled();
  expect(asked).toHaveLength(16);
  expect(sink.dropped).toBe(30);
  expect(notes).toEqual(['recorder r falls behind: 20 records wait, and more are dropped']);
  let closed = false;
  void sink.close().then(() => (closed = true));
  await settled();
  clock.advance(4_900);
  await settled();
  expect(closed).toBe(false);
  clock.advance(200);
  await settled();
  expect(closed).toBe(true);
  expect(signal()?.aborted).toBe(true);
  expect(sink.dropped).toBe(50);
  expect(notes.at(-1)).toBe('recorder r did not take 20 records before the end');
  put('late');
  expect(asked).toHaveLength(16);
});

test('a plugin without an answer is left by the engine, and asked again', async () => {
  let asked = 0;
  const recorder = inMemoryPlugin(
    contract,
    { record: () => (asked++ === 0 ? new Promise<boolean>(() => undefined) : true) },
    { timeoutMs: 20 },
  );
  const notes: string[] = [];
  const sink = createPluginSink({ name: 'r', recorder, note: (text) => notes.push(text) });
  sink.put(Buffer.from('x'), null);
  await sink.close();
  expect(asked).toBe(2);
  expect(sink.dropped).toBe(0);
  expect(notes).toHaveLength(2);
});

test('bytes are bounded as well, and dropping is told once until all is well again', async () => {
  let answer!: (taken: boolean) => void;
  const { put, sink, notes } = scene(() => new Promise<boolean>((resolve) => (answer = resolve)), {
    maxBytes: 10,
    maxInFlight: 1,
  });
  put('12345', '12345', '1', '2');
  expect(sink.dropped).toBe(2);
  answer(true);
  await settled();
  // There is room again, but it has not caught up.
  put('12345', '1');
  expect(sink.dropped).toBe(3);
  for (let i = 0; i < 2; i++) {
    answer(true);
    await settled();
  }
  expect(notes).toEqual([
    'recorder r falls behind: 2 records wait, and more are dropped',
    'recorder r has caught up; 3 records were dropped',
  ]);
});

test('a slow plugin gets as many at once as it may, and the rest when it has room', async () => {
  const open: (() => void)[] = [];
  let most = 0;
  const { put, asked, sink } = scene(
    () =>
      new Promise<boolean>((resolve) => {
        open.push(() => resolve(true));
        most = Math.max(most, open.length);
      }),
    { maxInFlight: 4 },
  );
  put(...numbered(20));
  const closed = sink.close();
  while (open.length > 0) {
    open.shift()!();
    await settled();
  }
  await closed;
  expect(asked).toEqual(numbered(20));
  expect(most).toBe(4);
});

test('what the plugin says that it does not keep is not sent again', async () => {
  const { put, asked, notes, sink } = scene((text) => text !== '1');
  put('0', '1', '1', '2');
  await sink.close();
  expect(asked).toEqual(['0', '1', '1', '2']);
  expect(notes).toEqual(['recorder r says that it does not keep a record']);
});

test('a record that alone fails is given up, and does not stop the others', async () => {
  const kept: string[] = [];
  const { clock, put, asked, notes, sink } = scene((text) => {
    if (text === 'bad') return Promise.reject(new PluginError('internal', 'cannot parse'));
    kept.push(text);
    return true;
  });
  put('bad');
  for (let i = 0; sink.dropped === 0; i++) {
    const count = kept.length;
    put(String(i));
    clock.advance(10_000);
    await settled();
    clock.advance(10_000);
    await settled();
    expect(kept.length).toBe(count + 1);
    expect(i).toBeLessThan(20);
  }
  expect(asked.filter((text) => text === 'bad').length).toBeLessThan(20);
  expect(kept.length).toBeGreaterThan(2);
  expect(notes.at(-1)).toBe('recorder r cannot keep a record, which is dropped: cannot parse');
});

test('what comes while it is being closed and fails is tried again until the deadline', async () => {
  let failures = 0;
  const { clock, sink, put, asked } = scene(() => (failures++ < 4 ? unreachable() : true));
  put('x');
  await settled();
  let closed = false;
  void sink.close().then(() => (closed = true));
  await clock.runUntil(() => closed);
  expect(asked).toHaveLength(5);
  expect(sink.dropped).toBe(0);
});
