import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contracts } from '../contracts/index.ts';
import { PluginError } from '../errors.ts';
import { AuthenticateRequest } from '../gen/auth.ts';
import { LimitReply } from '../gen/limiter.ts';
import { ObserveRequest, Stats } from '../gen/observer.ts';
import { RewriteReply } from '../gen/rewriter.ts';
import { GetServiceReply, RegisterRequest } from '../gen/sd.ts';
import { anyMessage } from './message.fixture.ts';
import { decodeMessage, encodeMessage, nilBytes, type Field, type MessageType } from './proto.ts';

const tables = contracts.flatMap(({ methods }) =>
  Object.values(methods).flatMap(({ request, reply }) => [request, reply]),
);
const anyTable = fc.constantFrom(...tables);

function table(...fields: Field[]): MessageType<Record<string, unknown>> {
  return { typeName: 'test.Message', fields };
}

const everything = table(
  { number: 1, name: 'count', type: 'int64', repeated: false },
  { number: 2, name: 'counts', type: 'int64', repeated: true },
  { number: 3, name: 'small', type: 'int32', repeated: false },
  { number: 16, name: 'flag', type: 'bool', repeated: false },
  { number: 31, name: 'parts', type: 'bytes', repeated: true },
  { number: 5_000, name: 'far', type: 'string', repeated: false },
  { number: 536_870_911, name: 'last', type: 'uint64', repeated: false },
);

