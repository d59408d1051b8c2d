import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Received } from './received.ts';

test('gives back what was put in, in order, however it is taken', () => {
  const step = fc.oneof(
    fc.integer({ min: 0, max: 40_000 }),
    fc.integer({ min: 0, max: 40 }),
    fc.constant('take' as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const received = new Received();
      const model: Buffer[] = [];
      const got: Buffer[] = [];
      let next = 0;
      for (const one of steps) {
        if (one === 'take') {
          const bytes = received.shift();
          if (bytes !== undefined) got.push(bytes);
          continue;
        }
        const bytes = Buffer.from(Array.from({ length: one }, () => next++ & 255));
        model.push(Buffer.from(bytes));
        received.push(bytes);
        // Whoever gave them may use them again only where they are long.
        if (one < 16 * 1024) bytes.fill(0);
      }
      expect(received.length).toBe(
        model.reduce((all, { length }) => all + length, 0) - got.reduce((all, { length }) => all + length, 0),
      );
      for (let bytes = received.shift(); bytes !== undefined; bytes = received.shift()) got.push(bytes);
      expect(Buffer.concat(got).equals(Buffer.concat(model))).toBe(true);
      expect(received.length).toBe(0);
    }),
  );
});

test('single bytes of large reads keep neither the reads nor a piece for each byte', () => {
  const received = new Received();
  const count = 50_000;
  for (let i = 0; i < count; i++) received.push(Buffer.allocUnsafe(64 * 1024).subarray(0, 1));
  let pieces = 0;
  let memory = 0;
  for (let bytes = received.shift(); bytes !== undefined; bytes = received.shift()) {
    pieces++;
    memory += bytes.buffer.byteLength;
  }
  expect(pieces).toBeLessThan(20);
  expect(memory).toBeLessThan(2 * count);
});
