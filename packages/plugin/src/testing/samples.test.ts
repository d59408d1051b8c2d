import assert from 'node:assert/strict';
import { describe, expect, it } from 'vitest';
import { contracts } from '../contracts/index.ts';
import { createMethodCodec } from '../codec.ts';
import { samplesOf } from './samples.ts';

const methods = contracts.flatMap((contract) =>
  Object.keys(contract.methods).map((name) => ({ contract, name, title: `${contract.kind}.${name}` })),
);

describe.each(methods)('samples of $title', ({ contract, name }) => {
  const samples = samplesOf(contract, name);
  const codec = createMethodCodec(contract, name);

  it('are there, each under its own name', () => {
    const names = samples.map((sample) => sample.name);
    expect(new Set(names).size).toBe(names.length);
    for (const kind of ['empty', 'every field', 'unicode', 'large']) expect(names).toContain(kind);
  });

  it.each(samples)('$name: survives both codecs', ({ ask, answer }) => {
    const { request, ask: arrived } = codec.grpc.decodeAsk(codec.grpc.encodeAsk(ask));
    // Of large buffers the test framework's own comparison takes seconds.
    assert.deepEqual(arrived, ask);
    assert.deepEqual(codec.grpc.decodeAnswer(codec.grpc.encodeAnswer(answer, request), ask), answer);
    const { query, body = '' } = codec.http.encodeAsk(ask);
    assert.deepEqual(codec.http.decodeAsk(query, Buffer.from(body)).ask, ask);
    const said = codec.http.encodeAnswer(answer, request);
    assert.deepEqual(codec.http.decodeAnswer(Buffer.from(said), ask), answer);
  });

  it('fill every field of the request and the reply, and leave it empty', () => {
    const { request, reply, wire } = contract.methods[name]!;
    const requests = samples.map((sample) => wire.request(sample.ask) as Record<string, unknown>);
    const replies = samples.map(
      (sample) => wire.reply(sample.answer, wire.request(sample.ask), 'grpc') as Record<string, unknown>,
    );
    const isEmpty = (value: unknown): boolean =>
      value === undefined ||
      value === '' ||
      value === 0 ||
      value === false ||
      (value as { length?: number }).length === 0;
    for (const field of request.fields) {
      const values = requests.map((one) => one[field.name]);
      expect(values.some((value) => !isEmpty(value))).toBe(true);
    }
    for (const field of reply.fields) {
      const values = replies.map((one) => one[field.name]);
      expect(
        values.some((value) => !isEmpty(value)),
        field.name,
      ).toBe(true);
    }
  });
});
