import { expect, test } from 'vitest';
import { createLaps } from './laps.ts';

test('what begins alike may be on its way a few times at once, and again when that is over', async () => {
  const laps = createLaps(2);
  const [a, b] = [Buffer.from('a'), Buffer.from('b')];
  const ends: (() => void)[] = [];
  const depart = (beginning: Buffer) => {
    laps.check(beginning);
    laps.depart(beginning, new Promise((resolve) => ends.push(resolve)));
  };
  depart(a);
  depart(a);
  depart(b);
  expect(() => depart(a)).toThrow('too often');
  depart(b);
  ends[0]!();
  await new Promise(setImmediate);
  depart(a);
  expect(() => depart(a)).toThrow(expect.objectContaining({ code: 'loop' }));
});
