import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createAnswerCache } from './answer-cache.ts';

const remembered = (answer: number, expiresAt: number) => ({
  answer,
  reason: undefined,
  tags: undefined,
  expiresAt,
});

test('it is a list in order of use that forgets its end, as long as anything fits', () => {
  const operation = fc.oneof(
    fc.record({ do: fc.constant('get' as const), key: fc.nat(6) }),
    fc.record({ do: fc.constant('set' as const), key: fc.nat(6), ttl: fc.nat(5), bytes: fc.nat(30) }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.nat(3) }),
  );
  const bounds = fc.record({
    maxEntries: fc.integer({ min: 1, max: 5 }),
    maxBytes: fc.integer({ min: 80, max: 200 }),
  });
  fc.assert(
    fc.property(bounds, fc.array(operation, { maxLength: 60 }), ({ maxEntries, maxBytes }, operations) => {
      const cache = createAnswerCache<number>({ maxEntries, maxBytes });
      // Least recently used first.
      let model: { key: string; answer: number; expiresAt: number; bytes: number }[] = [];
      let now = 0;
      for (const [i, one] of operations.entries()) {
        if (one.do === 'wait') {
          now += one.ms;
          continue;
        }
        const key = String(one.key);
        const old = model.find((entry) => entry.key === key);
        model = model.filter((entry) => entry !== old);
        if (one.do === 'get') {
          const alive = old !== undefined && old.expiresAt > now ? old : undefined;
          expect(cache.get(key, now)?.answer).toBe(alive?.answer);
          if (alive !== undefined) model.push(alive);
        } else {
          cache.set(key, remembered(i, now + one.ttl), one.bytes);
          const bytes = one.bytes + 2;
          if (bytes <= maxBytes / 8) model.push({ key, answer: i, expiresAt: now + one.ttl, bytes });
          while (model.length > maxEntries || model.reduce((sum, entry) => sum + entry.bytes, 0) > maxBytes)
            model.shift();
        }
        expect(cache.size).toBe(model.length);
      }
    }),
    { numRuns: 500 },
  );
});

test('an answer replaces an older one, also when it is too large to be kept', () => {
  const cache = createAnswerCache<number>({ maxEntries: 10, maxBytes: 800 });
  cache.set('k', remembered(1, 10), 10);
  cache.set('k', remembered(2, 10), 101);
  expect(cache.get('k', 0)).toBeUndefined();
  cache.set('k', remembered(3, 10), 1);
  cache.clear();
  expect([cache.size, cache.get('k', 0)]).toEqual([0, undefined]);
});
