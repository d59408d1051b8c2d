import { brotliCompressSync, deflateRawSync, deflateSync, gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PluginError } from '@sallyport/plugin';
import type { JsonObject } from '@sallyport/plugin';
import { Decisions } from '../decisions.ts';
import type { BodyRule } from '../route.ts';
import { normalPath } from './authority.ts';
import { checkBodyMatch, createBodyRewrite } from './body-rules.ts';
import { codingOf } from './coding.ts';
import { createEventStream } from './event-stream.ts';
import { findJsonValue, textOfJson } from './json-path.ts';
import { compilePattern, expandTemplate, replaceAll } from './template.ts';

describe('templates', () => {
  test.each([
    ['(?i)A(b)(?P<n>c)', 'xABCx', '$1-${2}-$n-${n}-$$-$9-$1x', 'xB-C-C-C-$--x'],
    ['/api/(.*)', '/api/v1/x', '/$1?from=api', '/v1/x?from=api'],
    ['a', 'aaa', '', ''],
    ['', 'ab', '-', '-a-b-'],
    ['b', 'aca', 'x', 'aca'],
    ['é', 'café', 'e', 'cafe'],
    ['a', 'a', '$', '$'],
  ])('%s in %s', (pattern, text, template, result) => {
    expect(replaceAll(text, compilePattern(pattern), template)).toBe(result);
  });

  test('any template can be expanded', () => {
    fc.assert(
      fc.property(fc.string(), (template) => {
        expect(typeof expandTemplate(template, /(a)/.exec('a')!)).toBe('string');
      }),
    );
  });
});

describe('a value in JSON', () => {
  const text = '{ "a": {"b.c": [1, {"d": "x\\"y"}, true]}, "n": 12345678901234567890, "e": {} , "z": null}';
  test.each([
    ['n', '12345678901234567890'],
    ['a.b\\.c.0', '1'],
    ['a.b\\.c.1.d', 'x"y'],
    ['a.b\\.c.2', 'true'],
    ['e', '{}'],
    ['z', 'null'],
    ['a.b.c', undefined],
    ['a.b\\.c.3', undefined],
    ['n.x', undefined],
  ])('%s', (path, value) => {
    const span = findJsonValue(text, path);
    expect(span === undefined ? undefined : textOfJson(text, span)).toBe(value);
  });

  test('what JSON.parse sees is found, in whatever is written', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^[a-z]{1,3}$/), fc.jsonValue()), (object) => {
        const written = JSON.stringify(object, undefined, 1);
        for (const [key, value] of Object.entries(object)) {
          const span = findJsonValue(written, key)!;
          expect(JSON.parse(written.slice(span.from, span.to))).toEqual(JSON.parse(JSON.stringify(value)));
        }
      }),
    );
  });

  test('garbage has none, and ends', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (garbage, path) => {
        findJsonValue(garbage, path);
        findJsonValue(`{"a":[${garbage}`, 'a.1');
      }),
    );
    expect(findJsonValue('['.repeat(100_000), '0')).toBeUndefined();
  });
});

test.each([
  ['/a', '/a'],
  ['/%61%2Fb%7e', '/a%2Fb~'],
  ['/a/./b/../c', '/a/c'],
  ['/../../x', '/x'],
  ['/a/..', '/'],
  ['/%2e%2e/x', '/x'],
  ['*', '*'],
])('the path %s is %s to rules', (written, path) => {
  expect(normalPath(written)).toBe(path);
});

test('every coding reads what it writes, and no bomb', async () => {
  for (const name of ['', 'identity', 'gzip', 'x-gzip', 'deflate', 'br']) {
    const coding = codingOf(name)!;
    const bytes = Buffer.from('some text');
    expect(await coding.decode(await coding.encode(bytes), 100)).toEqual(bytes);
  }
  const zeros = Buffer.alloc(10_000_000);
  for (const [name, bomb] of [
    ['gzip', gzipSync(zeros)],
    ['deflate', deflateSync(zeros)],
    ['deflate', deflateRawSync(zeros)],
    ['br', brotliCompressSync(zeros)],
  ] as const) {
    await expect(codingOf(name)!.decode(bomb, 1000)).rejects.toThrow();
  }
  expect(String(await codingOf('deflate')!.decode(deflateRawSync('raw'), 10))).toBe('raw');
  expect(codingOf('zstd')).toBeUndefined();
  expect(codingOf('gzip,br')).toBeUndefined();
});

