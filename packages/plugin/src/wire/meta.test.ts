import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Meta } from '../contract.ts';
import { maxReasonLength, maxTags, metaNames, readMeta, writeMeta } from './meta.ts';

const read = (headers: readonly string[]): Meta => {
  const meta: Meta = {};
  readMeta(headers, meta);
  return meta;
};

test('whatever is written is read again, from headers that any transport carries', () => {
  const text = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
    .filter((one) => !/[\p{Cc}\u2028\u2029]/u.test(one));
  const metas = fc.record(
    {
      ttlMs: fc.nat(),
      reason: text.filter((one) => one.trim() === one && one.length <= maxReasonLength),
      tags: fc.array(text, { minLength: 1, maxLength: 5 }),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(metas, (meta) => {
      const headers = writeMeta(meta);
      for (const value of headers) expect(value).toMatch(/^[!-~](?:[ -~]*[!-~])?$/);
      expect(read(headers)).toEqual(meta);
      const joined = [
        metaNames.tag,
        (meta.tags ?? []).map((tag) => writeMeta({ tags: [tag] })[1]).join(', '),
      ];
      if (meta.tags !== undefined) expect(read(joined).tags).toEqual(meta.tags);
    }),
    { numRuns: 1000 },
  );
});

test('garbage is left out and never thrown at', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom(...Object.values(metaNames)), fc.string())), (pairs) => {
      const meta = read(pairs.flat());
      expect(meta.reason ?? '').not.toMatch(/\p{Cc}/u);
      expect((meta.reason ?? '').length).toBeLessThanOrEqual(maxReasonLength);
      expect((meta.tags ?? []).length).toBeLessThanOrEqual(maxTags);
      expect(meta.ttlMs ?? 0).toBeGreaterThanOrEqual(0);
    }),
  );
  expect(read(['sallyport-ttl-ms', '-1', 'sallyport-ttl-ms', '1e3', 'sallyport-ttl-ms', 'NaN'])).toEqual({});
  expect(read(['sallyport-reason', 'a%0Ab%', 'date', 'now']).reason).toBe('a%0Ab%');
  expect(read(['sallyport-reason', 'a%0Ab']).reason).toBe('a b');
});

test('a long reason is cut between characters; a tag that cannot be said is an error', () => {
  const meta = read(writeMeta({ reason: '😀'.repeat(400) }));
  expect(meta.reason!.length).toBeLessThanOrEqual(maxReasonLength);
  expect(meta.reason).toMatch(/^(😀)+…$/u);
  expect(() => writeMeta({ tags: ['x'.repeat(257)] })).toThrow(/tag/);
  expect(() => writeMeta({ tags: ['a\nb'] })).toThrow(/tag/);
  expect(() => writeMeta({ tags: Array<string>(33).fill('x') })).toThrow(/32 tags/);
  expect(() => writeMeta({ ttlMs: -1 })).toThrow(/ttlMs/);
  expect(() => writeMeta({ ttlMs: NaN })).toThrow(/ttlMs/);
  expect(writeMeta({ ttlMs: 1.7, reason: '' })).toEqual([metaNames.ttlMs, '1']);
});
