import fc from 'fast-check';
import { expect } from 'vitest';
import { ProxyError } from '../core/errors.ts';
import { WireReader } from './wire-reader.ts';
import type { Parse } from './wire-reader.ts';

/** What became of some bytes: the first message with all that followed it, the error, or neither while more is needed. */
export interface Outcome<Message> {
  readonly message?: Message;
  readonly taken?: string;
  readonly rest?: string;
  readonly error?: string;
}

/** Gives the pieces to a reader until there is a message. */
export function readOne<Message>(parse: Parse<Message>, pieces: readonly Buffer[]): Outcome<Message> {
  const reader = new WireReader(parse);
  for (const [index, piece] of pieces.entries()) {
    let message: Message | undefined;
    try {
      message = reader.push(piece);
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      return { error: `${error.code} at ${error.at}` };
    }
    if (message === undefined) continue;
    const rest = Buffer.concat([reader.rest, ...pieces.slice(index + 1)]).toString('hex');
    return { message, taken: reader.taken.toString('hex'), rest };
  }
  return {};
}

/** Cuts bytes at places; beyond their end and twice at the same place is allowed. */
export function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = places.map((place) => Math.min(place, bytes.length)).sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

const places = fc.array(fc.nat(600), { maxLength: 6 });

/** Bytes that are one of the samples but for a few that were changed, left out or put in; or just any bytes. */
export function nearly(samples: readonly Buffer[]): fc.Arbitrary<Buffer> {
  const change = fc.tuple(fc.nat(1000), fc.nat(2), fc.uint8Array({ maxLength: 3 }));
  const damaged = fc
    .tuple(fc.constantFrom(...samples), fc.array(change, { maxLength: 3 }))
    .map(([sample, changes]) =>
      changes.reduce((bytes, [where, dropped, put]) => {
        const at = where % (bytes.length + 1);
        return Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + dropped)]);
      }, sample),
    );
  return fc.oneof(
    damaged,
    fc.uint8Array({ maxLength: 700 }).map((bytes) => Buffer.from(bytes)),
  );
}

/**
 * Holds for any bytes: however they are cut, the outcome is the same; it is a message, a ProxyError or the wish for more, never
 * anything else; a message is read from its own bytes alone; and what wishes for more never holds more than a message can be.
 */
export function expectSplitsParseAlike<Message>(
  parse: Parse<Message>,
  samples: readonly Buffer[],
  { maxBytes, numRuns = 1000 }: { readonly maxBytes: number; readonly numRuns?: number },
): void {
  for (const sample of samples) {
    const whole = readOne(parse, [sample]);
    expect(whole.message).toBeDefined();
    const single = cut(
      sample,
      [...sample].map((_, index) => index),
    );
    expect(readOne(parse, single)).toEqual(whole);
  }
  fc.assert(
    fc.property(nearly(samples), places, fc.boolean(), (bytes, where, followed) => {
      // Followed by what must not be read: the same messages then come out.
      const all = followed ? Buffer.concat([bytes, Buffer.alloc(2 * maxBytes, 0xfe)]) : bytes;
      const whole = readOne(parse, [all]);
      expect(readOne(parse, cut(all, where))).toEqual(whole);
      if (whole.taken !== undefined) {
        expect(whole.taken.length / 2).toBeLessThanOrEqual(maxBytes);
        expect(readOne(parse, [Buffer.from(whole.taken, 'hex')]).message).toEqual(
          // A message of no length says that what follows is none; there is nothing to read again.
          whole.taken === '' ? undefined : whole.message,
        );
      } else if (whole.error === undefined) expect(all.length).toBeLessThan(maxBytes);
    }),
    { numRuns },
  );
}

/** The code and the fault of what a function throws. */
export function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof ProxyError) return `${error.code} at ${error.at}`;
    throw error;
  }
  return 'nothing';
}

/** Bytes as people write them: `05 01 00`. */
export function hex(text: string): Buffer {
  return Buffer.from(text.replace(/\s/g, ''), 'hex');
}