const rule = (part: Partial<BodyRule>): BodyRule => ({
  type: '',
  match: undefined,
  replacement: '',
  rewriter: undefined,
  maxChunkBytes: 1024,
  ...part,
});

function facts(contentType: string, contentEncoding = '') {
  const decided: unknown[] = [];
  const decisions = new Decisions({ session: 'sid-1', publish: (event) => decided.push(event) });
  const session = { id: 'sid-1', decide: decisions.decide.bind(decisions) };
  return { session, decided, direction: 'response', uri: '/u?q', contentType, contentEncoding } as const;
}

async function rewritten(
  rules: readonly BodyRule[],
  contentType: string,
  body: string | Buffer,
  encoding = '',
) {
  const rewrite = createBodyRewrite(rules, facts(contentType, encoding));
  return rewrite === undefined ? 'no rule' : (await rewrite.whole(Buffer.from(body))).toString('latin1');
}

describe('rules', () => {
  test.each([
    ['', 'text/html; charset=utf-8', 'dog'],
    ['', 'text/plain', 'no rule'],
    ['*', 'text/plain', 'dog'],
    ['text/html,Text/Plain', 'text/plain', 'dog'],
    ['text/html', '', 'no rule'],
  ])('of type %j for %j: %s', async (type, contentType, result) => {
    expect(await rewritten([rule({ type, match: 'fox', replacement: 'dog' })], contentType, 'fox')).toBe(
      result,
    );
  });

  test('come one after the other, and leave longer bodies alone', async () => {
    const rules = [rule({ match: 'a', replacement: 'b' }), rule({ match: 'b+', replacement: '[$0]' })];
    expect(await rewritten(rules, 'text/html', 'xaab')).toBe('x[bbb]');
    expect(await rewritten([rule({ match: 'a', maxChunkBytes: 2 })], 'text/html', 'aaa')).toBe('aaa');
  });

  test('change bytes that are no text one by one', async () => {
    const body = Buffer.from([0xff, 0x61, 0xfe]);
    expect(await rewritten([rule({ match: 'a', replacement: 'b' })], 'text/html', body)).toBe('\xffb\xfe');
  });

  test('set a value in JSON, and only in JSON', async () => {
    const body = '{"user": {"name": "ada"}, "big": 1e400}';
    const set = (match: string) => rewritten([rule({ match, replacement: '"x"' })], 'application/json', body);
    expect(await set('json:user.name')).toBe('{"user": {"name": "\\"x\\""}, "big": 1e400}');
    expect(await set('json:user.name=^ad')).toBe('{"user": {"name": "\\"x\\""}, "big": 1e400}');
    expect(await set('json:user.name=^x')).toBe(body);
    expect(await set('json:nobody')).toBe(body);
    expect(await rewritten([rule({ match: 'json:a' })], 'text/html', '{"a":1}')).toBe('no rule');
  });

  test('see through gzip; what is not in its coding, or a bomb, passes as it is', async () => {
    const rules = [rule({ match: 'fox', replacement: 'dog' })];
    const out = await rewritten(rules, 'text/html', gzipSync('a fox'), 'gzip');
    expect(String(gunzipSync(Buffer.from(out, 'latin1')))).toBe('a dog');
    expect(await rewritten(rules, 'text/html', 'fox', 'gzip')).toBe('fox');
    const bomb = gzipSync(Buffer.alloc(100_000, 'fox'));
    expect(Buffer.from(await rewritten(rules, 'text/html', bomb, 'gzip'), 'latin1')).toEqual(bomb);
    expect(await rewritten(rules, 'text/html', 'fox', 'zstd')).toBe('no rule');
  });

  test('that cannot be read are said to be so', async () => {
    expect(checkBodyMatch('a(')).toMatch(/regular expression/);
    expect(checkBodyMatch('json:a=(')).toMatch(/regular expression/);
    expect(checkBodyMatch('json:=x')).toMatch(/path/);
    expect(checkBodyMatch('json:a.b=x+')).toBeUndefined();
    await expect(rewritten([rule({ match: 'a(' })], 'text/html', 'x')).rejects.toMatchObject({
      code: 'internal',
    });
  });
});

