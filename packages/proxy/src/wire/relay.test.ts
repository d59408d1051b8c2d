import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatRelayDatagram,
  formatRelayRequest,
  formatRelayResponse,
  maxRelayMessageBytes,
  parseRelayDatagram,
  parseRelayRequest,
  parseRelayResponse,
  relayCommands,
  relayStatus,
  relayUdpFlag,
} from './relay.ts';
import type { RelayRequest } from './relay.ts';
import { relayNetworks } from './relay-features.ts';
import type { RelayFeature } from './relay-features.ts';
import { expectSplitsParseAlike, hex, refusal } from './splits.fixture.ts';

const id = '01234567-89ab-cdef-0123-456789abcdef';
const address = { host: 'a.example', port: 443 };
const everything: RelayRequest = {
  command: relayCommands.connect,
  flags: relayUdpFlag,
  features: [
    { type: 'network', network: relayNetworks.udp },
    { type: 'userAuth', username: 'ada', password: 'ü' },
    { type: 'addr', address },
    { type: 'addr', address: { host: '2001:db8::1', port: 0 } },
    { type: 'tunnel', id, flags: 0x80, weight: 7 },
    {
      type: 'metadata',
      pairs: [
        ['mode', 'all'],
        ['', ''],
      ],
    },
    { type: 'unknown', code: 9, data: Buffer.from('later') },
  ],
};
const request = formatRelayRequest(everything);
const plain = formatRelayRequest({
  command: relayCommands.connect,
  flags: 0,
  features: [{ type: 'addr', address: { host: '192.0.2.1', port: 80 } }],
});

/** A request that holds just these bytes as its features. */
const holding = (features: string, length = hex(features).length) =>
  Buffer.concat([hex('0101'), Buffer.from([length >> 8, length & 255]), hex(features)]);

