import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createAddressMatcher, parseAddressRule } from './address-matcher.ts';

describe('a rule about targets', () => {
  test.each<[string, string, number, boolean]>([
    // A network.
    ['10.0.0.0/8', '10.1.2.3', 80, true],
    ['10.0.0.0/8', '11.1.2.3', 80, false],
    ['10.0.0.0/8', '::ffff:10.1.2.3', 80, true],
    ['fd00::/8', 'fd12::1', 80, true],
    ['10.0.0.0/8', '10.example', 80, false],
    // An address, for all ports.
    ['1.2.3.4', '1.2.3.4', 80, true],
    ['1.2.3.4', '1.2.3.4', 0, true],
    ['::ffff:1.2.3.4', '1.2.3.4', 80, true],
    ['2001:DB8:0::1', '2001:db8::1', 80, true],
    ['[::1]', '::1', 80, true],
    ['0.0.0.0', '127.0.0.1', 80, true],
    ['::', '::1', 80, true],
    // A range.
    ['10.0.0.1-10.0.0.9', '10.0.0.1', 80, true],
    ['10.0.0.1 - 10.0.0.9', '10.0.0.9', 80, true],
    ['10.0.0.1-10.0.0.9', '10.0.0.10', 80, false],
    ['fd00::1-fd00::ff', 'fd00::80', 80, true],
    // An address with a port.
    ['1.2.3.4:80', '1.2.3.4', 80, true],
    ['1.2.3.4:80', '1.2.3.4', 81, false],
    ['1.2.3.4:80', '1.2.3.4', 0, false],
    ['[::1]:80-90', '::1', 85, true],
    ['[::1]:80-90', '::1', 91, false],
    // A name.
    ['example.com', 'example.com', 80, true],
    ['Example.COM', 'EXAMPLE.com.', 80, true],
    ['example.com', 'www.example.com', 80, false],
    ['example.com:443', 'example.com', 443, true],
    ['example.com:443', 'example.com', 80, false],
    ['my-host.example', 'my-host.example', 80, true],
    ['bücher.example', 'xn--bcher-kva.example', 80, true],
    // A name and all below it.
    ['.example.com', 'example.com', 80, true],
    ['.example.com', 'a.b.example.com', 80, true],
    ['.example.com', 'badexample.com', 80, false],
    ['.example.com:1-1023', 'a.example.com', 1023, true],
    ['.example.com:1-1023', 'a.example.com', 1024, false],
    // A pattern.
    ['*.example.com', 'a.example.com', 80, true],
    ['*.example.com', 'example.com', 80, false],
    ['*.example.com:443', 'a.example.com', 80, false],
    ['*.0.0.1', '127.0.0.1', 80, true],
    ['10.*', '10.1.2.3', 80, true],
    ['10.*', '::ffff:10.1.2.3', 80, true],
    ['*', '::1', 80, true],
    ['*:80', 'example.com', 81, false],
    ['ads?.example.*', 'ads1.example.com', 80, true],
  ])('%s and %s:%d: %s', (rule, host, port, matches) => {
    const matcher = createAddressMatcher([rule]);
    expect(matcher.matches(host, port)).toBe(matches);
    expect(matcher.find(host, port)).toBe(matches ? rule : undefined);
  });

  test.each([
    ['', 'is empty'],
    ['  ', 'is empty'],
    ['10.0.0.0/33', 'no network'],
    ['10.0.0.0/8:80', 'no network'],
    ['http://example.com', 'no network'],
    ['10.0.0.9-10.0.0.1', 'no range'],
    ['10.0.0.1-20', 'no range'],
    ['10.0.0.1-10.0.0.9:80', 'no range'],
    ['10.0.0.1-::1', 'no range'],
    ['example.com:http', 'port'],
    ['example.com:', 'port'],
    ['example.com:90-80', 'port'],
    ['1.2.3.4:70000', 'port'],
    [':80', 'no host'],
    ['*:80-', 'port'],
    ['010.0.0.1', 'no host name'],
    ['127.2', 'no host name'],
    ['a b', 'no host name'],
    ['.', 'no host name'],
    ['x'.repeat(2000), '1024'],
  ])('%j is none: %s', (rule, why) => {
    expect(() => parseAddressRule(rule)).toThrow(TypeError);
    expect(() => parseAddressRule(rule)).toThrow(why);
    expect(() => createAddressMatcher(['example.com', rule])).toThrow(why);
  });

  test('the message names the rule, but not what may be a password', () => {
    expect(() => parseAddressRule('exa mple')).toThrow('"exa mple" is no host name');
    expect(() => parseAddressRule('ada:secret@host')).toThrow(/^(?!.*secret)/);
  });

  test.each([
    [['example.com', '*.example.org', '*'], false],
    [['example.com', '10.0.0.0/8'], true],
    [['10.0.0.1'], true],
    [['10.0.0.1:80'], true],
    [['10.0.0.1-10.0.0.2'], true],
    [['10.*'], true],
    [[], false],
  ])('%j speaks of addresses: %s', (rules, speaks) => {
    expect(createAddressMatcher(rules).speaksOfAddresses).toBe(speaks);
  });

  test('of many rules the closest is named', () => {
    const matcher = createAddressMatcher([
      '*',
      '.com',
      '.example.com',
      'www.example.com',
      '10.0.0.0/8',
      '10.1.0.0/16',
    ]);
    expect(matcher.size).toBe(6);
    expect(matcher.find('www.example.com', 1)).toBe('www.example.com');
    expect(matcher.find('x.example.com', 1)).toBe('.example.com');
    expect(matcher.find('x.com', 1)).toBe('.com');
    expect(matcher.find('10.1.1.1', 1)).toBe('10.1.0.0/16');
    expect(matcher.find('x.org', 1)).toBe('*');
  });

  test('garbage is a rule or a TypeError, and no host makes a rule throw', () => {
    const piece = fc.oneof(
      fc.constantFrom('10.0.0.1', '/8', '-', ':', '*', '.', '[', ']', '::1', '{'),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), fc.string(), fc.nat(65535), (pieces, host, port) => {
        try {
          createAddressMatcher([pieces.join('')]).matches(host, port);
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
