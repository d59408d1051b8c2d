import { describe, expect, test } from 'vitest';
import { ProxyError } from '../../core/errors.ts';
import { manualWheel, settled } from '../../core/manual-clock.fixture.ts';
import { Answers } from './answers.ts';
import type { Asker } from './answers.ts';

/** Somebody who may ask as much as it likes, unless a test says otherwise. */
class TestAsker implements Asker {
  dropped = 0;
  open = 0;
  bytes = 0;
  failures = 0;
  isAllowed = true;
  readonly name: string;

  constructor(name = 'asker') {
    this.name = name;
  }

  mayAsk() {
    if (this.isAllowed) this.open++;
    return this.isAllowed;
  }

  asked(hasFailed: boolean) {
    this.open--;
    if (hasFailed) this.failures++;
  }

  drop() {
    this.dropped++;
  }

  wait(bytes: number) {
    if (this.bytes + bytes > 100_000) return false;
    this.bytes += bytes;
    return true;
  }

  waited(bytes: number) {
    this.bytes -= bytes;
  }
}

interface Answer {
  readonly is: string;
}

function scene(keptMs = 1000) {
  const { clock, wheel } = manualWheel();
  const questions: {
    key: string;
    asker: string;
    yes(is: string): Promise<void>;
    no(error?: unknown): Promise<void>;
  }[] = [];
  const passed: string[] = [];
  const answers = new Answers<string, Answer, TestAsker>({
    wheel,
    keptMs: () => keptMs,
    ask: (key, { name: asker }) =>
      new Promise((resolve, reject) => {
        questions.push({
          key,
          asker,
          yes: (is) => {
            resolve({ is });
            return settled();
          },
          no: (error = new ProxyError('couldNotAsk', 'plugin', 'nobody answers')) => {
            reject(error as Error);
            return settled();
          },
        });
      }),
    pass: ({ is }, frame, { name }) => passed.push(`${name} ${frame.toString()} ${is}`),
  });
  const find = (key: string, text: string, from: TestAsker) => {
    const bytes = Buffer.from(`..${text}..`);
    return answers.find(key, bytes, 2, bytes.length - 2, from)?.is;
  };
  return { clock, answers, questions, passed, find };
}

describe('an answer', () => {
  test('is asked for once, packets wait for it in their order, and it is kept', async () => {
    const { clock, questions, passed, find } = scene();
    const [a, b] = [new TestAsker('a'), new TestAsker('b')];
    expect(find('x', '1', a)).toBeUndefined();
    expect(find('x', '2', b)).toBeUndefined();
    expect(find('x', '3', a)).toBeUndefined();
    expect(questions).toHaveLength(1);
    expect([a.bytes, b.bytes]).toEqual([2, 1]);
    await questions[0]!.yes('here');
    expect(passed).toEqual(['a 1 here', 'b 2 here', 'a 3 here']);
    expect([a.bytes, b.bytes, a.open, b.open]).toEqual([0, 0, 0, 0]);
    clock.advance(899);
    expect(find('x', '4', b)).toBe('here');
    expect(questions).toHaveLength(1);
  });

  test('counts for its time and no longer', async () => {
    const { clock, questions, passed, find } = scene();
    const a = new TestAsker('a');
    find('x', '1', a);
    await questions[0]!.yes('here');
    clock.advance(1000);
    expect(find('x', '2', a)).toBeUndefined();
    expect(questions).toHaveLength(2);
    await questions[1]!.yes('there');
    expect(passed).toEqual(['a 1 here', 'a 2 there']);
  });

  test('that is in use is asked for again before it ends, and nobody waits', async () => {
    const { clock, questions, passed, find } = scene();
    const a = new TestAsker('a');
    find('x', '1', a);
    await questions[0]!.yes('here');
    clock.advance(950);
    expect(find('x', '2', a)).toBe('here');
    expect(find('x', '3', a)).toBe('here');
    expect(questions).toHaveLength(2);
    await questions[1]!.yes('there');
    expect(find('x', '4', a)).toBe('there');
    clock.advance(899);
    expect(find('x', '5', a)).toBe('there');
    expect(passed).toEqual(['a 1 here']);
  });

  test('that is asked for ahead of time, and late, is waited for', async () => {
    const { clock, questions, passed, find } = scene();
    const a = new TestAsker('a');
    find('x', '1', a);
    await questions[0]!.yes('here');
    clock.advance(950);
    find('x', '2', a);
    clock.advance(60);
    expect(find('x', '3', a)).toBeUndefined();
    expect(questions).toHaveLength(2);
    await questions[1]!.yes('there');
    expect(passed).toEqual(['a 1 here', 'a 3 there']);
  });

  test('that could not be asked for ahead of time counts to its end', async () => {
    const { clock, questions, find } = scene();
    const a = new TestAsker('a');
    find('x', '1', a);
    await questions[0]!.yes('here');
    clock.advance(950);
    find('x', '2', a);
    await questions[1]!.no();
    expect(find('x', '3', a)).toBe('here');
    clock.advance(50);
    expect(find('x', '4', a)).toBeUndefined();
  });

  test('of one thing is none of another', async () => {
    const { questions, find } = scene();
    const a = new TestAsker();
    find('x', '1', a);
    find('y', '2', a);
    expect(questions.map(({ key }) => key)).toEqual(['x', 'y']);
    await questions[0]!.yes('here');
    expect(find('x', '3', a)).toBe('here');
    expect(find('y', '4', a)).toBeUndefined();
  });
});

