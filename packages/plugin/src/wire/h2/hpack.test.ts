import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HpackDecoder, HpackEncoder, HpackError } from './hpack.ts';
import { huffmanLength, maxDecodedLength, readHuffman, writeHuffman } from './huffman.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const decoder = (maxTableBytes = 4096, maxListBytes = 65_536) =>
  new HpackDecoder({ maxTableBytes, maxListBytes });
const encoder = (maxTableBytes = 4096) => new HpackEncoder({ maxTableBytes });

/** What decoding throws; it must throw. */
function failure(run: () => unknown): HpackError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(HpackError);
    return error as HpackError;
  }
  throw new Error('nothing was thrown');
}

/** One connection's blocks of RFC 7541, appendix C: the block, its fields, and the table's size after it. */
interface Vector {
  readonly name: string;
  readonly tableBytes: number;
  readonly blocks: readonly (readonly [block: string, headers: readonly string[], tableBytes: number])[];
}

const first = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'];
const second = [...first, 'cache-control', 'no-cache'];
const third = [
  ...[':method', 'GET', ':scheme', 'https', ':path', '/index.html'],
  ...[':authority', 'www.example.com', 'custom-key', 'custom-value'],
];
const found = [
  ...[':status', '302', 'cache-control', 'private'],
  ...['date', 'Mon, 21 Oct 2013 20:13:21 GMT', 'location', 'https://www.example.com'],
];
const redirected = [':status', '307', ...found.slice(2)];
const okay = [
  ...[':status', '200', 'cache-control', 'private', 'date', 'Mon, 21 Oct 2013 20:13:22 GMT'],
  ...['location', 'https://www.example.com', 'content-encoding', 'gzip'],
  ...['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'],
];

const vectors: readonly Vector[] = [
  {
    name: 'C.2.1, a literal with indexing',
    tableBytes: 4096,
    blocks: [
      [
        '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572',
        ['custom-key', 'custom-header'],
        55,
      ],
    ],
  },
  {
    name: 'C.2.2, a literal without indexing',
    tableBytes: 4096,
    blocks: [['040c 2f73 616d 706c 652f 7061 7468', [':path', '/sample/path'], 0]],
  },
  {
    name: 'C.2.3, a literal never indexed',
    tableBytes: 4096,
    blocks: [['1008 7061 7373 776f 7264 0673 6563 7265 74', ['password', 'secret'], 0]],
  },
  { name: 'C.2.4, an indexed field', tableBytes: 4096, blocks: [['82', [':method', 'GET'], 0]] },
  {
    name: 'C.3, requests without Huffman',
    tableBytes: 4096,
    blocks: [
      ['8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d', first, 57],
      ['8286 84be 5808 6e6f 2d63 6163 6865', second, 110],
      ['8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65', third, 164],
    ],
  },
  {
    name: 'C.4, requests with Huffman',
    tableBytes: 4096,
    blocks: [
      ['8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff', first, 57],
      ['8286 84be 5886 a8eb 1064 9cbf', second, 110],
      ['8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf', third, 164],
    ],
  },
  {
    name: 'C.5, responses without Huffman, evicting',
    tableBytes: 256,
    blocks: [
      [
        '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133' +
          '2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70' +
          '6c65 2e63 6f6d',
        found,
        222,
      ],
      ['4803 3330 37c1 c0bf', redirected, 222],
      [
        '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d' +
          '54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049' +
          '5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e' +
          '3d31',
        okay,
        215,
      ],
    ],
  },
  {
    name: 'C.6, responses with Huffman, evicting',
    tableBytes: 256,
    blocks: [
      [
        '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6' +
          '2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
        found,
        222,
      ],
      ['4883 640e ffc1 c0bf', redirected, 222],
      [
        '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab' +
          '77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f' +
          '9587 3160 65c0 03ed 4ee5 b106 3d50 07',
        okay,
        215,
      ],
    ],
  },
];

describe('RFC 7541, appendix C', () => {
  for (const { name, tableBytes, blocks } of vectors) {
    test(name, () => {
      const reader = decoder(tableBytes);
      for (const [block, headers, bytes] of blocks) {
        expect(reader.decode(hex(block))).toEqual(headers);
        expect(reader.tableBytes).toBe(bytes);
      }
    });
  }

  test('C.1, integers: 10 and 1337 in five bits, as table sizes', () => {
    const reader = decoder(4096);
    expect(reader.decode(hex('2a'))).toEqual([]);
    expect(reader.decode(hex('3f 9a 0a'))).toEqual([]);
    expect(failure(() => decoder(1336).decode(hex('3f 9a 0a'))).code).toBe('compression');
  });

  test('the encoder writes C.4 byte for byte', () => {
    const writer = encoder();
    for (const [block, headers, bytes] of vectors.find(({ name }) => name.startsWith('C.4'))!.blocks) {
      expect(writer.encode(headers)).toEqual(hex(block));
      expect(writer.tableBytes).toBe(bytes);
    }
  });
});

