import fc from 'fast-check';
import { expect, test } from 'vitest';
import { redactDetails, redactTarget, redactUris } from './redact.ts';

test('user names and passwords leave every URI of a text', () => {
  expect(redactUris('see http://u:p@h:1/a, HTTPS://x@[::1]/ and mailto:me@h')).toBe(
    'see http://***@h:1/a, HTTPS://***@[::1]/ and mailto:me@h',
  );
  expect(redactUris('http://h/a@b?c@d#e@f')).toBe('http://h/a@b?c@d#e@f');
  // The last @ ends what is before the host.
  expect(redactUris('http://u:p@q@h/')).toBe('http://***@h/');
  expect(redactTarget('u:p@h:443')).toBe('***@h:443');
  expect(redactTarget('/a@b')).toBe('/a@b');
  expect(redactTarget('http://u:p@h/')).toBe('http://***@h/');
});

test('a secret in any place is gone, and nothing else is', () => {
  const secret = 'S3CRET';
  const name = fc.constantFrom('Authorization', 'proxy-authorization', 'AUTHORIZATION');
  const holder = fc.oneof(
    name.map((key) => ({ [key]: [`Basic ${secret}`] })),
    name.map((key) => ({ [key]: secret })),
    fc.constantFrom('uri', 'host', 'originalUri').map((key) => ({ [key]: `u:${secret}@h:1` })),
    fc.constant({ Location: [`x+y://${secret}@h/`, `http://a:${secret}@h`] }),
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof({ maxDepth: 4 }, holder, fc.dictionary(fc.string(), tie('tree')), fc.array(tie('tree'))),
  }));
  fc.assert(
    fc.property(tree, (value) => {
      expect(JSON.stringify(redactDetails(value))).not.toContain(secret);
    }),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value);
      if (!/@|authorization/i.test(text)) expect(JSON.stringify(redactDetails(value))).toBe(text);
    }),
    { numRuns: 300 },
  );
});

test('a hostile header costs no more than its length', () => {
  const hostile = [`${'a.'.repeat(50_000)}@`, `${'a://'.repeat(50_000)}@`, '@'.repeat(100_000)];
  const started = performance.now();
  for (const text of hostile) redactTarget(text);
  expect(performance.now() - started).toBeLessThan(2_000);
});
