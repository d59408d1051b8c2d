import { describe, expect, test } from 'vitest';
import { WireReader } from './wire-reader.ts';

/** A length and that many bytes of text. */
const texts = () =>
  new WireReader((bytes) => {
    const length = 1 + (bytes[0] ?? Infinity);
    return bytes.length < length ? undefined : { message: bytes.toString('latin1', 1, length), length };
  });

describe('WireReader', () => {
  test('gives each message once, and what follows it', () => {
    const reader = texts();
    expect(reader.push(Buffer.from('\x02ab\x03cde\x02f'))).toBe('ab');
    expect(reader.rest.toString()).toBe('\x03cde\x02f');
    expect(reader.taken.toString()).toBe('\x02ab');
    expect(reader.push(reader.rest)).toBe('cde');
    expect(reader.push(reader.rest)).toBeUndefined();
    expect(reader.started).toBe(true);
    expect(reader.held.toString()).toBe('\x02f');
    expect(reader.push(Buffer.from('g\x00'))).toBe('fg');
    expect(reader.taken.toString()).toBe('\x02fg');
    expect(reader.started).toBe(false);
    expect(reader.push(reader.rest)).toBe('');
    expect(reader.rest).toHaveLength(0);
  });

  test('nothing is a message that has not begun', () => {
    const reader = texts();
    expect(reader.push(Buffer.alloc(0))).toBeUndefined();
    expect(reader.started).toBe(false);
    expect(reader.push(Buffer.from('\x01a'))).toBe('a');
  });

  test('what it gave away does not change with what comes later', () => {
    const reader = texts();
    expect(reader.push(Buffer.from('\x02a'))).toBeUndefined();
    expect(reader.push(Buffer.from('bXY'))).toBe('ab');
    const { rest, taken } = reader;
    expect(reader.push(Buffer.from('\x05zzzz'))).toBeUndefined();
    expect([taken, rest].map(String)).toEqual(['\x02ab', 'XY']);
  });

  test('long messages in small pieces cost their length, not its square', () => {
    const bytes = Buffer.alloc(1_000_000, 1);
    const reader = new WireReader((all) =>
      all.length < bytes.length ? undefined : { message: all, length: bytes.length },
    );
    let message: Buffer | undefined;
    // A million copies of up to a megabyte would take minutes.
    for (let at = 0; at < bytes.length; at += 10) message = reader.push(bytes.subarray(at, at + 10));
    expect(message?.equals(bytes)).toBe(true);
  });
});