describe('nobody can be asked', () => {
  test('what waits is dropped, and the next packet asks again', async () => {
    const { questions, passed, find, answers } = scene();
    const a = new TestAsker('a');
    find('x', '1', a);
    find('x', '2', a);
    await questions[0]!.no();
    expect([a.dropped, a.bytes, a.failures, a.open, answers.size]).toEqual([2, 0, 1, 0, 0]);
    find('x', '3', a);
    expect(questions).toHaveLength(2);
    await questions[1]!.yes('here');
    expect(passed).toEqual(['a 3 here']);
  });

  test('packets wait for a second, and what comes then asks nobody else', async () => {
    const { clock, questions, passed, find } = scene();
    const a = new TestAsker('a');
    find('x', '1', a);
    clock.advance(999);
    find('x', '2', a);
    expect(a.dropped).toBe(0);
    clock.advance(10);
    expect([a.dropped, a.bytes]).toEqual([2, 0]);
    find('x', '3', a);
    expect([a.dropped, questions.length]).toEqual([3, 1]);
    // It counts all the same when it comes.
    await questions[0]!.yes('here');
    expect(passed).toEqual([]);
    expect(find('x', '4', a)).toBe('here');
  });

  test('because the asker has left: another asks', async () => {
    const { questions, passed, find } = scene();
    const [a, b] = [new TestAsker('a'), new TestAsker('b')];
    find('x', '1', a);
    find('x', '2', b);
    a.isAllowed = false;
    await questions[0]!.no(new ProxyError('clientClosed', 'client', 'it left'));
    expect(questions.map(({ asker }) => asker)).toEqual(['a', 'b']);
    expect(a.failures).toBe(0);
    await questions[1]!.yes('here');
    expect(passed).toEqual(['a 1 here', 'b 2 here']);
  });

  test('because nobody is left', async () => {
    const { questions, find, answers } = scene();
    const a = new TestAsker('a');
    find('x', '1', a);
    a.isAllowed = false;
    await questions[0]!.no(new ProxyError('clientClosed', 'client', 'it left'));
    expect([questions.length, a.dropped, answers.size]).toEqual([1, 1, 0]);
  });
});

describe('a flood', () => {
  test('of packets: 64 wait', async () => {
    const { questions, passed, find } = scene();
    const a = new TestAsker('a');
    for (let index = 0; index < 1000; index++) find('x', String(index), a);
    expect([questions.length, a.dropped]).toEqual([1, 1000 - 64]);
    await questions[0]!.yes('here');
    expect(passed).toHaveLength(64);
    expect(passed.at(-1)).toBe('a 63 here');
  });

  test('of bytes: what the asker may hold', () => {
    const { find } = scene();
    const a = new TestAsker();
    for (let index = 0; index < 10; index++) find(String(index), 'x'.repeat(60_000), a);
    expect([a.bytes, a.dropped]).toEqual([60_000, 9]);
  });

  test('of questions: none that the asker may not ask', () => {
    const { questions, find, answers } = scene();
    const a = new TestAsker();
    find('x', '1', a);
    a.isAllowed = false;
    for (let index = 0; index < 1000; index++) find(String(index), '1', a);
    expect([questions.length, a.dropped, answers.size]).toEqual([1, 1000, 1]);
  });

  test('of things: 4,096 are remembered, the last ones', async () => {
    const { questions, find, answers } = scene();
    const a = new TestAsker('a');
    for (let index = 0; index < 5000; index++) find(String(index), '1', a);
    expect(answers.size).toBe(4096);
    expect(a.dropped).toBe(5000 - 4096);
    for (const { yes } of questions.splice(0)) void yes('here');
    await settled();
    expect(a.open).toBe(0);
    expect(find('4999', '2', a)).toBe('here');
    expect(find('0', '2', a)).toBeUndefined();
  });
});

test('closing drops what waits, and answers that come then are for nobody', async () => {
  const { questions, passed, find, answers } = scene();
  const a = new TestAsker('a');
  find('x', '1', a);
  answers.close();
  expect([a.dropped, a.bytes, answers.size]).toEqual([1, 0, 0]);
  await questions[0]!.yes('here');
  expect(passed).toEqual([]);
});
