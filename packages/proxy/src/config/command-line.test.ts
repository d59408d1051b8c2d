import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatFindings } from '../schema/report.ts';
import { loadConfig } from './load.ts';
import { printConfig } from './print.ts';

/** What these arguments come to: the file that means the same, and what is said about it. */
async function line(args: readonly string[], lenient = false) {
  const services: string[] = [];
  const nodes: string[] = [];
  for (let index = 0; index < args.length; index += 2)
    (args[index] === '-L' ? services : nodes).push(args[index + 1]!);
  const { config, report, trees } = await loadConfig([], { lenient, commandLine: { services, nodes } });
  return {
    config,
    file: JSON.parse(printConfig(trees, 'json')) as Record<string, unknown>,
    errors: formatFindings(report.errors),
    warnings: formatFindings(report.warnings),
  };
}

async function good(...args: string[]) {
  const { errors, file, config } = await line(args);
  expect(errors).toEqual([]);
  expect(config).toBeDefined();
  return file;
}

const errors = async (...args: string[]) => (await line(args)).errors;
const http = { handler: { type: 'http' }, listener: { type: 'tcp' } };

describe('what a URL means', () => {
  test.each(['socks4', 'socks4a'])(
    'a user of %s has no password, and every other user has one',
    async (type) => {
      const chained = async (scheme: string) => line(['-L', ':1', '-F', `${scheme}://ada@n.test:1`]);
      const node = (await chained(type)).config?.chains[0]?.hops[0]?.nodes?.[0];
      expect(node?.connector).toMatchObject({ type, auth: { username: 'ada', password: '' } });
      expect((await chained('socks5')).errors).toEqual([expect.stringMatching(/`password` is missing$/)]);
      expect((await line(['-L', ':1', '-F', `${type}://:secret@n.test:1`])).errors).toHaveLength(1);
      // Who comes in has to prove it.
      expect(await errors('-L', `${type}://ada@:1`)).toEqual([
        expect.stringMatching(/`password` is missing$/),
      ]);
    },
  );

  test('a service, its user, and the parameters of each block', async () => {
    expect(
      await good(
        '-L',
        'socks5+tls://me:p%40ss@127.0.0.1:1080?udp=true&retries=2&keepalive=false&handler.readTimeout=5&enableStats=true',
      ),
    ).toEqual({
      services: [
        {
          name: 'service-0',
          addr: '127.0.0.1:1080',
          handler: {
            type: 'socks5',
            retries: 2,
            auth: { username: 'me', password: 'p@ss' },
            metadata: { udp: 'true', readTimeout: '5' },
          },
          listener: { type: 'tls', metadata: { keepalive: 'false' } },
          metadata: { enableStats: 'true' },
        },
      ],
    });
  });

  test('`https` is http over TLS; `auth` is base64; capitals of a name do not count', async () => {
    expect(await good('-L', 'https://:8443?AUTH=bWU6cDp3')).toMatchObject({
      services: [
        {
          handler: { type: 'http', auth: { username: 'me', password: 'p:w' } },
          listener: { type: 'tls' },
        },
      ],
    });
  });

  test('a range of ports is as many services, numbered on over all -L', async () => {
    const { services } = (await good('-L', 'http://:8000-8002', '-L', 'http://[::1]:9000')) as {
      services: object[];
    };
    expect(services).toEqual([
      { name: 'service-0', addr: ':8000', ...http },
      { name: 'service-1', addr: ':8001', ...http },
      { name: 'service-2', addr: ':8002', ...http },
      { name: 'service-3', addr: '[::1]:9000', ...http },
    ]);
  });

  test('a unix socket is a path', async () => {
    expect(await good('-L', 'http+unix:///run/x.sock')).toMatchObject({
      services: [{ addr: '/run/x.sock', listener: { type: 'unix' } }],
    });
    expect(await good('-L', 'http+unix://x.sock', '-F', 'http+unix:///run/y.sock')).toMatchObject({
      services: [{ addr: './x.sock' }],
      chains: [{ hops: [{ nodes: [{ addr: '/run/y.sock', dialer: { type: 'unix' } }] }] }],
    });
  });

  test('every -F is a hop of chain-0, and several hosts are several nodes', async () => {
    expect(
      await good(
        '-L',
        'http://:8080',
        '-F',
        'socks5+tls://u:p@one:1,two:2?strategy=fifo&failTimeout=5&secure=true&notls=true&handshakeTimeout=3&weight=2',
        '-F',
        'three:3',
      ),
    ).toEqual({
      services: [{ name: 'service-0', addr: ':8080', ...http, handler: { type: 'http', chain: 'chain-0' } }],
      chains: [
        {
          name: 'chain-0',
          hops: [
            {
              name: 'hop-0',
              selector: { strategy: 'fifo', failTimeout: '5s' },
              nodes: ['one:1', 'two:2'].map((addr, index) => ({
                name: `node-${String(index)}`,
                addr,
                connector: {
                  type: 'socks5',
                  auth: { username: 'u', password: 'p' },
                  metadata: { notls: 'true' },
                },
                dialer: { type: 'tls', tls: { secure: true }, metadata: { handshakeTimeout: '3' } },
                metadata: { weight: '2' },
              })),
            },
            {
              name: 'hop-1',
              nodes: [
                { name: 'node-0', addr: 'three:3', connector: { type: 'http' }, dialer: { type: 'tcp' } },
              ],
            },
          ],
        },
      ],
    });
  });

  test("GOST's modules are lists with numbered names", async () => {
    expect(
      await good(
        '-L',
        'http://:8080?admission=10.0.0.0/8&bypass=~*.example.org,10.1.1.1&hosts=a:1.2.3.4,b:::1&resolver=1.1.1.1,https://1.0.0.1/dns-query&prefer=ipv6&limiter.in=1MB&limiter.conn.out=2KB&climiter=5&rlimiter=0.5',
        '-F',
        'node:1?bypass=1.1.1.1',
      ),
    ).toMatchObject({
      services: [
        {
          admission: 'admission-0',
          bypass: 'bypass-1',
          resolver: 'resolver-0',
          hosts: 'hosts-0',
          limiter: 'limiter-0',
          climiter: 'climiter-0',
          rlimiter: 'rlimiter-0',
        },
      ],
      chains: [{ hops: [{ bypass: 'bypass-0' }] }],
      admissions: [{ name: 'admission-0', matchers: ['10.0.0.0/8'] }],
      bypasses: [
        { name: 'bypass-0', matchers: ['1.1.1.1'] },
        { name: 'bypass-1', whitelist: true, matchers: ['*.example.org', '10.1.1.1'] },
      ],
      hosts: [
        {
          mappings: [
            { hostname: 'a', ip: '1.2.3.4' },
            { hostname: 'b', ip: '::1' },
          ],
        },
      ],
      resolvers: [
        {
          nameservers: [
            { addr: '1.1.1.1', prefer: 'ipv6' },
            { addr: 'https://1.0.0.1/dns-query', prefer: 'ipv6' },
          ],
        },
      ],
      limiters: [{ limits: ['$ 1MB', '$$ 0 2KB'] }],
      climiters: [{ limits: ['$ 5'] }],
      rlimiters: [{ limits: ['$ 0.5'] }],
    });
  });

  test.each([
    ['grpc://t%2Bk@127.0.0.1:8000', { type: 'grpc', addr: '127.0.0.1:8000', token: 't+k' }],
    ['grpc://t+k@h:1?timeout=2s', { type: 'grpc', addr: 'h:1', token: 't+k', timeout: '2s' }],
    ['grpc:///run/p.sock', { type: 'grpc', addr: 'unix:/run/p.sock' }],
    ['grpcs://h:1', { type: 'grpc', addr: 'h:1', tls: {} }],
    [
      'grpcs://h:1?serverName=x%26timeout=1s',
      { type: 'grpc', addr: 'h:1', tls: { serverName: 'x' }, timeout: '1s' },
    ],
    ['plugin+http://t@h:1/a/b', { type: 'http', addr: 'http://h:1/a/b', token: 't' }],
    ['plugin+https://h:1/a?secure=false', { type: 'http', addr: 'https://h:1/a', tls: { secure: false } }],
  ])('a plugin by its URL: %s', async (url, plugin) => {
    for (const [parameter, list] of [
      ['auther', 'authers'],
      ['admission', 'admissions'],
      ['bypass', 'bypasses'],
      ['hosts', 'hosts'],
      ['resolver', 'resolvers'],
      ['limiter', 'limiters'],
      ['observer', 'observers'],
      ['recorder', 'recorders'],
      ['hop', 'hops'],
    ] as const) {
      expect(await good('-L', `http://:8080-8081?${parameter}=${url}`)).toMatchObject({
        // Two services, one plugin.
        [list]: [{ name: `${parameter}-0`, plugin }],
      });
    }
  });

  test('a hop plugin names the node that follows those of -F', async () => {
    expect(await good('-L', 'http://:1?hop=grpc://h:1', '-L', 'http://:2', '-F', 'a:1')).toMatchObject({
      services: [{ handler: { chain: 'chain-1' } }, { handler: { chain: 'chain-0' } }],
      chains: [
        { name: 'chain-0', hops: [{ name: 'hop-0', nodes: [{ addr: 'a:1' }] }] },
        { name: 'chain-1', hops: [{ nodes: [{ addr: 'a:1' }] }, { name: 'hop-0' }] },
      ],
      hops: [{ name: 'hop-0', plugin: { addr: 'h:1' } }],
    });
  });

  test('modules that a router names among its own keys, and a device that joins it', async () => {
    const plugin = (addr: string) => ({ type: 'grpc', addr });
    expect(
      await good(
        '-L',
        'router://:8424?router=grpc://127.0.0.1:8000&sd=grpc://127.0.0.1:8000&entrypoint=192.0.2.1:1',
      ),
    ).toEqual({
      services: [
        {
          ...{ name: 'service-0', addr: ':8424', listener: { type: 'tcp' } },
          handler: {
            type: 'router',
            metadata: { sd: 'sd-0', router: 'router-0', entrypoint: '192.0.2.1:1' },
          },
        },
      ],
      sds: [{ name: 'sd-0', plugin: plugin('127.0.0.1:8000') }],
      routers: [{ name: 'router-0', plugin: plugin('127.0.0.1:8000') }],
    });
    const id = '01234567-89ab-4def-8123-456789abcdef';
    expect(
      await good(
        '-L',
        'tun://:0/site-a?net=10.0.0.1/24',
        '-F',
        `router+tls://192.0.2.1:8424?router.id=${id}`,
      ),
    ).toMatchObject({
      services: [
        {
          handler: { type: 'tun', chain: 'chain-0' },
          listener: { type: 'tun', metadata: { net: '10.0.0.1/24' } },
          forwarder: { nodes: [{ addr: 'site-a' }] },
        },
      ],
      chains: [
        {
          hops: [
            {
              nodes: [
                { connector: { type: 'router', metadata: { 'router.id': id } }, dialer: { type: 'tls' } },
              ],
            },
          ],
        },
      ],
    });
  });

  test('a name stays one', async () => {
    expect(await errors('-L', 'http://:8080?auther=users')).toEqual([
      '-L:1:21: services[0].handler.auther: service-0: auther `users` is not defined; no auther is defined',
    ]);
  });
});

