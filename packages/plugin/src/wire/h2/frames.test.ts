import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { H2Error, h2Code } from './codes.ts';
import { FrameReader } from './frames.ts';
import { frame } from './raw-peer.fixture.ts';
import type { Frame } from './raw-peer.fixture.ts';

function collect(maxFrameBytes = 16_384): { reader: FrameReader; frames: Frame[] } {
  const frames: Frame[] = [];
  const reader = new FrameReader(
    {
      onFrame: (type, flags, id, bytes, from, to) => {
        frames.push({ type, flags, id, payload: Buffer.from(bytes.subarray(from, to)) });
      },
    },
    maxFrameBytes,
  );
  return { reader, frames };
}

const anyFrame = fc.record({
  type: fc.nat(255),
  flags: fc.nat(255),
  id: fc.nat(0x7fff_ffff),
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
});

/** Cuts bytes at the given places, which may coincide. */
function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)), 0, bytes.length].sort((a, b) => a - b);
  return places.slice(1).map((to, i) => bytes.subarray(places[i], to));
}

describe('the frame reader', () => {
  test('finds the same frames however the bytes are split', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 8 }), fc.array(fc.nat()), (frames, cuts) => {
        const bytes = Buffer.concat(frames.map((one) => frame(one.type, one.flags, one.id, one.payload)));
        const whole = collect();
        whole.reader.push(bytes);
        const parts = collect();
        for (const part of split(bytes, cuts)) parts.reader.push(Buffer.from(part));
        const single = collect();
        for (const byte of bytes) single.reader.push(Buffer.from([byte]));
        expect(whole.frames).toEqual(frames);
        expect(parts.frames).toEqual(frames);
        expect(single.frames).toEqual(frames);
        expect(parts.reader.isInsideFrame).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  test('does not copy a frame that lies in one chunk', () => {
    const chunk = frame(0, 0, 1, Buffer.from('payload'));
    let seen: Buffer | undefined;
    new FrameReader({ onFrame: (_type, _flags, _id, bytes) => (seen = bytes) }, 16_384).push(chunk);
    expect(seen).toBe(chunk);
  });

  test('refuses a frame that is too large as soon as its header is there', () => {
    for (const parts of [1, 3, 9]) {
      const { reader, frames } = collect();
      const header = frame(0, 0, 1).fill(0xff, 0, 3);
      const push = (): void => {
        for (let at = 0; at < 9; at += 9 / parts) reader.push(header.subarray(at, at + 9 / parts));
      };
      expect(push).toThrow(H2Error);
      expect(frames).toEqual([]);
    }
    try {
      collect().reader.push(frame(0, 0, 1).fill(0xff, 0, 3));
    } catch (error) {
      expect((error as H2Error).code).toBe(h2Code.frameSizeError);
    }
  });

  test('ignores the reserved bit', () => {
    const { reader, frames } = collect();
    const bytes = frame(0, 0, 5);
    bytes[5] = 0x80;
    reader.push(bytes);
    expect(frames[0]!.id).toBe(5);
  });

  test('says nothing more once it was stopped, also of the same chunk', () => {
    let count = 0;
    const reader: FrameReader = new FrameReader(
      {
        onFrame: () => {
          count++;
          reader.stop();
        },
      },
      16_384,
    );
    reader.push(Buffer.concat([frame(0, 0, 1), frame(0, 0, 1), frame(0, 0, 1)]));
    expect(count).toBe(1);
  });

  test('takes garbage as frames or refuses it, and nothing else', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 20 }), (chunks) => {
        const { reader } = collect();
        try {
          for (const chunk of chunks) reader.push(Buffer.from(chunk));
        } catch (error) {
          expect(error).toBeInstanceOf(H2Error);
        }
      }),
      { numRuns: 300 },
    );
  });
});
