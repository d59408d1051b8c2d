import { describe, expect, test } from 'vitest';
import { parseTree } from '../../schema/parse.ts';
import { mapping } from '../../schema/read.ts';
import { createReport, formatFindings } from '../../schema/report.ts';
import { createSource } from '../../schema/source.ts';
import { parseNameserver } from './address.ts';
import { resolverFields } from './fields.ts';

function read(yaml: string) {
  const report = createReport();
  const tree = parseTree(createSource('r.yml', yaml), report);
  const config = tree && mapping(resolverFields)(tree, '', { report, lenient: false });
  return { config, errors: formatFindings(report.errors), warnings: formatFindings(report.warnings) };
}

const one = (rest: string, addr = '1.1.1.1') => read(`nameservers:\n- addr: "${addr}"\n  ${rest}\n`);

describe('the address of a nameserver', () => {
  test.each([
    ['1.1.1.1', 'udp', '1.1.1.1', 53, 'udp://1.1.1.1:53'],
    [' 1.1.1.1:5353 ', 'udp', '1.1.1.1', 5353, 'udp://1.1.1.1:5353'],
    ['::1', 'udp', '::1', 53, 'udp://[::1]:53'],
    ['[2001:DB8::0:1]:54', 'udp', '2001:db8::1', 54, 'udp://[2001:db8::1]:54'],
    ['dns.example', 'udp', 'dns.example', 53, 'udp://dns.example:53'],
    ['udp://1.1.1.1/', 'udp', '1.1.1.1', 53, 'udp://1.1.1.1:53'],
    ['TCP://1.1.1.1', 'tcp', '1.1.1.1', 53, 'tcp://1.1.1.1:53'],
    ['tls://DNS.example', 'tls', 'dns.example', 853, 'tls://dns.example:853'],
    ['dot://1.1.1.1:53', 'tls', '1.1.1.1', 53, 'tls://1.1.1.1:53'],
    ['https://dns.example', 'https', 'dns.example', 443, 'https://dns.example/'],
    ['https://[::1]:8443/dns-query', 'https', '::1', 8443, 'https://[::1]:8443/dns-query'],
  ])('%j', (written, scheme, host, port, text) => {
    expect(parseNameserver(written)).toMatchObject({ scheme, host, port, text });
  });

  test('sends its path and query, and shows the path alone', () => {
    expect(parseNameserver('https://dns.example/dns-query?token=secret')).toMatchObject({
      path: '/dns-query?token=secret',
      text: 'https://dns.example/dns-query',
    });
    expect(parseNameserver('https://dns.example?token=secret')).toMatchObject({
      path: '/?token=secret',
      text: 'https://dns.example/',
    });
  });

  test.each([
    ['', /names no host/],
    [':53', /names no host/],
    ['1.1.1.1:', /no host and port/],
    ['1.1.1.1:0', /port that is not/],
    ['1.1.1.1:65536', /port that is not/],
    ['1.1.1.1:domain', /no host and port/],
    ['0x7f000001', /neither a name nor an address/],
    ['[1.1.1.1]:53', /no IPv6 address/],
    ['a b', /neither a name/],
    ['htps://dns.example', /unknown scheme; did you mean `https`\?; served: udp, tcp, tls, dot, https/],
    ['quic://dns.example', /unknown scheme/],
    ['tls://dns.example/path', /has a path/],
    ['https://dns.example/ä', /characters that a URL cannot hold/],
    ['https://dns.example/ x', /characters that a URL cannot hold/],
    ['https://dns.example/#x', /fragment/],
    ['https://ada:secret@dns.example/', /^holds credentials, which no nameserver is asked with here$/],
  ])('%j is none', (written, why) => {
    expect(() => parseNameserver(written)).toThrow(why);
    expect(() => parseNameserver(written)).toThrow(TypeError);
  });
});

describe('the nameservers of a file', () => {
  test('are read with every key of GOST', () => {
    const { config, errors, warnings } = read(
      'nameservers:\n' +
        '- {addr: "https://dns.example/q", chain: c, prefer: ipv6, clientIP: 203.0.113.7, hostname: d.example, ttl: 60s, timeout: 2s, async: true}\n' +
        '- {addr: 1.1.1.1, only: IPv4, ttl: -1s, timeout: 0s}\n',
    );
    expect([errors, warnings]).toEqual([[], []]);
    const [first, second] = config!.nameservers!;
    expect(first).toMatchObject({
      address: { scheme: 'https', host: 'dns.example', path: '/q' },
      chain: 'c',
      prefer: 'ipv6',
      clientIP: '203.0.113.7',
      hostname: 'd.example',
      ttlMs: 60_000,
      timeoutMs: 2000,
      async: true,
    });
    expect(second).toMatchObject({ address: { host: '1.1.1.1' }, only: 'ipv4', ttlMs: -1 });
    expect(second!.timeoutMs).toBeUndefined();
    expect(first!.at('chain')).toMatchObject({ offset: expect.any(Number) as number });
  });

  test('report a bad address where it stands', () => {
    expect(one('async: true', 'htps://x').errors).toEqual([
      'r.yml:2:9: nameservers[0].addr: has an unknown scheme; did you mean `https`?; served: udp, tcp, tls, dot, https',
    ]);
  });

  test.each([
    ['ttl: 0', undefined],
    ['ttl: -1', undefined],
    ['ttl: -5m', undefined],
    ['ttl: soon', /ttl: expected a duration/],
    ['ttl: -soon', /ttl: expected a duration/],
    ['prefer: ipv5', /unknown address family `ipv5`; did you mean `ipv[46]`/],
    ['clientIP: here', /clientIP: expected an IP address/],
    ['clientIP: fe80::1%eth0', /clientIP: expected an IP address/],
    ['timeout: fast', /timeout: expected a duration/],
    ['async: maybe', /async: expected `true` or `false`/],
    ['chain:', /chain: is empty/],
    ['hostnam: x', /unknown key `hostnam`; did you mean `hostname`/],
  ])('%s', (line, why) => {
    const { errors } = one(line);
    if (why === undefined) expect(errors).toEqual([]);
    else expect(errors).toEqual([expect.stringMatching(why)]);
  });

  test('need an address, and there must be one of them', () => {
    expect(read('nameservers:\n- async: true\n').errors).toEqual([
      expect.stringContaining('nameservers[0].addr: `addr` is missing'),
    ]);
    expect(read('nameservers: []\n').errors).toEqual([expect.stringContaining('is empty, so that no name')]);
    expect(read('nameservers:\n').errors).toEqual([expect.stringContaining('nameservers: is empty')]);
  });

  test('draw a warning for what is not used', () => {
    expect(one('hostname: dns.example').warnings).toEqual([expect.stringContaining('hostname: is not used')]);
    expect(one('hostname: dns.example', 'tls://1.1.1.1').warnings).toEqual([]);
    expect(one('only: ipv4\n  prefer: ipv6').warnings).toEqual([
      expect.stringContaining('prefer: is not used'),
    ]);
  });
});
