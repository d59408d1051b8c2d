import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeGrpcMessage,
  encodeGrpcMessage,
  formatGrpcTimeout,
  parseGrpcStatus,
  parseGrpcTimeout,
} from './grpc-codes.ts';
import { MessageReader, gunzipMessage } from './grpc-framing.ts';

function prefixed(body: Uint8Array, compressed = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = compressed;
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

describe('the message reader', () => {
  test('finds the same message however its bytes are split', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 400 }),
        fc.array(fc.nat(410)),
        fc.nat(1),
        (body, cuts, compressed) => {
          const bytes = prefixed(body, compressed);
          const reader = new MessageReader(400);
          const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)), bytes.length].sort(
            (a, b) => a - b,
          );
          for (let i = 1; i < places.length; i++) reader.push(bytes, places[i - 1]!, places[i]!);
          expect(reader.state).toBe('one');
          expect(reader.isCompressed).toBe(compressed === 1);
          expect(Buffer.compare(reader.message, body)).toBe(0);
          reader.push(bytes, 0, 1);
          expect(reader.state).toBe('extra');
        },
      ),
      { numRuns: 300 },
    );
  });

  test('says what is wrong at once, also byte by byte', () => {
    for (const step of [1, 100]) {
      const read = (bytes: Buffer): string => {
        const reader = new MessageReader(10);
        for (let at = 0; at < bytes.length; at += step)
          reader.push(bytes, at, Math.min(bytes.length, at + step));
        return reader.state;
      };
      expect(read(Buffer.alloc(0))).toBe('none');
      expect(read(prefixed(Buffer.alloc(10)).subarray(0, 14))).toBe('part');
      expect(read(prefixed(Buffer.alloc(11)).subarray(0, 5))).toBe('tooLarge');
      expect(read(Buffer.from([0, 255, 255, 255, 255]))).toBe('tooLarge');
      expect(read(Buffer.from([2, 0, 0, 0, 0]))).toBe('badFlag');
      expect(read(Buffer.concat([prefixed(Buffer.alloc(3)), Buffer.alloc(1)]))).toBe('extra');
      expect(read(Buffer.concat([prefixed(Buffer.alloc(0)), Buffer.alloc(1)]))).toBe('extra');
    }
  });

  test('takes memory as bytes come, not as they are promised', () => {
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 100 }, () => {
      const reader = new MessageReader(1 << 30);
      reader.push(Buffer.from([0, 0x30, 0, 0, 0, 1]), 0, 6);
      return reader;
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50 * 1024 * 1024);
    expect(readers[0]!.state).toBe('part');
  });
});

test('gunzip produces no more than it may', () => {
  const bomb = gzipSync(Buffer.alloc(1_000_000));
  expect(gunzipMessage(bomb, 999_999)).toEqual({ error: 'tooLarge' });
  expect(gunzipMessage(bomb, 1_000_000)).toHaveProperty('message');
  expect(gunzipMessage(gzipSync(Buffer.alloc(0)), 0)).toEqual({ message: Buffer.alloc(0) });
  expect(gunzipMessage(bomb.subarray(0, 100), 1_000_000)).toEqual({ error: 'garbage' });
  expect(gunzipMessage(Buffer.from('garbage'), 100)).toEqual({ error: 'garbage' });
});

describe('grpc-message', () => {
  test('keeps every text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const encoded = encodeGrpcMessage(text);
        expect(encoded).toMatch(/^[\x20-\x7e]*$/);
        expect(encoded.trim()).toBe(encoded);
        expect(decodeGrpcMessage(encoded)).toBe(Buffer.from(text).toString());
      }),
      { numRuns: 300 },
    );
  });

  test('is read as well as it can be where it is broken', () => {
    expect(decodeGrpcMessage('50% off %4 %zz %41')).toBe('50% off %4 %zz A');
    expect(decodeGrpcMessage(Buffer.from('ü').toString('latin1'))).toBe('ü');
    expect(decodeGrpcMessage('%ff')).toBe('\ufffd');
  });
});

test('grpc-status is a number, known or not', () => {
  expect(['0', '16', '17', '999'].map(parseGrpcStatus)).toEqual([0, 16, 2, 2]);
  expect(['', '-1', '1.0', 'OK', ' 1', '1e3'].map(parseGrpcStatus)).toEqual(Array(6).fill(undefined));
});

test('grpc-timeout has eight digits and a unit', () => {
  expect([0.2, 1, 1.9, 2000, 99_999_999, 100_000_000, 1e15].map(formatGrpcTimeout)).toEqual([
    '1m',
    '1m',
    '1m',
    '2000m',
    '99999999m',
    '100000S',
    '99999999S',
  ]);
  expect(['1H', '1M', '1S', '1m', '1u', '1n'].map(parseGrpcTimeout)).toEqual([
    3_600_000, 60_000, 1000, 1, 1e-3, 1e-6,
  ]);
  expect(['', '1', 'm', '123456789m', '1x', '-1m', '1 m'].map(parseGrpcTimeout)).toEqual(
    Array(7).fill(undefined),
  );
});