describe('Huffman', () => {
  const read = (coded: Uint8Array) => {
    const out = Buffer.alloc(maxDecodedLength(coded.length));
    const length = readHuffman(coded, 0, coded.length, out);
    return length < 0 ? undefined : out.toString('latin1', 0, length);
  };

  test('any bytes come back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const text = Buffer.from(bytes).toString('latin1');
        const coded = Buffer.alloc(huffmanLength(text));
        expect(writeHuffman(text, coded, 0)).toBe(coded.length);
        expect(read(coded)).toBe(text);
      }),
    );
  });

  test('whatever is read is the only way of writing it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (coded) => {
        const text = read(coded);
        if (text === undefined) return;
        const again = Buffer.alloc(huffmanLength(text));
        writeHuffman(text, again, 0);
        expect(again).toEqual(Buffer.from(coded));
      }),
      { numRuns: 2000 },
    );
  });

  test('padding is at most seven ones, and EOS is no text', () => {
    expect(read(hex(''))).toBe('');
    expect(read(hex('1f'))).toBe('a');
    expect(read(hex('18'))).toBeUndefined(); // padded with zeros
    expect(read(hex('1e'))).toBeUndefined(); // the last bit is not one
    expect(read(hex('ff'))).toBeUndefined(); // nothing but eight ones
    expect(read(hex('1fff'))).toBeUndefined(); // eleven ones
    expect(read(hex('f8ff'))).toBeUndefined(); // `&` and eight ones
    expect(read(hex('ffff fffc'))).toBeUndefined(); // EOS itself
    expect(read(hex('1fff ffff ff'))).toBeUndefined();
  });
});

const text = (max: number) => fc.uint8Array({ maxLength: max }).map((b) => Buffer.from(b).toString('latin1'));
const common = fc.constantFrom(
  ...[
    ':method',
    ':path',
    ':authority',
    ':status',
    'content-type',
    'te',
    'grpc-status',
    'token',
    'x-a',
    'x-b-bin',
  ],
);
const field = fc.tuple(
  fc.oneof({ weight: 4, arbitrary: common }, text(20)),
  fc.oneof({ weight: 3, arbitrary: fc.constantFrom('', '0', 'POST', '/a?b', 'application/grpc') }, text(200)),
);
const list = fc.array(field, { maxLength: 12 }).map((fields) => fields.flat());

