import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contracts } from '../contracts/index.ts';
import { PluginError } from '../errors.ts';
import { AuthenticateReply, AuthenticateRequest } from '../gen/auth.ts';
import { LimitReply } from '../gen/limiter.ts';
import { ObserveRequest, Stats } from '../gen/observer.ts';
import { RewriteReply } from '../gen/rewriter.ts';
import { GetRouteReply } from '../gen/router.ts';
import { GetServiceReply } from '../gen/sd.ts';
import { createJsonReader, createJsonWriter, parseJson, writeJson, writeJsonString } from './go-json.ts';
import { anyMessage } from './message.fixture.ts';
import { nilBytes, type MessageType } from './proto.ts';

const bytes = (text: string) => Buffer.from(text);

function allKeys(type: MessageType<object>): string[] {
  return type.fields.map(({ name }) => name);
}

/** Large integers as JSON.parse gives them. */
function asNumbers(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(asNumbers);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, asNumbers(one)]));
}

function badReply(message: string): PluginError {
  return expect.objectContaining({
    name: 'PluginError',
    code: 'badReply',
    message: expect.stringContaining(message) as string,
  }) as PluginError;
}

describe('strings as Go writes them', () => {
  it.each([
    ['<a href="x">&</a>', '"\\u003ca href=\\"x\\"\\u003e\\u0026\\u003c/a\\u003e"'],
    ['\u2028\u2029', '"\\u2028\\u2029"'],
    ['\b\f\n\r\t\0\x01\x1f\x7f', '"\\b\\f\\n\\r\\t\\u0000\\u0001\\u001f\x7f"'],
    ['\\ud800 \\u003c /', '"\\\\ud800 \\\\u003c /"'],
    ['a\ud800b\udc00', '"a\\ufffdb\\ufffd"'],
    ['\ufffd é 😀', '"\ufffd é 😀"'],
    ['\\\ud800', '"\\\\\\ufffd"'],
    ['', '""'],
  ])('%j', (text, written) => {
    expect(writeJsonString(text)).toBe(written);
  });

  it('are read back by any reader of JSON', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(JSON.parse(writeJsonString(text))).toBe(text);
        expect(parseJson(bytes(writeJsonString(text)))).toBe(text);
      }),
      { numRuns: 500 },
    );
  });
});