/** The error's message when decoding fails as it must, with the right code. */
function failure(type: MessageType<object>, bytes: Uint8Array): string {
  try {
    decodeMessage(type, bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(PluginError);
    expect((error as PluginError).code).toBe('badReply');
    return (error as PluginError).message;
  }
  throw new Error('decoded');
}

describe('proto3 bytes', () => {
  it('round-trips every message of every contract', () => {
    const cases = anyTable.chain((type) => fc.tuple(fc.constant(type), anyMessage(type)));
    fc.assert(
      fc.property(cases, ([type, message]) => {
        expect(decodeMessage(type, encodeMessage(type, message))).toEqual(message);
      }),
      { numRuns: 600 },
    );
  });

  it('round-trips every scalar, list and field number', () => {
    fc.assert(
      fc.property(anyMessage(everything), (message) => {
        expect(
          decodeMessage(everything, encodeMessage(everything, message as Record<string, unknown>)),
        ).toEqual(message);
      }),
      { numRuns: 300 },
    );
  });

  it('writes what protoc writes', () => {
    const limit = (message: LimitReply) => encodeMessage(LimitReply, message).toString('hex');
    expect(limit({ in: 150, out: -1 })).toBe('08960110ffffffffffffffffff01');
    expect(limit({ in: 2 ** 53 - 1, out: 2n ** 63n - 1n })).toBe('08ffffffffffffff0f10ffffffffffffffff7f');
    expect(limit({ in: 0, out: -(2n ** 63n) })).toBe('1080808080808080808001');
    const auth = { username: 'é', password: '', client: '', service: '', clientCn: '', clientSan: ['', 'b'] };
    expect(encodeMessage(AuthenticateRequest, { ...auth, clientCertFingerprint: 'f' }).toString('hex')).toBe(
      '0a02c3a93200320162' + '3a0166',
    );
    expect(encodeMessage(RegisterRequest, { service: undefined }).length).toBe(0);
    const empty = { id: '', name: '', node: '', network: '', address: '' };
    expect(encodeMessage(RegisterRequest, { service: empty }).toString('hex')).toBe('0a00');
  });

  it('gives every field a value, and tells no bytes from nothing else', () => {
    expect(decodeMessage(ObserveRequest, Buffer.from('0a00', 'hex'))).toEqual({
      events: [{ kind: '', service: '', client: '', type: '', stats: undefined, status: undefined }],
    });
    expect(decodeMessage(RewriteReply, Buffer.alloc(0)).data).toBe(nilBytes);
    expect(decodeMessage(RewriteReply, Buffer.from('1200', 'hex')).data).toBe(nilBytes);
  });

  it('lets the last scalar win, merges messages, collects lists, also packed ones', () => {
    const reply = decodeMessage(LimitReply, Buffer.from('080508070806', 'hex'));
    expect(reply.in).toBe(6);
    const twice = Buffer.from('0a050a0161120162' + '0a031a0163', 'hex');
    expect(failure(RegisterRequest, twice)).toContain('proto.Service.name');
    const merged = Buffer.from('0a030a0161' + '0a0312016' + '2', 'hex');
    expect(decodeMessage(RegisterRequest, merged).service).toMatchObject({ id: 'a', name: 'b' });
    expect(decodeMessage(everything, Buffer.from('1001' + '1203029601' + '1003', 'hex'))['counts']).toEqual([
      1, 2, 150, 3,
    ]);
  });

  it('skips unknown fields of every wire type', () => {
    const unknown = 'f80101' + 'f9010102030405060708' + 'fa0103616263' + 'fd0101020304';
    expect(decodeMessage(LimitReply, Buffer.from(`${unknown}0805${unknown}`, 'hex'))).toEqual({
      in: 5,
      out: 0,
    });
  });

  it('does not hold on to the bytes it was given', () => {
    const bytes = Buffer.from('0801120178', 'hex');
    const { data } = decodeMessage(RewriteReply, bytes);
    bytes.fill(0);
    expect(data.toString()).toBe('x');
    const view = new Uint8Array(Buffer.from('ff0801120178ff', 'hex')).subarray(1, 6);
    expect(decodeMessage(RewriteReply, view)).toEqual({ ok: true, data: Buffer.from('x') });
  });

  it.each([
    ['text cut short', '0a05616263', 'proto.AuthenticateRequest.username: the message is cut short'],
    ['a length beyond 32 bits', '0affffffffff01', 'username: the message is cut short'],
    ['a length missing', '0a', 'username: the message is cut short'],
    ['a tag cut short', '80', 'cut short'],
    ['an overlong varint', '0a8080808080808080808001', 'longer than 64 bits'],
    ['a tenth byte above one', '0affffffffffffffffff02', 'longer than 64 bits'],
    ['the wrong wire type', '0801', 'username: wire type 0 is not the field'],
    ['field number zero', '0201', 'no valid number'],
    ['a tag beyond 32 bits', '8a808080100161', 'no valid number'],
    ['a group', '7b7c', 'field 15: groups are not proto3'],
    ['the end of a group', '7c', 'groups are not proto3'],
    ['wire type 6', '7e', 'wire type 6 does not exist'],
    ['wire type 7', '7f', 'wire type 7 does not exist'],
    ['an unknown field cut short', '7d010203', 'field 15: the message is cut short'],
    ['text that is not UTF-8', '0a02c328', 'username: text is not UTF-8'],
    ['half a surrogate pair in UTF-8', '0a03eda080', 'username: text is not UTF-8'],
  ])('refuses %s', (_what, hex, message) => {
    expect(failure(AuthenticateRequest, Buffer.from(hex, 'hex'))).toContain(message);
  });

  it('refuses messages that lie too deep, and lists that are too long', () => {
    const fields: Field[] = [];
    const nest = table(...fields);
    (nest.fields as Field[]).push({ number: 1, name: 'inner', type: nest, repeated: false });
    let bytes = Buffer.alloc(0);
    for (let i = 0; i < 99; i++) {
      const head = Buffer.from([0x0a, 0x80 | (bytes.length & 0x7f), bytes.length >> 7]);
      bytes = Buffer.concat([head, bytes]);
    }
    expect(() => decodeMessage(nest, bytes)).not.toThrow();
    const deeper = Buffer.concat([
      Buffer.from([0x0a, 0x80 | (bytes.length & 0x7f), bytes.length >> 7]),
      bytes,
    ]);
    expect(failure(nest, deeper)).toContain('test.Message.inner: messages lie more than 100 deep');
    const many = Buffer.alloc(2 * 65_537, Buffer.from('0a00', 'hex'));
    expect(failure(GetServiceReply, many)).toContain(
      'proto.GetServiceReply.services: more than 65536 values',
    );
  });

  it('refuses every message that lacks its last byte, unless the field was whole', () => {
    fc.assert(
      fc.property(anyMessage(Stats), (message) => {
        const whole = encodeMessage(Stats, message as Stats);
        for (let end = 0; end < whole.length; end++) {
          try {
            decodeMessage(Stats, whole.subarray(0, end));
          } catch (error) {
            expect((error as PluginError).code).toBe('badReply');
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  it('throws nothing but PluginError for garbage', () => {
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      // Bytes that look like fields get further than noise.
      fc
        .array(
          fc.tuple(
            fc.constantFrom(0x08, 0x0a, 0x12, 0x1a, 0x22, 0x2a, 0x32, 0x0b),
            fc.uint8Array({ maxLength: 6 }),
          ),
        )
        .map((parts) => Uint8Array.from(parts.flatMap(([tag, rest]) => [tag, ...rest]))),
    );
    fc.assert(
      fc.property(anyTable, garbage, (type, bytes) => {
        try {
          const message = decodeMessage(type, bytes);
          expect(decodeMessage(type, encodeMessage(type, message))).toEqual(message);
        } catch (error) {
          if (!(error instanceof PluginError)) throw error;
          expect(error.code).toBe('badReply');
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it.each([
    ['count', 1.5],
    ['count', NaN],
    ['count', 2n ** 63n],
    ['count', -(2n ** 63n) - 1n],
    ['count', 2 ** 64],
    ['count', '1'],
    ['small', 2 ** 31],
    ['last', -1],
    ['last', 2n ** 64n],
    ['flag', 'true'],
    ['flag', 1],
    ['far', 7],
    ['parts', 'text'],
    ['parts', ['text']],
    ['counts', 1],
  ])('will not write %s = %s', (name, value) => {
    expect(() => encodeMessage(everything, { [name]: value })).toThrow(
      expect.objectContaining({
        code: 'internal',
        message: expect.stringContaining(`test.Message.${name} must be`) as string,
      }) as PluginError,
    );
  });

  it('writes broken UTF-16 as U+FFFD, and integral numbers beyond the safe range exactly', () => {
    const bytes = encodeMessage(everything, { far: 'a\ud800b', last: 2 ** 60 });
    expect(decodeMessage(everything, bytes)).toMatchObject({ far: 'a\ufffdb', last: 2n ** 60n });
  });
});
