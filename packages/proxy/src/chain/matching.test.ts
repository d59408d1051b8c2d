import { describe, expect, test } from 'vitest';
import type { RouteRequest, Seen } from '../core/route.ts';
import { createRuleTests } from '../core/rules/evaluate.ts';
import { parseRule } from '../core/rules/parse.ts';
import { decider, request } from './chain.fixture.ts';
import { compileMatch, parseHostFilter } from './matching.ts';
import type { MatchConfig } from './matching.ts';

const tests = createRuleTests({ bypass: () => undefined, admission: () => undefined });
const seenAt = (host: string, more: Partial<Seen> = {}): RouteRequest =>
  request({ seen: { protocol: 'http', host, authority: host, path: '/', ...more } });
const compiled = (config: MatchConfig) => compileMatch(config, tests);
const matches = (config: MatchConfig, asked: RouteRequest) => compiled(config).matches?.(asked, decider);

describe('a filter', () => {
  test.each([
    ['example.com', 'example.com', true],
    ['Example.COM', 'example.com', true],
    ['example.com', 'a.example.com', false],
    ['.example.com', 'example.com', true],
    ['.example.com', 'a.b.example.com', true],
    ['*.example.com', 'example.com', true],
    ['*.example.com', 'a.example.com', true],
    ['*example.com', 'a.example.com', true],
    // GOST takes it for one of them.
    ['.example.com', 'myexample.com', false],
    ['*example.com', 'myexample.com', false],
    ['.a.com', 'ba.com', false],
    ['example.com', '', false],
  ])('host %s, request for %s: %s', (host, asked, expected) => {
    const config = { filter: { host: parseHostFilter(host) } };
    expect(matches(config, seenAt(asked))).toBe(expected && asked !== '');
  });

  test('where nothing was seen the host is the target that was asked for', () => {
    const filter = { host: parseHostFilter('.target.test') };
    expect(matches({ filter }, request())).toBe(true);
    expect(matches({ filter }, request({ host: undefined }))).toBe(false);
  });

  test('the protocol, and how the path begins', () => {
    expect(matches({ filter: { protocol: 'tls' } }, seenAt('a', { protocol: 'tls' }))).toBe(true);
    expect(matches({ filter: { protocol: 'tls' } }, seenAt('a'))).toBe(false);
    expect(matches({ filter: { protocol: 'tls' } }, request())).toBe(false);
    expect(matches({ filter: { path: '/a b' } }, seenAt('a', { path: '/a%20bc' }))).toBe(true);
    expect(matches({ filter: { path: '/a' } }, seenAt('a', { path: '/b/a' }))).toBe(false);
    const all = { host: parseHostFilter('a'), protocol: 'http', path: '/x' };
    expect(matches({ filter: all }, seenAt('a', { path: '/x' }))).toBe(true);
    expect(matches({ filter: all }, seenAt('b', { path: '/x' }))).toBe(false);
    expect(matches({ filter: {} }, request())).toBe(true);
  });

  test.each(['', '.', '*', 'a.com:80', 'a/b', 'a.*.com', '**.a.com'])('no host: %s', (text) => {
    expect(() => parseHostFilter(text)).toThrow('is no host name');
  });
});

describe('a rule', () => {
  const rule = parseRule('Host(`é.test`)');

  test('counts in place of a filter', () => {
    const filter = { host: parseHostFilter('other.test') };
    expect(matches({ filter, matcher: { rule } }, seenAt('xn--9ca.test'))).toBe(true);
    expect(matches({ filter, matcher: { rule } }, seenAt('other.test'))).toBe(false);
    // A priority alone leaves the filter in place.
    expect(matches({ filter, matcher: { priority: 3 } }, seenAt('other.test'))).toBe(true);
  });

  test('has the length of its text as priority where none is given', () => {
    expect(compiled({ matcher: { rule } }).priority).toBe(15);
    expect(compiled({ matcher: { rule, priority: 0 } }).priority).toBe(15);
    expect(compiled({ matcher: { rule, priority: 3 } }).priority).toBe(3);
    expect(compiled({ matcher: { rule, priority: -1 } }).priority).toBe(-1);
    expect(compiled({ matcher: { priority: 7 } })).toEqual({ priority: 7 });
    expect(compiled({ filter: {} }).priority).toBe(0);
    expect(compiled({})).toEqual({ priority: 0 });
  });
});