describe('a rewriter', () => {
  test('is told what GOST tells it, sees the plain body, and its answer is encoded again', async () => {
    const asked: { data: string; metadata: JsonObject | null }[] = [];
    const rewriter: BodyRule['rewriter'] = {
      rewrite({ data, metadata }) {
        asked.push({ data: Buffer.from(data).toString(), metadata });
        return Buffer.from('new');
      },
    };
    const known = facts('text/plain', 'gzip');
    const rewrite = createBodyRewrite([rule({ rewriter })], known)!;
    expect(String(gunzipSync(await rewrite.whole(gzipSync('old'))))).toBe('new');
    // The golden call of a buffered body.
    expect(asked).toEqual([{ data: 'old', metadata: { sid: 'sid-1', direction: 'response', uri: '/u?q' } }]);
    expect(known.decided).toMatchObject([{ module: 'rewriter', outcome: 'yes', answer: '3 bytes' }]);
  });

  test('that says nothing leaves the very bytes; one that cannot be asked refuses; a pattern says when it is asked', async () => {
    const unchanged = { rewriter: { rewrite: () => undefined } };
    const body = gzipSync('x', { level: 1 });
    expect(Buffer.from(await rewritten([rule(unchanged)], 'a/b', body, 'gzip'), 'latin1')).toEqual(body);
    const dead = {
      rewriter: {
        rewrite: () => {
          throw new PluginError('unreachable', 'nothing listens');
        },
      },
    };
    await expect(rewritten([rule(dead)], 'a/b', 'x')).rejects.toMatchObject({
      code: 'couldNotAsk',
      status: 502,
    });
    expect(await rewritten([rule({ ...dead, match: 'never' })], 'a/b', 'x')).toBe('x');
  });
});

describe('an event stream', () => {
  async function run(
    pieces: readonly string[],
    apply?: (event: string, metadata: JsonObject) => string,
    error?: string,
  ) {
    const calls: unknown[] = [];
    const stream = createEventStream({
      maxEventBytes: 40,
      apply(event, metadata) {
        calls.push([String(event), metadata]);
        return Promise.resolve(apply === undefined ? event : Buffer.from(apply(String(event), metadata)));
      },
    });
    let text = '';
    for (const piece of pieces) text += String(await stream.push([Buffer.from(piece)]));
    text += String(await stream.end(error));
    return { calls, text };
  }

  test('is rewritten event by event, with what GOST says of each', async () => {
    const { calls, text } = await run(
      ['data: fox 0\n\ndata: f', 'ox 1\n', '\ndata: fox 2\n\n'],
      (event, { sse_phase }) => (sse_phase === 'end' ? 'data: [DONE]' : event.replace('fox', 'dog')),
    );
    expect(text).toBe('data: dog 0\n\ndata: dog 1\n\ndata: dog 2\n\ndata: [DONE]\n\n');
    expect(calls).toEqual([
      ['data: fox 0', { sse_phase: 'start', event_index: 0 }],
      ['data: fox 1', { sse_phase: 'event', event_index: 1 }],
      ['data: fox 2', { sse_phase: 'event', event_index: 2 }],
      ['', { sse_phase: 'end', event_index: 3 }],
    ]);
  });

  test('keeps its own line ends; an event that becomes nothing is gone; a last one without a blank line counts', async () => {
    const { text, calls } = await run(['a\r\n\r\nb\r\rc\n\nd'], (event) => (event === 'c' ? '' : event));
    expect(text).toBe('a\r\n\r\nb\r\rd\n\n');
    expect(calls).toHaveLength(5);
  });

  test('that broke off says so, without the event that was not whole', async () => {
    const { calls, text } = await run(['a\n\nhal'], undefined, 'it broke');
    expect(text).toBe('a\n\n');
    expect(calls.at(-1)).toEqual(['', { sse_phase: 'end', event_index: 1, stream_error: 'it broke' }]);
  });

  test('an event that is too long passes as it comes', async () => {
    const long = 'x'.repeat(100);
    const { calls, text } = await run(['a\n\n', long, long, '\n\nb\n\n'], (event) => event.toUpperCase());
    expect(text).toBe(`A\n\n${long}${long}\n\nB\n\n`);
    expect(calls.map((call) => (call as [string])[0])).toEqual(['a', 'b', '']);
  });

  test('any split gives the same', async () => {
    const whole = 'data: 1\r\n\r\n\n\nid: 2\ndata: 2\n\nevent: x\r\rlast';
    const expected = await run([whole]);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: whole.length }), { maxLength: 8 }),
        async (cuts) => {
          const at = [0, ...cuts.sort((a, b) => a - b), whole.length];
          const pieces = at.slice(1).map((end, index) => whole.slice(at[index], end));
          expect(await run(pieces)).toEqual(expected);
        },
      ),
      { numRuns: 200 },
    );
  });
});
