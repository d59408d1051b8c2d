import { describe, expect, test, vi } from 'vitest';
import { createDomainSet, parseDomainRule } from './domain-set.ts';

describe('a set of names', () => {
  const set = createDomainSet<string>();
  set.add('exact', 'example.com', undefined, 'exact');
  set.add('suffix', 'example.org', undefined, 'suffix');
  set.add('below', 'example.net', undefined, 'below');
  set.add('suffix', 'deep.example.org', { min: 443, max: 443 }, 'ported');
  set.add('suffix', 'com', { min: 8000, max: 8999 }, 'range');

  test.each([
    ['example.com', 80, 'exact'],
    ['www.example.com', 80, undefined],
    ['www.example.com', 8000, 'range'],
    ['www.example.com', 8999, 'range'],
    ['www.example.com', 9000, undefined],
    ['example.org', 80, 'suffix'],
    ['a.b.example.org', 80, 'suffix'],
    ['badexample.org', 80, undefined],
    ['example.org.evil', 80, undefined],
    ['example.net', 80, undefined],
    ['a.b.example.net', 80, 'below'],
    ['x.deep.example.org', 443, 'ported'],
    ['x.deep.example.org', 80, 'suffix'],
    ['deep.example.org', 443, 'ported'],
    ['org', 80, undefined],
    ['', 80, undefined],
    ['.', 80, undefined],
    ['constructor', 80, undefined],
  ])('%s:%d is %s', (host, port, value) => {
    expect(set.find(host, port)).toBe(value);
  });

  test('a rule is canonical as targets are', () => {
    expect(parseDomainRule('.BÜCHER.example.')).toEqual({ scope: 'suffix', name: 'xn--bcher-kva.example' });
    expect(parseDomainRule('_dmarc.Example.com')).toEqual({ scope: 'exact', name: '_dmarc.example.com' });
    for (const text of ['', '.', '..a', 'a b', 'a/b', '127.2', '0x7f000001', 'a..b', 'user@host']) {
      expect(() => parseDomainRule(text), text).toThrow(TypeError);
    }
  });

  test('100,000 names cost one probe for each label, and a host of many labels no more than a name can have', () => {
    const many = createDomainSet<number>();
    for (let index = 0; index < 100_000; index++)
      many.add('suffix', `n${String(index)}.example`, undefined, index);
    expect(many.size).toBe(100_000);
    expect(many.find('a.n99999.example', 0)).toBe(99_999);
    const probes = vi.spyOn(Map.prototype, 'get');
    try {
      expect(many.find('a.b.c.example', 0)).toBeUndefined();
      expect(probes).toHaveBeenCalledTimes(4);
      probes.mockClear();
      expect(many.find(`${'a.'.repeat(100_000)}n7.example`, 0)).toBe(7);
      expect(probes.mock.calls.length).toBeLessThan(130);
    } finally {
      probes.mockRestore();
    }
  });
});
