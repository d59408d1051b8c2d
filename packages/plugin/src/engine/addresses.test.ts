import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { PluginTransport } from '../contract.ts';
import { PluginError } from '../errors.ts';
import type { TlsSettings } from '../wire/endpoint.ts';
import { parseEndpoints } from './addresses.ts';

const one = (transport: PluginTransport, addr: string, tls?: TlsSettings) => {
  const { endpoints } = parseEndpoints('auth', transport, addr, tls);
  expect(endpoints).toHaveLength(1);
  return endpoints[0]!;
};
const urls = (transport: PluginTransport, addr: string | string[], tls?: TlsSettings) =>
  parseEndpoints('auth', transport, addr, tls).endpoints.map(({ url }) => url);
const tcp = (host: string, port: number) => ({ host, port });

describe('gRPC', () => {
  test.each([
    ['127.0.0.1:8000', tcp('127.0.0.1', 8000), '127.0.0.1:8000'],
    ['plugin_a.example:8000', tcp('plugin_a.example', 8000), 'plugin_a.example:8000'],
    ['[::1]:8000', tcp('::1', 8000), '[::1]:8000'],
    ['[fe80::1%eth0]:8000', tcp('fe80::1%eth0', 8000), '[fe80::1]:8000'],
    [':8000', tcp('localhost', 8000), 'localhost:8000'],
    ['bücher.example:1', tcp('xn--bcher-kva.example', 1), 'xn--bcher-kva.example:1'],
    ['dns:///h.example:1', tcp('h.example', 1), 'h.example:1'],
    ['dns:h.example:1', tcp('h.example', 1), 'h.example:1'],
    ['passthrough:///h:1', tcp('h', 1), 'h:1'],
    ['grpc://h:1', tcp('h', 1), 'h:1'],
    ['unix:/run/p.sock', { path: '/run/p.sock' }, 'localhost'],
    ['unix:///run/p.sock', { path: '/run/p.sock' }, 'localhost'],
    ['unix:p.sock', { path: 'p.sock' }, 'localhost'],
  ])('%s', (addr, connect, authority) => {
    expect(one('grpc', addr)).toMatchObject({ connect, authority, tls: undefined });
  });

  test('TLS: by the settings, by grpcs://, with the name of the settings, on port 443 when none is written', () => {
    expect(one('grpc', 'h:1', {})).toMatchObject({ url: 'grpcs://h:1', authority: 'h:1', tls: {} });
    expect(one('grpc', 'grpcs://h:1')).toMatchObject({ url: 'grpcs://h:1', tls: {} });
    expect(one('grpc', 'h:1', { serverName: 'x' })).toMatchObject({
      authority: 'x',
      tls: { serverName: 'x' },
    });
    expect(one('grpc', 'h', {})).toMatchObject({ connect: tcp('h', 443), url: 'grpcs://h:443' });
    expect(one('grpc', 'unix:/p', { serverName: 'x' })).toMatchObject({ authority: 'x', url: 'unix:/p' });
  });

  test.each([
    ['', /empty/],
    ['h', /port is missing; write `h:port`/],
    ['8000', /write `host:8000`/],
    ['::1', /write `\[::1\]:port`/],
    ['h:0', /"0" is no port/],
    ['h:65536', /"65536" is no port/],
    ['h:http', /"http" is no port/],
    ['[h]:1', /no IPv6/],
    ['a b:1', /no name of a host/],
    ['http://h:1/auth', /`type: http`/],
    ['h:1/auth', /no path/],
    ['xds:///h', /xds:\/\/ is not known/],
    ['dns://8.8.8.8/h:1', /dns:\/\/\/host:port/],
    ['unix:', /socket file is missing/],
    ['unix://host/p', /has no host/],
    [`unix:/${'x'.repeat(107)}`, /107 bytes/],
    ['h:1,g', /"1,g" is no port/],
  ])('%s is refused with what would be right', (addr, message) => {
    expect(() => parseEndpoints('auth', 'grpc', addr)).toThrow(message);
    expect(() => parseEndpoints('auth', 'grpc', addr)).toThrow(PluginError);
  });

  test('grpc:// beside tls is a contradiction', () => {
    expect(() => parseEndpoints('auth', 'grpc', 'grpc://h:1', {})).toThrow(/grpcs:\/\//);
  });
});

describe('HTTP', () => {
  test.each([
    ['127.0.0.1:8000', 'http://127.0.0.1:8000/auth', tcp('127.0.0.1', 8000), '/auth'],
    ['h', 'http://h/auth', tcp('h', 80), '/auth'],
    ['http://h/a@b', 'http://h/a@b', tcp('h', 80), '/a@b'],
    ['h:8000/', 'http://h:8000/', tcp('h', 8000), '/'],
    ['http://h:8000', 'http://h:8000/auth', tcp('h', 8000), '/auth'],
    ['HTTP://h/Auth/x', 'http://h/Auth/x', tcp('h', 80), '/Auth/x'],
    ['http://h?k=v', 'http://h/auth', tcp('h', 80), '/auth?k=v'],
    ['http://h/x?k=v,w&a:1#part', 'http://h/x', tcp('h', 80), '/x?k=v,w&a:1'],
    ['http://h/ü x', 'http://h/%C3%BC%20x', tcp('h', 80), '/%C3%BC%20x'],
    ['http://h/a/../b%2f', 'http://h/a/../b%2f', tcp('h', 80), '/a/../b%2f'],
    ['[::1]:80/x', 'http://[::1]:80/x', tcp('::1', 80), '/x'],
    ['unix:/p.sock', 'unix:/p.sock:/auth', { path: '/p.sock' }, '/auth'],
    ['unix:/p.sock:/x?y', 'unix:/p.sock:/x', { path: '/p.sock' }, '/x?y'],
    ['unix:///p:1.sock:/x', 'unix:/p:1.sock:/x', { path: '/p:1.sock' }, '/x'],
  ])('%s', (addr, url, connect, path) => {
    expect(one('http', addr)).toMatchObject({ url, connect, path, tls: undefined });
  });

  test('a module has its usual path, and https where there is TLS', () => {
    expect(parseEndpoints('recorder', 'http', 'h').endpoints[0]!.path).toBe('/recorder');
    expect(one('http', 'h', {})).toMatchObject({ url: 'https://h/auth', connect: tcp('h', 443), tls: {} });
    expect(one('http', 'https://h:1')).toMatchObject({ url: 'https://h:1/auth', tls: {} });
    expect(one('http', 'https://h', { serverName: 'x' })).toMatchObject({ authority: 'h' });
    expect(one('http', 'unix:/p', {})).toMatchObject({ tls: {} });
  });

  test('http:// beside tls is plain text, as in GOST, and said', () => {
    const { endpoints, warnings } = parseEndpoints('auth', 'http', 'http://u:secret@h?k=secret', {});
    expect(endpoints[0]!.tls).toBeUndefined();
    expect(warnings).toEqual([expect.stringMatching(/^http:\/\/h\/auth is asked in plain text/)]);
  });

  test('credentials become a header and are shown nowhere', () => {
    const endpoint = one('http', 'http://us%40er:pa:ss@h/x?token=hidden');
    expect(endpoint).toMatchObject({
      url: 'http://h/x',
      authorization: `Basic ${Buffer.from('us@er:pa:ss').toString('base64')}`,
    });
    for (const addr of [
      'http://u:secret@h:x',
      'u:secret@h:x?secret',
      'ftp://u:secret@h',
      'http://u:%secret@h',
    ]) {
      const thrown = (() => {
        try {
          return parseEndpoints('auth', 'http', addr);
        } catch (error) {
          return error as Error;
        }
      })();
      expect(thrown).toBeInstanceOf(PluginError);
      expect((thrown as Error).message).not.toContain('secret');
    }
  });

  test.each([
    ['grpc://h:1', /`type: grpc`/],
    ['ftp://h', /ftp:\/\/ is not known/],
    ['dns:///h:1', /write/],
    ['http://', /host is missing/],
    ['http:///auth', /host is missing/],
    ['/auth', /host is missing/],
    ['http://h:99999/', /no port/],
  ])('%s is refused with what would be right', (addr, message) => {
    expect(() => parseEndpoints('auth', 'http', addr)).toThrow(message);
  });
});

describe('several', () => {
  test('a comma counts before an address only', () => {
    expect(urls('grpc', 'a:1,b:2, c:3')).toEqual(['grpc://a:1', 'grpc://b:2', 'grpc://c:3']);
    expect(urls('grpc', ['a:1', 'b:2,unix:/c,d'])).toEqual(['grpc://a:1', 'grpc://b:2', 'unix:/c,d']);
    expect(urls('http', 'http://a/x,y,https://b/?q=1,2,c:3/z')).toEqual([
      'http://a/x,y',
      'https://b/',
      'http://c:3/z',
    ]);
    expect(one('http', 'http://a/?at=9:15,10:30').path).toBe('/?at=9:15,10:30');
    expect(one('http', 'http://u:a,b:1@h/').connect).toEqual(tcp('h', 80));
  });

  test('no address at all is an error', () => {
    expect(() => parseEndpoints('auth', 'grpc', [])).toThrow(/no address/);
    expect(() => parseEndpoints('auth', 'grpc', 'a:1,')).toThrow(PluginError);
  });
});

describe('properties', () => {
  const host = fc.oneof(
    fc.domain(),
    fc.ipV4(),
    fc.ipV6().map((ip) => `[${ip}]`),
  );
  const port = fc.integer({ min: 1, max: 65535 });
  const address = fc.tuple(host, port).map(([name, number]) => `${name}:${number}`);

  test('a list of addresses is these addresses, and what they say is what is connected to', () => {
    fc.assert(
      fc.property(fc.array(address, { minLength: 1, maxLength: 4 }), (list) => {
        const { endpoints } = parseEndpoints('auth', 'grpc', list.join(','));
        expect(endpoints.map(({ authority }) => authority)).toEqual(list);
        for (const { connect } of endpoints) {
          if (!('host' in connect)) throw new Error('not a host');
          const written = connect.host.includes(':') ? `[${connect.host}]` : connect.host;
          expect(list).toContain(`${written}:${connect.port}`);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('any text is endpoints or a PluginError, and never shows what stands before an @ or after a ?', () => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc
        .tuple(fc.constantFrom('http://', 'https://', 'grpc://', 'unix:', ''), fc.string(), address)
        .map(([scheme, middle, end]) => scheme + middle + end),
      fc
        .tuple(address, fc.webPath(), fc.webQueryParameters())
        .map(([a, p, q]) => `http://top:secret@${a}${p}?secret${q}`),
    );
    fc.assert(
      fc.property(
        text,
        fc.constantFrom('grpc' as const, 'http' as const),
        fc.boolean(),
        (addr, transport, tls) => {
          let shown: string;
          try {
            const { endpoints, warnings } = parseEndpoints('auth', transport, addr, tls ? {} : undefined);
            expect(endpoints.length).toBeGreaterThan(0);
            for (const { path, authority, authorization = '' } of endpoints) {
              expect(path ?? '/').toMatch(/^\/[!-~]*$/);
              expect(authority).toMatch(/^[!-~]+$/);
              expect(authorization).toMatch(/^[ -~]*$/);
            }
            shown = JSON.stringify([endpoints.map(({ url }) => url), warnings]);
          } catch (error) {
            if (!(error instanceof PluginError)) throw error;
            shown = error.message;
          }
          if (addr.startsWith('http://top:secret@')) expect(shown).not.toContain('secret');
        },
      ),
      { numRuns: 1000 },
    );
  });
});
