import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PacketFrames } from './packet-frames.ts';
import { formatRelayDatagram, parseRelayDatagram } from './relay.ts';
import { cut } from './splits.fixture.ts';
import { WireReader } from './wire-reader.ts';

/** Every frame with its length, as the pieces come. */
function framesOf(pieces: readonly Buffer[]): Buffer[] {
  const frames = new PacketFrames();
  const found: Buffer[] = [];
  for (const piece of pieces)
    frames.push(piece, (bytes, start, end) => found.push(bytes.subarray(start, end)));
  return found;
}

/** What the reader of the same frames finds. */
function datagramsOf(bytes: Buffer): Buffer[] {
  const reader = new WireReader(parseRelayDatagram);
  const found: Buffer[] = [];
  for (let data = reader.push(bytes); data !== undefined; data = reader.push(reader.rest))
    found.push(Buffer.from(data));
  return found;
}

test('they are those of the relay protocol, however the bytes are split', () => {
  const stream = fc
    .array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 })
    .map((packets) => Buffer.concat(packets.map(formatRelayDatagram)));
  const any = fc.uint8Array({ maxLength: 700 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(fc.oneof(stream, any), fc.array(fc.nat(2000), { maxLength: 12 }), (bytes, places) => {
      const whole = framesOf([bytes]);
      expect(whole.map((frame) => frame.subarray(2))).toEqual(datagramsOf(bytes));
      expect(framesOf(cut(bytes, places))).toEqual(whole);
      expect(framesOf([...bytes].map((byte) => Buffer.from([byte])))).toEqual(whole);
    }),
    { numRuns: 500 },
  );
});

test('a frame that came in one piece is not copied', () => {
  const bytes = Buffer.concat([
    formatRelayDatagram(Buffer.from('one')),
    formatRelayDatagram(Buffer.from('two')),
  ]);
  const places: number[][] = [];
  new PacketFrames().push(bytes, (held, start, end) => {
    expect(held).toBe(bytes);
    places.push([start, end]);
  });
  expect(places).toEqual([
    [0, 5],
    [5, 10],
  ]);
});

test('the longest frame', () => {
  const frame = formatRelayDatagram(Buffer.alloc(0xffff, 7));
  expect(framesOf(cut(frame, [1, 2, 40_000]))).toEqual([frame]);
});