describe('a request', () => {
  test('is what GOST sends', () => {
    expect(plain).toEqual(hex('01 01 000a 02 0007 01 c0000201 0050'));
    expect(request.toString('hex')).toBe(
      [
        '0181' + '0068',
        '04' + '0002' + '0001',
        '01' + '0007' + '03616461' + '02c3bc',
        '02' + '000d' + '0309' + '612e6578616d706c65' + '01bb',
        '02' + '0013' + '0420010db8000000000000000000000001' + '0000',
        '03' + '0014' + '0123456789abcdef0123456789abcdef' + '80' + '0000' + '07',
        '05' + '0011' + '0002' + '0004' + '6d6f6465' + '0003' + '616c6c' + '0000' + '0000',
        '09' + '0005' + '6c61746572',
      ].join(''),
    );
    expect(parseRelayRequest(request)).toEqual({ message: everything, length: request.length });
  });

  test('may say nothing', () => {
    expect(parseRelayRequest(hex('01 03 0000 ff'))).toEqual({
      message: { command: relayCommands.associate, flags: 0, features: [] },
      length: 4,
    });
  });

  test.each([
    ['another version', '02 01 0000'],
    ['another protocol', '47 45 54 20'],
    ['a feature that is cut off', '01 01 0002 0200'],
    ['a feature that is longer than all of them', '01 01 0004 04 0002 00'],
    ['a network of one byte', '01 01 0004 04 0001 00'],
    ['a network of three bytes', '01 01 0006 04 0003 000000'],
    ['no address', '01 01 0003 02 0000'],
    ['an address that is cut off', '01 01 0009 02 0006 01 c0000201 00'],
    ['an address with more behind it', '01 01 000b 02 0008 01 c0000201 0050 00'],
    ['an empty name', '01 01 0007 02 0004 03 00 0050'],
    ['a name with a space', '01 01 0008 02 0005 03 01 20 0050'],
    ['credentials that are cut off', '01 01 0005 01 0002 0161'],
    ['credentials without a password', '01 01 0004 01 0001 00'],
    ['credentials with more behind them', '01 01 0006 01 0003 00 00 00'],
    ['credentials that are no text', '01 01 0006 01 0003 01 ff 00'],
    ['a tunnel of 19 bytes', `01 01 0016 03 0013 ${'00'.repeat(19)}`],
    ['a tunnel of 21 bytes', `01 01 0018 03 0015 ${'00'.repeat(21)}`],
    ['metadata without a count', '01 01 0004 05 0001 00'],
    ['metadata that is cut off', '01 01 0006 05 0003 0001 00'],
    ['metadata with more entries than GOST has', `01 01 0059 05 0056 0015 ${'00'.repeat(84)}`],
    ['metadata with a long key', `01 01 0109 05 0106 0001 0100 ${'61'.repeat(256)} 0000`],
    ['metadata with more behind it', '01 01 0006 05 0003 0000 00'],
  ])('with %s is refused', (_, bytes) => {
    expect(refusal(() => parseRelayRequest(hex(bytes)))).toBe('malformedRequest at client');
    expect(refusal(() => parseRelayResponse(hex(bytes)))).toMatch(
      bytes.endsWith('03 00 0050') ? 'nothing' : 'badUpstreamReply at upstream',
    );
  });

  test('with an address of another kind asks for what is not served', () => {
    expect(refusal(() => parseRelayRequest(hex('01 01 000a 02 0007 02 c0000201 0050')))).toBe(
      'unsupported at client',
    );
  });

  test('holds no more features than one needs', () => {
    expect(parseRelayRequest(holding('ff0000'.repeat(64)))?.message.features).toHaveLength(64);
    expect(refusal(() => parseRelayRequest(holding('ff0000'.repeat(65))))).toBe('malformedRequest at client');
  });

  test('keeps nothing of the memory that it was read from', () => {
    const bytes = Buffer.from(request);
    const parsed = parseRelayRequest(bytes)!.message;
    bytes.fill(0);
    expect(parsed).toEqual(everything);
  });

  test('parses alike however it is split', () => {
    expectSplitsParseAlike(parseRelayRequest, [request, plain], {
      maxBytes: maxRelayMessageBytes,
      numRuns: 300,
    });
  });

  test.each<[string, Partial<RelayRequest>]>([
    ['a command of five bits', { command: 16 }],
    ['a name of 256 bytes', { features: [{ type: 'addr', address: { host: 'a'.repeat(256), port: 1 } }] }],
    ['an empty host', { features: [{ type: 'addr', address: { host: '', port: 1 } }] }],
    ['a long user name', { features: [{ type: 'userAuth', username: 'a'.repeat(256), password: '' }] }],
    ['a long password', { features: [{ type: 'userAuth', username: '', password: 'a'.repeat(256) }] }],
    ['no UUID', { features: [{ type: 'tunnel', id: 'x', flags: 0, weight: 0 }] }],
    ['a heavy tunnel', { features: [{ type: 'tunnel', id, flags: 0, weight: 256 }] }],
    ['a network of three bytes', { features: [{ type: 'network', network: 65_536 }] }],
    [
      'many pairs',
      { features: [{ type: 'metadata', pairs: Array.from({ length: 21 }, () => ['a', 'b'] as const) }] },
    ],
    ['a known feature as unknown', { features: [{ type: 'unknown', code: 1, data: Buffer.alloc(0) }] }],
    ['a code of two bytes', { features: [{ type: 'unknown', code: 256, data: Buffer.alloc(0) }] }],
    ['a long feature', { features: [{ type: 'unknown', code: 9, data: Buffer.alloc(65_536) }] }],
    [
      'long features',
      { features: [1, 2].map(() => ({ type: 'unknown', code: 9, data: Buffer.alloc(40_000) })) },
    ],
  ])('with %s cannot be written', (_, wrong) => {
    expect(refusal(() => formatRelayRequest({ command: 1, flags: 0, features: [], ...wrong }))).toBe(
      'unsupported at self',
    );
  });
});