describe('any JSON value', () => {
  it('is read as JSON.parse reads it', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom('', ' ', '\n\t\r '), (text, space) => {
        expect(asNumbers(parseJson(bytes(space + text + space)))).toEqual(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  it('is written so that it reads the same', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.boolean(), (value, sortKeys) => {
        expect(asNumbers(parseJson(bytes(writeJson(value, { sortKeys }))))).toEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps integers exact', () => {
    const big = '[9007199254740991,9007199254740992,-9007199254740993,18446744073709551616,1.5,1e3,-0.25]';
    expect(parseJson(bytes(big))).toEqual([
      9007199254740991,
      9007199254740992n,
      -9007199254740993n,
      18446744073709551616n,
      1.5,
      1000,
      -0.25,
    ]);
    expect(writeJson([2n ** 64n, 1e21, 1e-7, -0, 0.1])).toBe('[18446744073709551616,1e+21,1e-7,-0,0.1]');
  });

  it('never reaches a prototype', () => {
    const value = parseJson(bytes('{"__proto__":{"ok":true},"constructor":1}')) as Record<string, unknown>;
    expect(value['ok']).toBeUndefined();
    expect(Object.keys(value)).toEqual(['__proto__', 'constructor']);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  it('makes U+FFFD of half a surrogate pair, as Go does', () => {
    expect(parseJson(bytes('"\\ud800\\ud83d\\ude00\\udc00x"'))).toBe('\ufffd😀\ufffdx');
  });

  it('sorts keys by their bytes where Go writes a map', () => {
    expect(
      writeJson({ '😀': 1, '\uff5e': 2, b: undefined, a: [{ d: 1, c: null }] }, { sortKeys: true }),
    ).toBe('{"a":[{"c":null,"d":1}],"\uff5e":2,"😀":1}');
  });

  it.each([
    ['', 'a value is expected, but the text ends'],
    ['{"ok":true} x', 'at character 12: something follows the value'],
    ['{"ok":true}{"ok":true}', 'something follows'],
    ['{"ok":true', 'a comma or the end of the object is expected, but the text ends'],
    ['{"ok":true,}', 'a key is expected'],
    ['{"ok" true}', 'a colon is expected'],
    ['{ok:true}', 'a key is expected'],
    ['{"ok":tru}', 'a value is expected'],
    ['{"ok":true,"ok":true}', 'the key "ok" stands twice'],
    ['{"a":{"x":1,"\\u0078":2}}', 'the key "x" stands twice'],
    ['[1,]', 'a value is expected'],
    ['[1', 'a comma or the end of the list is expected'],
    ['01', 'something follows'],
    ['+1', 'a value is expected'],
    ['.5', 'a value is expected'],
    ['1.', 'something follows'],
    ['NaN', 'a value is expected'],
    ['1e999', 'a number is too large'],
    ['1'.repeat(1001), 'more than 1000 digits'],
    ['"abc', 'a string is not closed, but the text ends'],
    ['"a\nb"', 'a control character'],
    ['"\\x"', 'an escape is not valid'],
    ['"\\u12g4"', 'an escape is not valid'],
    ['"\\toString"', undefined],
    ["'a'", 'a value is expected'],
    ['\ufeff{}', 'a value is expected'],
    ['{} // no', 'something follows'],
    [`${'['.repeat(65)}${']'.repeat(65)}`, 'more than 64 levels'],
    [`[${'0,'.repeat(262_144)}0]`, 'more than 262144 values'],
  ])('is exactly one: %.40s', (text, message) => {
    if (message === undefined) expect(parseJson(bytes(text))).toBe('\toString');
    else expect(() => parseJson(bytes(text))).toThrow(badReply(message));
  });

  it('is UTF-8', () => {
    expect(() => parseJson(Buffer.from([0x22, 0xff, 0x22]))).toThrow(badReply('not UTF-8'));
    expect(() => parseJson(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))).toThrow(badReply('not UTF-8'));
  });

  it('throws nothing but PluginError for garbage, and says nothing of its content', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"secret"',
      ':',
      ',',
      '1',
      '-',
      'true',
      'null',
      '\\',
      ' ',
      '"',
    );
    const garbage = fc.oneof(
      fc.array(pieces, { maxLength: 14 }).map((parts) => bytes(parts.join(''))),
      fc.uint8Array({ maxLength: 60 }),
    );
    fc.assert(
      fc.property(garbage, (noise) => {
        try {
          parseJson(noise);
        } catch (error) {
          if (!(error instanceof PluginError)) throw error;
          expect(error.code).toBe('badReply');
        }
      }),
      { numRuns: 3_000 },
    );
    expect(() => parseJson(bytes('{"password":"hunter2"'))).toThrow(
      expect.not.stringContaining('hunter2') as string,
    );
  });

  it('is none of what JSON cannot say', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    for (const value of [NaN, Infinity, () => 1, Symbol('s'), Buffer.from('x'), circle]) {
      expect(() => writeJson(value)).toThrow(expect.objectContaining({ code: 'internal' }) as Error);
    }
  });
});

describe('messages as JSON', () => {
  const tables = contracts.flatMap(({ methods }) =>
    Object.values(methods).flatMap(({ request, reply }) => [request, reply]),
  );

  it('round-trip, all of them, with every value', () => {
    const cases = fc.constantFrom(...tables).chain((type) => fc.tuple(fc.constant(type), anyMessage(type)));
    fc.assert(
      fc.property(cases, ([type, message]) => {
        const shape = { keys: allKeys(type) };
        const text = createJsonWriter(type, shape)(message);
        expect(createJsonReader(type, shape)(bytes(text))).toEqual(message);
        JSON.parse(text);
      }),
      { numRuns: 400 },
    );
  });

  it('leave out what is empty only where it says so', () => {
    const write = createJsonWriter(AuthenticateRequest, {
      keys: ['service', 'clientCn?', 'clientSan?', 'username'],
    });
    const empty = { username: '', password: '', client: '', service: '', clientCn: '', clientSan: [] };
    expect(write({ ...empty, clientCertFingerprint: '' })).toBe('{"service":"","username":""}');
    expect(write({ ...empty, clientCn: 'c', clientSan: ['a'], clientCertFingerprint: 'x' })).toBe(
      '{"service":"","clientCn":"c","clientSan":["a"],"username":""}',
    );
  });

  it('write missing values as zero, lists as [] and no bytes as null', () => {
    expect(createJsonWriter(AuthenticateReply, { keys: ['ok', 'id'] })({} as AuthenticateReply)).toBe(
      '{"ok":false,"id":""}',
    );
    expect(createJsonWriter(GetServiceReply, { keys: ['services'] })({} as GetServiceReply)).toBe(
      '{"services":[]}',
    );
    const write = createJsonWriter(RewriteReply, { keys: ['ok', 'data'] });
    expect(write({ ok: true, data: nilBytes })).toBe('{"ok":true,"data":null}');
    expect(write({ ok: true, data: Buffer.alloc(0) })).toBe('{"ok":true,"data":""}');
    expect(write({ ok: true, data: Buffer.from([0xfb, 0xff]) })).toBe('{"ok":true,"data":"+/8="}');
  });

  it('read null as the zero value, for every key and list, and absence too', () => {
    for (const type of tables) {
      const read = createJsonReader(type, { keys: allKeys(type) });
      const nulls = Object.fromEntries(allKeys(type).map((key) => [key, null]));
      expect(read(bytes(JSON.stringify(nulls)))).toEqual(read(bytes('{}')));
    }
    expect(createJsonReader(RewriteReply, { keys: ['ok', 'data'] })(bytes('{"data":null}')).data).toBe(
      nilBytes,
    );
    expect(createJsonReader(RewriteReply, { keys: ['ok', 'data'] })(bytes('{"data":""}')).data).not.toBe(
      nilBytes,
    );
  });

  it('ignore unknown keys', () => {
    const read = createJsonReader(AuthenticateReply, { keys: ['ok', 'id'] });
    expect(read(bytes('{"x":{"ok":false},"ok":true,"id":"u","__proto__":{"id":"v"}}'))).toEqual({
      ok: true,
      id: 'u',
    });
  });

  it('read a second key where the first says nothing', () => {
    const read = createJsonReader(GetRouteReply, { keys: ['dst', 'gateway'], alias: { dst: 'net' } });
    expect(read(bytes('{"net":"10.0.0.0/8","gateway":"g"}')).dst).toBe('10.0.0.0/8');
    expect(read(bytes('{"net":"10.0.0.0/8","dst":"","gateway":"g"}')).dst).toBe('10.0.0.0/8');
    expect(read(bytes('{"net":"10.0.0.0/8","dst":null}')).dst).toBe('10.0.0.0/8');
    expect(read(bytes('{"net":"10.0.0.0/8","dst":"1.1.1.1"}')).dst).toBe('1.1.1.1');
    expect(read(bytes('{"dst":"1.1.1.1","net":"10.0.0.0/8"}')).dst).toBe('1.1.1.1');
  });

  it.each<[MessageType<object>, string, string]>([
    [AuthenticateReply, '{"OK":true}', 'proto.AuthenticateReply has the key "OK" where "ok" is meant'],
    [AuthenticateReply, '{"ok":true,"Ok":true}', 'has the key "Ok" where "ok" is meant'],
    [AuthenticateReply, '{"ok":"true"}', 'proto.AuthenticateReply.ok must be true or false'],
    [AuthenticateReply, '{"ok":1}', 'proto.AuthenticateReply.ok must be true or false'],
    [AuthenticateReply, '{"id":7}', 'proto.AuthenticateReply.id must be a string'],
    [AuthenticateReply, '[true]', 'proto.AuthenticateReply must be an object'],
    [AuthenticateReply, 'true', 'must be an object'],
    [AuthenticateReply, 'null', 'must be an object'],
    [LimitReply, '{"in":"5"}', 'proto.LimitReply.in must be an integer'],
    [LimitReply, '{"in":1.5}', 'proto.LimitReply.in must be an integer'],
    [LimitReply, '{"out":9223372036854775808}', 'proto.LimitReply.out must be an integer'],
    [LimitReply, '{"out":9007199254740993.0}', 'proto.LimitReply.out must be an integer'],
    [Stats, '{"totalErrs":-1}', 'proto.Stats.totalErrs must be an integer'],
    [Stats, '{"totalErrs":18446744073709551616}', 'proto.Stats.totalErrs must be an integer'],
    [RewriteReply, '{"data":"YQ"}', 'proto.RewriteReply.data must be base64'],
    [RewriteReply, '{"data":"_-8="}', 'proto.RewriteReply.data must be base64'],
    [RewriteReply, '{"data":"Y==="}', 'proto.RewriteReply.data must be base64'],
    [RewriteReply, '{"data":[97]}', 'proto.RewriteReply.data must be a string of base64'],
    [GetServiceReply, '{"services":{}}', 'proto.GetServiceReply.services must be a list'],
    [GetServiceReply, '{"services":[null]}', 'proto.GetServiceReply.services must be an object'],
    [
      ObserveRequest,
      '{"events":[{"stats":{"totalConns":true}}]}',
      'proto.Stats.totalConns must be an integer',
    ],
  ])('refuse: %o %s', (type, text, message) => {
    expect(() => createJsonReader(type, { keys: allKeys(type) })(bytes(text))).toThrow(badReply(message));
  });

  it('read base64 with line ends, as Go does', () => {
    expect(
      createJsonReader(RewriteReply, { keys: ['ok', 'data'] })(
        bytes('{"data":"YW\\r\\nJj\\n"}'),
      ).data.toString(),
    ).toBe('abc');
  });

  it('lack no key that is required', () => {
    const read = createJsonReader(AuthenticateReply, { keys: ['ok', 'id'], required: ['ok'] });
    expect(() => read(bytes('{"id":"x"}'))).toThrow(badReply('proto.AuthenticateReply has no key "ok"'));
    expect(read(bytes('{"ok":null}'))).toEqual({ ok: false, id: '' });
  });

  it('are not written with values of another type', () => {
    const write = (message: object) =>
      createJsonWriter(LimitReply, { keys: ['in', 'out'] })(message as LimitReply);
    for (const wrong of ['5', 1.5, NaN, 2n ** 63n, true]) {
      expect(() => write({ in: wrong })).toThrow('proto.LimitReply.in must be an integer');
    }
    expect(write({ in: 2 ** 60, out: -1n })).toBe('{"in":1152921504606846976,"out":-1}');
    expect(() => createJsonWriter(LimitReply, { keys: ['nope'] })).toThrow(
      'proto.LimitReply has no field nope',
    );
  });
});