describe('forward targets', () => {
  const targets = (list: string[]) => ({
    nodes: list.map((addr, index) => ({ name: `target-${String(index)}`, addr })),
  });

  test('the path says where to; the handler follows the listener', async () => {
    expect(await good('-L', 'tcp://:8080/a:1,b:2-3?strategy=random')).toMatchObject({
      services: [
        {
          handler: { type: 'tcp' },
          forwarder: { ...targets(['a:1', 'b:2', 'b:3']), selector: { strategy: 'random' } },
        },
      ],
    });
    expect(await good('-L', 'tls://:8080/a:1')).toMatchObject({
      services: [{ handler: { type: 'forward' } }],
    });
    expect(await good('-L', 'unix://a.sock/b.sock')).toMatchObject({
      services: [{ addr: './a.sock', forwarder: { nodes: [{ addr: './b.sock' }] } }],
    });
  });

  test('relay goes where its client says, or with a target there', async () => {
    expect(await good('-L', 'relay://:8421', '-F', 'relay+wss://me:pw@h:443?nodelay=true')).toMatchObject({
      services: [{ handler: { type: 'relay' }, listener: { type: 'tcp' } }],
      chains: [
        {
          hops: [
            {
              nodes: [
                {
                  connector: { type: 'relay', auth: { username: 'me' }, metadata: { nodelay: 'true' } },
                  dialer: { type: 'wss' },
                },
              ],
            },
          ],
        },
      ],
    });
    expect(await good('-L', 'relay+tls://:8421/a:1,b:2')).toMatchObject({
      services: [
        { handler: { type: 'relay' }, listener: { type: 'tls' }, forwarder: targets(['a:1', 'b:2']) },
      ],
    });
  });

  test('ports and targets pair up', async () => {
    const { services } = (await good('-L', 'tcp://:8000-8001/a:1-2')) as { services: object[] };
    expect(services).toMatchObject([
      { forwarder: { nodes: [{ addr: 'a:1' }] } },
      { forwarder: { nodes: [{ addr: 'a:2' }] } },
    ]);
    expect(await errors('-L', 'tcp://:8000-8002/a:1-2')).toContain(
      '-L:1:17: 3 ports and 2 targets do not pair up',
    );
  });

  test('a rewriter is asked about what the targets answer, a hop plugin which target it is', async () => {
    expect(await good('-L', 'tcp://:1/a:1?rewriter=grpc://h:1&sniffing=true')).toMatchObject({
      services: [
        {
          forwarder: { nodes: [{ http: { rewriteResponseBody: [{ rewriter: 'rewriter-0', type: '*' }] } }] },
        },
      ],
      rewriters: [{ name: 'rewriter-0', plugin: { addr: 'h:1' } }],
    });
    expect(await good('-L', 'tcp://:1?hop=grpc://h:1')).toMatchObject({
      services: [{ handler: { type: 'tcp' }, forwarder: { hop: 'hop-0' } }],
    });
  });
});

