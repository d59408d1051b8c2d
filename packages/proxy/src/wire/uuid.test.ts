import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatUuid, parseUuid } from './uuid.ts';

const text = '01234567-89ab-cdef-0123-456789abcdef';

test.each([
  text,
  text.toUpperCase(),
  text.replaceAll('-', ''),
  `{${text}}`,
  `urn:uuid:${text}`,
  `URN:UUID:${text.toUpperCase()}`,
])('%s is read', (written) => {
  expect(formatUuid(parseUuid(written)!)).toBe(text);
});

test.each([
  '',
  'x',
  text.slice(1),
  `${text}0`,
  ` ${text}`,
  `${text.slice(0, -1)}g`,
  text.replaceAll('-', '_'),
  `(${text})`,
  `{${text.replaceAll('-', '')}}`,
  `urn:uuie:${text}`,
  `urn:uuid:${text.replaceAll('-', '')}`,
  '0123456-789ab-cdef-0123-456789abcdef0',
])('%j is none', (written) => {
  expect(parseUuid(written)).toBeUndefined();
});

test('what is formatted is read back, and nothing that is not 16 bytes is formatted', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      expect([...parseUuid(formatUuid(bytes))!]).toEqual([...bytes]);
    }),
  );
  expect(() => formatUuid(Buffer.alloc(15))).toThrow(TypeError);
});

test('any text is either a UUID or none, at once', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (written) => {
      const found = parseUuid(written);
      expect(found === undefined || found.length === 16).toBe(true);
    }),
  );
});
