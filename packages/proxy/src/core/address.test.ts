import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalTarget, formatAddress, parseAuthority } from './address.ts';
import { ProxyError } from './errors.ts';

const canonical = (host: string) => canonicalTarget({ host, port: 80 }).host;

describe('a target has one spelling', () => {
  test.each([
    ['127.0.0.2', '127.0.0.2'],
    ['127.0.0.2.', '127.0.0.2'],
    ['::ffff:127.0.0.2', '127.0.0.2'],
    ['::FFFF:7f00:2', '127.0.0.2'],
    ['0:0:0:0:0:ffff:7f00:2', '127.0.0.2'],
    ['0.0.0.0', '127.0.0.1'],
    ['::', '::1'],
    ['::ffff:0.0.0.0', '127.0.0.1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['Example.ORG', 'example.org'],
    ['example.org.', 'example.org'],
    ['BÜCHER.example', 'xn--bcher-kva.example'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['ｅｘａｍｐｌｅ。org', 'example.org'],
    ['a_b.c-d', 'a_b.c-d'],
    ['localhost', 'localhost'],
    ['1.2.3.4.example', '1.2.3.4.example'],
  ])('%s', (written, expected) => {
    expect(canonical(written)).toBe(expected);
  });

  test.each([
    ['', /empty/],
    ['.', /empty/],
    ['0x7f000002', /another spelling/],
    ['2130706434', /another spelling/],
    ['127.2', /another spelling/],
    ['0177.0.0.1', /another spelling/],
    ['127.0.0.1.5', /another spelling/],
    ['127.0.0.0x1', /another spelling/],
    ['127.0.0.256', /another spelling/],
    ['127。0.0.2', /another spelling/],
    ['１２７.0.0.2', /another spelling/],
    ['example.0x', /another spelling/],
    ['fe80::1%eth0', /zone/],
    ['::g', /no IPv6/],
    ['example..org', /no host name/],
    ['example.org..', /no host name/],
    ['exa mple.org', /no host name/],
    ['exa/mple.org', /no host name/],
    ['user@example.org', /no host name/],
    ['*.example.org', /no host name/],
    [`${'a'.repeat(64)}.org`, /no host name/],
    [Array.from({ length: 130 }, () => 'a').join('.'), /no host name/],
    ['example.org\0.evil', /no host name/],
  ])('%s is refused', (written, words) => {
    expect(() => canonical(written)).toThrow(words);
  });

  test('nothing but a ProxyError comes of any text, and what is accepted stays as it is', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.domain(),
          fc.ipV4(),
          fc.ipV6(),
          fc.stringMatching(/^[\dx.]+$/),
        ),
        fc.integer({ min: -1, max: 70_000 }),
        (host, port) => {
          let first;
          try {
            first = canonicalTarget({ host, port });
          } catch (error) {
            expect(error).toMatchObject({ name: 'ProxyError', code: 'malformedRequest', status: 400 });
            return;
          }
          expect(canonicalTarget(first)).toEqual(first);
          expect(parseAuthority(formatAddress(first))).toEqual(first);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('host:port', () => {
  test.each([
    ['example.org:443', { host: 'example.org', port: 443 }],
    ['[2001:db8::1]:80', { host: '2001:db8::1', port: 80 }],
    ['example.org', { host: 'example.org', port: 8080 }],
    ['example.org:', { host: 'example.org', port: 8080 }],
    ['[::1]', { host: '::1', port: 8080 }],
  ])('%s', (written, expected) => {
    expect(parseAuthority(written, 8080)).toEqual(expected);
  });

  test.each([
    '::1:80',
    'a:b',
    'a:80:80',
    '[::1',
    '[a]:80',
    'u@a:80',
    'a:0',
    'a:65536',
    'a:99999999999',
    'a:+1',
    'a: 1',
  ])('%s is refused', (written) => {
    expect(() => parseAuthority(written)).toThrow(ProxyError);
  });

  test('a port may not be missing where there is no default', () => {
    expect(() => parseAuthority('example.org')).toThrow(/names no port/);
  });
});
