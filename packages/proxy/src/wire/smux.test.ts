import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatSmuxHead,
  formatSmuxUpdate,
  parseSmuxHead,
  parseSmuxUpdate,
  smuxHeadBytes,
  smuxUpdateBytes,
} from './smux.ts';
import type { SmuxCommand, SmuxVersion } from './smux.ts';
import { expectSplitsParseAlike, hex, refusal } from './splits.fixture.ts';

const samples: readonly (readonly [string, SmuxVersion, SmuxCommand, number, number])[] = [
  ['01 00 0000 03000000', 1, 'syn', 0, 3],
  ['01 01 0000 03000000', 1, 'fin', 0, 3],
  ['02 02 0080 02010000', 2, 'psh', 32_768, 258],
  ['02 03 0000 00000000', 2, 'nop', 0, 0],
  ['02 04 0800 ffffffff', 2, 'upd', 8, 0xffffffff],
];

describe('smux heads', () => {
  test.each(samples)('%s', (bytes, version, command, length, stream) => {
    const head = { command, length, stream };
    expect(parseSmuxHead(hex(bytes), version, 'client')).toEqual({ message: head, length: 8 });
    expect(formatSmuxHead(version, head)).toEqual(hex(bytes));
  });

  test.each([1, 2] as const)('version %s: any split of any bytes parses alike', (version) => {
    const own = samples.filter(([, of]) => of === version).map(([bytes]) => hex(bytes));
    expectSplitsParseAlike((bytes) => parseSmuxHead(bytes, version, 'client'), own, {
      maxBytes: smuxHeadBytes,
    });
  });

  test.each([
    ['another version', '02'],
    ['HTTP', '47 45'],
    ['an unknown command', '01 05'],
    ['a window in version 1', '01 04'],
    ['an opening that carries bytes', '01 00 0100 03000000'],
    ['an end that carries bytes', '01 01 0100 03000000'],
    ['a NOP that carries bytes', '01 03 0800 00000000'],
  ])('refuses %s, whoever says it', (_, bytes) => {
    expect(refusal(() => parseSmuxHead(hex(bytes), 1, 'client'))).toBe('malformedRequest at client');
    expect(refusal(() => parseSmuxHead(hex(bytes), 1, 'upstream'))).toBe('badUpstreamReply at upstream');
  });

  test('refuses a window update of another length', () => {
    const bytes = hex('02 04 0900 03000000');
    expect(refusal(() => parseSmuxHead(bytes, 2, 'client'))).toBe('malformedRequest at client');
  });
});

describe('smux window updates', () => {
  test('any is read as it was written', () => {
    const number = fc.nat(0xffffffff);
    fc.assert(
      fc.property(number, number, number, (stream, consumed, window) => {
        const frame = formatSmuxUpdate(stream, { consumed, window });
        const head = { command: 'upd', length: smuxUpdateBytes, stream };
        expect(parseSmuxHead(frame, 2, 'client')?.message).toEqual(head);
        expect(parseSmuxUpdate(frame.subarray(smuxHeadBytes))?.message).toEqual({ consumed, window });
      }),
    );
  });

  test('any split parses alike', () => {
    const sample = hex('00000100 00000400');
    expect(parseSmuxUpdate(sample)?.message).toEqual({ consumed: 65_536, window: 262_144 });
    expectSplitsParseAlike(parseSmuxUpdate, [sample], { maxBytes: smuxUpdateBytes });
  });

  test('what was consumed is counted modulo 2^32', () => {
    const frame = formatSmuxUpdate(3, { consumed: 2 ** 32 + 5, window: 1 });
    expect(parseSmuxUpdate(frame.subarray(smuxHeadBytes))?.message.consumed).toBe(5);
  });
});