describe('both ends together', () => {
  test('any lists, whatever the table size and its changes', () => {
    const step = fc.record({ headers: list, sizes: fc.array(fc.nat(9000), { maxLength: 3 }) });
    fc.assert(
      fc.property(fc.nat(9000), fc.array(step, { maxLength: 12 }), (own, steps) => {
        const writer = encoder(own);
        const reader = decoder();
        for (const { headers, sizes } of steps) {
          for (const size of sizes) {
            writer.setMaxTableBytes(size);
            reader.setMaxTableBytes(size);
          }
          expect(reader.decode(writer.encode(headers))).toEqual(headers);
          expect(writer.tableBytes).toBeLessThanOrEqual(own);
          expect(reader.tableBytes).toBeGreaterThanOrEqual(writer.tableBytes);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('tables that turn over for long keep agreeing', () => {
    const writer = encoder(600);
    const reader = decoder();
    for (let i = 0; i < 5000; i++) {
      const headers = [`name-${String(i % 7)}`, `value ${String(i % 61)}`, 'x', String(i % 13)];
      expect(reader.decode(writer.encode(headers))).toEqual(headers);
    }
    expect(writer.tableBytes).toBeLessThanOrEqual(600);
  });

  test('credentials are sent as never indexed, and enter no table', () => {
    const writer = encoder();
    const block = writer.encode(['token', 'gost', 'authorization', 'Bearer gost']);
    expect(block[0]).toBe(0x10);
    expect(block.includes(0x1f)).toBe(true); // authorization is static entry 23: 15 and 8 more
    expect(writer.tableBytes).toBe(0);
    expect(decoder().decode(block)).toEqual(['token', 'gost', 'authorization', 'Bearer gost']);
  });

  test('a character beyond latin1 is refused, and the tables still agree', () => {
    const writer = encoder();
    const reader = decoder();
    expect(failure(() => writer.encode(['a', 'b', 'x', '\u20ac'])).code).toBe('compression');
    for (let i = 0; i < 2; i++) expect(reader.decode(writer.encode(['a', 'b']))).toEqual(['a', 'b']);
  });
});

describe('the size of the table', () => {
  test('the encoder announces the smallest of several changes, then the last', () => {
    const writer = encoder();
    writer.encode(['a', 'b']);
    writer.setMaxTableBytes(0);
    writer.setMaxTableBytes(100);
    expect(writer.encode([':method', 'GET'])).toEqual(hex('20 3f45 82'));
    expect(writer.tableBytes).toBe(0);
    expect(writer.encode([':method', 'GET'])).toEqual(hex('82'));
  });

  test('the encoder keeps to its own bound without a word', () => {
    const writer = encoder(0);
    writer.setMaxTableBytes(65_536);
    expect(writer.encode(['a', 'b'])).toEqual(writer.encode(['a', 'b']));
    expect(writer.tableBytes).toBe(0);
  });

  test('the decoder wants a reduction confirmed at the head of the next block', () => {
    const reader = decoder();
    reader.decode(hex('4001 6101 62'));
    expect(reader.tableBytes).toBe(34);
    reader.setMaxTableBytes(0);
    expect(reader.tableBytes).toBe(0);
    expect(failure(() => reader.decode(hex('82'))).code).toBe('compression');

    const later = decoder();
    later.setMaxTableBytes(0);
    later.setMaxTableBytes(100);
    expect(failure(() => later.decode(hex('3f45 82'))).code).toBe('compression');

    const both = decoder();
    both.setMaxTableBytes(0);
    both.setMaxTableBytes(100);
    expect(both.decode(hex('20 3f45 82'))).toEqual([':method', 'GET']);
    expect(both.decode(hex('82'))).toEqual([':method', 'GET']);
  });

  test('an update above the announced size, or after a field, is broken', () => {
    expect(failure(() => decoder(4096).decode(hex('3fe2 1f'))).code).toBe('compression'); // 4097
    expect(failure(() => decoder(0).decode(hex('21'))).code).toBe('compression');
    expect(failure(() => decoder().decode(hex('82 20'))).code).toBe('compression');
  });
});

describe('broken and hostile blocks', () => {
  test.each([
    ['index 0', '80'],
    ['an index beyond the static table', 'be'],
    ['a name beyond the table', '7f00 00'],
    ['an integer cut short', 'ff80'],
    ['an integer that never ends', 'ff8080 8080 8080 8080 8000'],
    ['an integer beyond any size', 'ffff ffff ff7f'],
    ['a name without its text', '40'],
    ['a name cut short', '4005 6162'],
    ['a value that is missing', '4001 61'],
    ['a length beyond the block', '4001 617f ffff 7f'],
    ['a Huffman text with EOS', '4001 6184 ffff fffc'],
  ])('%s', (_what, block) => {
    expect(failure(() => decoder().decode(hex(block))).code).toBe('compression');
  });

  test('garbage gives fields or HpackError, and a bounded table', () => {
    const valid = list.map((headers) => encoder().encode(headers));
    const mutated = fc
      .tuple(valid, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }))
      .map(([block, edits]) => {
        for (const [at, byte] of edits) if (block.length > 0) block[at % block.length] = byte;
        return block as Uint8Array;
      });
    fc.assert(
      fc.property(
        fc.array(fc.oneof(mutated, fc.uint8Array({ maxLength: 200 })), { maxLength: 6 }),
        (blocks) => {
          const reader = decoder(512, 2000);
          for (const block of blocks) {
            try {
              const headers = reader.decode(block);
              expect(headers.length % 2).toBe(0);
              expect(headers.join('').length + 16 * headers.length).toBeLessThanOrEqual(2000);
            } catch (error) {
              expect(error).toBeInstanceOf(HpackError);
            }
            expect(reader.tableBytes).toBeLessThanOrEqual(512);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('a bomb is read to its end without being kept, and the next block is sound', () => {
    const reader = decoder(4096, 10_000);
    const value = Buffer.alloc(4000, 'x');
    reader.decode(Buffer.concat([hex('4001 617f a11e'), value])); // 127 + 3873 = 4000
    expect(reader.tableBytes).toBe(4033);
    const bomb = Buffer.alloc(100_000, 0xbe);
    expect(failure(() => reader.decode(bomb)).code).toBe('tooLarge');
    expect(reader.decode(hex('be'))).toEqual(['a', value.toString()]);
  });

  test('the list is counted as RFC 9113 counts it, to the byte', () => {
    const block = hex('0001 6101 62'); // 34 bytes
    expect(decoder(4096, 34).decode(block)).toEqual(['a', 'b']);
    expect(failure(() => decoder(4096, 33).decode(block)).code).toBe('tooLarge');
  });

  test('a large Huffman text is read whole', () => {
    const value = 'a'.repeat(40_000);
    const block = encoder().encode(['x', value]);
    expect(block.length).toBeLessThan(26_000);
    expect(decoder(4096, 65_536).decode(new Uint8Array(block))).toEqual(['x', value]);
  });
});
