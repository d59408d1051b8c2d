import { describe, expect, test } from 'vitest';
import { expectSplitsParseAlike, hex, refusal } from './splits.fixture.ts';
import { formatYamuxHead, parseYamuxHead, yamuxFlags, yamuxHeadBytes } from './yamux.ts';
import type { YamuxHead } from './yamux.ts';

const { syn, ack, fin, rst } = yamuxFlags;
const samples: readonly (readonly [string, YamuxHead])[] = [
  ['00 01 0001 00000001 00000000', { type: 'windowUpdate', flags: syn, stream: 1, length: 0 }],
  ['00 01 0002 00000001 00040000', { type: 'windowUpdate', flags: ack, stream: 1, length: 262_144 }],
  ['00 00 0004 00000102 00000005', { type: 'data', flags: fin, stream: 258, length: 5 }],
  ['00 00 0008 ffffffff 00000000', { type: 'data', flags: rst, stream: 0xffffffff, length: 0 }],
  ['00 02 0001 00000000 deadbeef', { type: 'ping', flags: syn, stream: 0, length: 0xdeadbeef }],
  ['00 03 0000 00000000 00000001', { type: 'goAway', flags: 0, stream: 0, length: 1 }],
];

describe('yamux heads', () => {
  test.each(samples)('%s', (bytes, head) => {
    expect(parseYamuxHead(hex(bytes), 'client')).toEqual({ message: head, length: 12 });
    expect(formatYamuxHead(head)).toEqual(hex(bytes));
  });

  test('any split of any bytes parses alike', () => {
    const all = samples.map(([bytes]) => hex(bytes));
    expectSplitsParseAlike((bytes) => parseYamuxHead(bytes, 'upstream'), all, { maxBytes: yamuxHeadBytes });
  });

  test.each([
    ['another version', '01'],
    ['HTTP', '47 45'],
    ['an unknown type', '00 04'],
    ['an unknown flag', '00 00 0010 00000001 00000000'],
    ['data of the session', '00 00 0000 00000000 00000001'],
    ['a ping of a stream', '00 02 0001 00000001 00000000'],
    ['a stream that goes away', '00 03 0000 00000001 00000000'],
  ])('refuses %s, whoever says it', (_, bytes) => {
    expect(refusal(() => parseYamuxHead(hex(bytes), 'client'))).toBe('malformedRequest at client');
    expect(refusal(() => parseYamuxHead(hex(bytes), 'upstream'))).toBe('badUpstreamReply at upstream');
  });
});
