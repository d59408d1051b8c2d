import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GetRuleRequest } from '../gen/ingress.ts';
import { LimitReply } from '../gen/limiter.ts';
import { anyText } from './message.fixture.ts';
import { createQueryReader, createQueryWriter } from './query.ts';

const write = createQueryWriter(GetRuleRequest, ['service?', 'host']);
const read = createQueryReader(GetRuleRequest, ['service?', 'host']);

describe('queries', () => {
  it('are written as Go writes them', () => {
    expect(write({ host: "a b&c=d+é/~-_.!'()*", service: '' })).toBe(
      'host=a+b%26c%3Dd%2B%C3%A9%2F~-_.%21%27%28%29%2A',
    );
    expect(write({ host: '', service: 's' })).toBe('host=&service=s');
    expect(write({ host: '\ud800', service: '' })).toBe('host=%EF%BF%BD');
  });

  it('are read as they were written', () => {
    fc.assert(
      fc.property(anyText, anyText, (host, service) => {
        const message = { host: host, service: service };
        expect(read(write(message))).toEqual(message);
      }),
      { numRuns: 300 },
    );
  });

  it('may hold keys that belong to the address, and lack keys', () => {
    expect(read('x=%20&host=h&&y')).toEqual({ host: 'h', service: '' });
    expect(read('')).toEqual({ host: '', service: '' });
    expect(read('host')).toEqual({ host: '', service: '' });
  });

  it.each([
    ['host=a&host=b', 'the key "host" twice'],
    ['host=a&h%6fst=b', 'the key "host" twice'],
    ['host=%zz', 'proto.GetRuleRequest.host: the query has an escape'],
    ['host=%ff', 'escape that is not valid'],
    ['%=1', 'escape that is not valid'],
  ])('refuse %s', (query, message) => {
    expect(() => read(query)).toThrow(
      expect.objectContaining({
        code: 'badReply',
        message: expect.stringContaining(message) as string,
      }) as Error,
    );
  });

  it('hold single strings only', () => {
    expect(() => createQueryWriter(LimitReply, ['in'])).toThrow('cannot stand in a query');
    expect(() => write({ host: 7 as never, service: '' })).toThrow(
      'proto.GetRuleRequest.host must be a string',
    );
  });
});
