import fc from 'fast-check';
import type { Field, MessageType } from './proto.ts';

const edges: readonly bigint[] = [
  0n,
  1n,
  127n,
  128n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 35n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
];

function asInt64(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** Text of every kind: empty, ASCII, longer than any fast path, characters of two to four bytes. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ minLength: 40, maxLength: 300 }),
);

/** Values of one field, zero included. */
function anyValue(field: Field): fc.Arbitrary<unknown> {
  if (typeof field.type !== 'string') {
    const message = anyMessage(field.type);
    return field.repeated ? message : fc.option(message, { nil: undefined });
  }
  switch (field.type) {
    case 'string':
      return anyText;
    case 'bool':
      return fc.boolean();
    case 'bytes':
      return fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    case 'int64':
      return fc
        .oneof(
          fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
          fc.constantFrom(...edges, ...edges.map((n) => -n)),
        )
        .map(asInt64);
    case 'uint64':
      return fc
        .oneof(
          fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
          fc.constantFrom(...edges, 2n ** 63n, 2n ** 64n - 1n),
        )
        .map(asInt64);
    case 'int32':
      return fc.integer();
  }
}

/** Messages of a table with values of every kind, for property tests. */
export function anyMessage(type: MessageType<object>): fc.Arbitrary<object> {
  const fields = Object.fromEntries(
    type.fields.map((field) => [
      field.name,
      field.repeated ? fc.array(anyValue(field), { maxLength: 4 }) : anyValue(field),
    ]),
  );
  return fc.record(fields);
}