describe('an answer', () => {
  const bound: readonly RelayFeature[] = [{ type: 'addr', address: { host: '192.0.2.1', port: 80 } }];

  test('there and back', () => {
    expect(formatRelayResponse(relayStatus.ok)).toEqual(hex('01 00 0000'));
    const bytes = formatRelayResponse(relayStatus.ok, bound);
    expect(bytes).toEqual(hex('01 00 000a 02 0007 01 c0000201 0050'));
    const message = { status: 0, features: bound };
    expect(parseRelayResponse(bytes)).toEqual({ message, length: bytes.length });
    expect(refusal(() => formatRelayResponse(256))).toBe('unsupported at self');
  });

  test('an empty name is no address', () => {
    const features = [{ type: 'addr', address: { host: '0.0.0.0', port: 80 } }];
    expect(parseRelayResponse(hex('01 00 0007 02 0004 03 00 0050'))?.message).toEqual({
      status: 0,
      features,
    });
  });

  test('parses alike however it is split', () => {
    const samples = [formatRelayResponse(relayStatus.forbidden), formatRelayResponse(relayStatus.ok, bound)];
    expectSplitsParseAlike(parseRelayResponse, samples, { maxBytes: maxRelayMessageBytes, numRuns: 300 });
  });
});

test('any features come back as they were', () => {
  const text = fc.string({ maxLength: 60 });
  const byte = fc.nat(255);
  const feature: fc.Arbitrary<RelayFeature> = fc.oneof(
    fc.record({ type: fc.constant('userAuth' as const), username: text, password: text }),
    fc.record({ type: fc.constant('network' as const), network: fc.nat(65_535) }),
    fc.record({ type: fc.constant('tunnel' as const), id: fc.uuid(), flags: byte, weight: byte }),
    fc.record({
      type: fc.constant('metadata' as const),
      pairs: fc.array(fc.tuple(text, text), { maxLength: 20 }),
    }),
    fc.record({
      type: fc.constant('unknown' as const),
      code: fc.integer({ min: 6, max: 255 }),
      data: fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
    }),
    fc.record({
      type: fc.constant('addr' as const),
      address: fc.record({ host: fc.oneof(fc.domain(), fc.ipV4()), port: fc.nat(65_535) }),
    }),
  );
  fc.assert(
    fc.property(fc.nat(15), fc.nat(15), fc.array(feature, { maxLength: 10 }), (command, high, features) => {
      const message = { command, flags: high << 4, features };
      const bytes = formatRelayRequest(message);
      expect(parseRelayRequest(bytes)).toEqual({ message, length: bytes.length });
    }),
    { numRuns: 300 },
  );
});

describe('datagrams of one target', () => {
  test('have their length in front', () => {
    expect(formatRelayDatagram(Buffer.from('query'))).toEqual(hex('0005 7175657279'));
    expect(parseRelayDatagram(hex('0005 7175657279 00'))).toEqual({
      message: Buffer.from('query'),
      length: 7,
    });
    expect(formatRelayDatagram(Buffer.alloc(0))).toEqual(hex('0000'));
    expect(parseRelayDatagram(hex('0000'))?.message).toHaveLength(0);
    expect(parseRelayDatagram(formatRelayDatagram(Buffer.alloc(65_535)))?.length).toBe(65_537);
    expect(refusal(() => formatRelayDatagram(Buffer.alloc(65_536)))).toBe('unsupported at self');
  });

  test('parse alike however they are split', () => {
    const samples = [formatRelayDatagram(Buffer.from('query')), formatRelayDatagram(Buffer.alloc(300))];
    // Texts are compared faster than so many bytes.
    const parse = (bytes: Buffer) => {
      const parsed = parseRelayDatagram(bytes);
      return parsed && { message: parsed.message.toString('hex'), length: parsed.length };
    };
    expectSplitsParseAlike(parse, samples, { maxBytes: 65_537, numRuns: 300 });
  });
});