describe('what is wrong', () => {
  test.each([
    ['htp://:80', '-L:1:1: unknown scheme `htp`; did you mean `http`?'],
    ['http+tcl://:80', '-L:1:6: unknown scheme `tcl`; did you mean `tcp`?'],
    ['http+tls+tcp://:80', '-L:1:10: a scheme is at most a handler and a listener: `http+tls`'],
    ['masque://:80', "-L:1:1: GOST's handler `masque` is not served by this version; served: "],
    ['http+quic://:80', "-L:1:6: GOST's listener `quic` is not served by this version; served: "],
    ['http://:80?bypss=1', '-L:1:12: unknown parameter `bypss`; did you mean `bypass`?'],
    ['http://:80?so_mark=1', "-L:1:12: GOST's parameter `so_mark` is not served by this version"],
    ['http://:80?handler.bogus=1', '-L:1:12: services[0].handler.metadata: unknown key `bogus`'],
    ['http://:80?bypass=a&bypass=b', '-L:1:21: this parameter is given twice'],
    ['http://:80?bypass=', '-L:1:19: `bypass` is empty; give it a value or remove it'],
    ['http://:80?climiter=grpc://h:1', '-L:1:21: `climiter` is a number; it has no plugin form'],
    [
      'http://:80?auther=grcp://hunter2@h:1',
      '-L:1:19: `grcp://` is no plugin; did you mean `grpc`?; plugins are grpc://, grpcs://, plugin+http://, plugin+https://',
    ],
    [
      'http://:80?auther=grpc://h:1?timeuot=1s',
      "-L:1:19: unknown parameter `timeuot` of a plugin's URL; did you mean `timeout`?",
    ],
    ['http://:80?auther=grpc://h:1?secure=false', '-L:1:19: `secure` is for plugins over TLS: `grpcs://`'],
    ['http://:80?auth=hunter2', '-L:1:17: `auth` is `user:password` in base64'],
    ['http://:80#x', '-L:1:11: `#` cannot stand in a URL; write `%23`'],
    [
      'http://a:%zzhunter2@:80',
      '-L:1:10: a `%` is not followed by two hexadecimal digits that make UTF-8 text; write `%25` for a percent sign',
    ],
    ['http://user@:80', '-L:1:8: services[0].handler.auth.password: `password` is missing'],
    [
      'http://:90-80',
      '-L:1:8: a port range goes from the lower port to the higher one, such as `:8000-8010`',
    ],
    ['http://a:hunter2@host', '-L:1:18: services[0].addr: expected an address to listen on'],
    ['http://:80?retries=many', '-L:1:20: services[0].handler.retries: expected a whole number'],
    ['http://:80?certFile=/none/c.pem', '-L:1:21: services[0].listener.tls.certFile: '],
    ['http://:80?rewriter=grpc://h:1', '-L:1:12: `rewriter` is for forward targets, and there are none'],
  ])('%s', async (url, message) => {
    const [first = '', ...more] = await errors('-L', url);
    expect(first.slice(0, message.length)).toBe(message);
    expect([first, ...more].join()).not.toContain('hunter2');
  });

  test('of several URLs the place says which one', async () => {
    expect(await errors('-L', 'http://:80', '-F', 'a:1', '-F', 'sock5://b:2')).toEqual([
      '-F (2nd):1:1: unknown scheme `sock5`; did you mean `socks5`?',
    ]);
  });

  test('what changes nothing is a warning, and so is what is unknown where that is asked for', async () => {
    const { warnings } = await line(['-L', 'http://:80?strategy=fifo&prefer=ipv4', '-F', 'a:1?secure=true']);
    expect(warnings).toEqual([
      '-F:1:12: TLS parameters have no effect: dialer tcp speaks no TLS',
      '-L:1:12: `strategy` has no effect: it chooses among forward targets, and there are none',
      '-L:1:26: `prefer` has no effect: it says which addresses nameservers are asked for first',
    ]);
    const lenient = await line(['-L', 'http://:80?bogus=1'], true);
    expect(lenient.errors).toEqual([]);
    expect(lenient.warnings).toEqual(['-L:1:12: unknown parameter `bogus` (ignored, --lenient)']);
  });

  test('one mistake in a range of ports is one message; a range has its limit', async () => {
    expect(await errors('-L', 'http://:8000-8100?retries=x')).toHaveLength(1);
    expect(await errors('-L', 'tcp://:1/a:1-65535,b:1-65535')).toContain(
      '-L:1:9: these ranges stand for more than 65536 addresses',
    );
  });

  test('any text is a configuration or says what is wrong, and never hangs', async () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom(
        ...[
          'http',
          'tls',
          '://',
          '+',
          ':',
          '@',
          '/',
          '?',
          '&',
          '=',
          '%',
          '%41',
          ',',
          '-',
          '#',
          ':80',
          '1-9',
          '\0',
        ],
        ...['auther=', 'bypass=', 'hosts=', 'grpc://', 'plugin+http://', 'handler.', 'limiter.in=', '~'],
      ),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), fc.boolean(), async (pieces, node) => {
        const text = pieces.join('');
        const found = await line(node ? ['-L', 'http://:80', '-F', text] : ['-L', text]);
        expect(found.config !== undefined || found.errors.length > 0).toBe(true);
      }),
      { numRuns: 300 },
    );
  }, 60_000);
});

test('services of a file that have no name keep out of the way of those of the command line', async () => {
  const file = '{"services": [{"addr": ":1", "handler": {"type": "http"}}]}';
  const { config, report } = await loadConfig([file], {
    commandLine: { services: ['http://:2'], nodes: [] },
  });
  expect(formatFindings(report.errors)).toEqual([]);
  expect(config?.services.map(({ name }) => name)).toEqual(['service-1', 'service-0']);
});
