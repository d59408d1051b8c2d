import { describe, expect, test } from 'vitest';
import type { PluginError } from '@sallyport/plugin';
import type { Packet } from 'dns-packet';
import { parseNameserver } from './address.ts';
import { records, replyTo, serveTcp, serveUdp, soa, zone } from './dns-server.fixture.ts';
import { createResolver } from './resolver.ts';
import { testResolver } from './resolver.fixture.ts';

const types = (server: { queries: readonly Packet[] }) =>
  server.queries.map(({ questions }) => questions![0]!.type);
const both = zone({ 'a.example': ['2001:db8::1', '192.0.2.1'] });

const failure = (code: string, message: RegExp) =>
  expect.objectContaining({ name: 'PluginError', code, message: expect.stringMatching(message) as string });

describe('which family', () => {
  test.each([
    ['IPv4 first', {}, 'ip', ['A'], ['192.0.2.1']],
    ['as preferred', { prefer: 'ipv6' }, 'ip', ['AAAA'], ['2001:db8::1']],
    ['as the asker says', { prefer: 'ipv6' }, 'ip4', ['A'], ['192.0.2.1']],
    ['as the asker says', {}, 'ip6', ['AAAA'], ['2001:db8::1']],
    ['the only one', { only: 'ipv6' }, 'ip', ['AAAA'], ['2001:db8::1']],
    ['the only one, whatever the asker says', { only: 'ipv4' }, 'ip6', ['A'], ['192.0.2.1']],
  ] as const)('%s: %j for %s', async (_what, options, network, asked, ips) => {
    const server = await serveUdp(both);
    const resolver = testResolver({ nameservers: [{ ...server, ...options }] });
    expect(await resolver.ask('a.example', network)).toEqual(ips);
    expect(types(server)).toEqual(asked);
  });

  test('the other one, when there is no address in the first', async () => {
    const server = await serveUdp(zone({ 'six.example': ['2001:db8::1'], 'four.example': ['192.0.2.1'] }));
    expect(await testResolver({ nameservers: [server] }).ask('six.example')).toEqual(['2001:db8::1']);
    expect(types(server)).toEqual(['A', 'AAAA']);
    const other = testResolver({ nameservers: [{ ...server, prefer: 'ipv6' }] });
    expect(await other.ask('four.example')).toEqual(['192.0.2.1']);
    expect(types(server)).toEqual(['A', 'AAAA', 'AAAA', 'A']);
    expect(await testResolver({ nameservers: [{ ...server, only: 'ipv4' }] }).ask('six.example')).toEqual([]);
  });

  test('none, for a name that does not exist at all', async () => {
    const server = await serveUdp(zone({}));
    const resolver = testResolver({ nameservers: [server] });
    expect(await resolver.ask('a.example')).toEqual([]);
    expect(types(server)).toEqual(['A']);
    expect(resolver.meta.reason).toBe(`${server.address.text}: there is no such name`);
    expect(resolver.events).toMatchObject([
      { outcome: 'ok', endpoint: server.address.text, reason: resolver.meta.reason },
    ]);
  });
});

describe('what is asked', () => {
  test('is never an address', async () => {
    const server = await serveUdp(both);
    const resolver = testResolver({ nameservers: [server] });
    for (const ip of ['192.0.2.7', '::1', '::ffff:192.0.2.1', '0.0.0.0'])
      expect(await resolver.ask(ip)).toEqual([ip]);
    expect([server.queries, resolver.events]).toEqual([[], []]);
  });

  test('is a name in one spelling', async () => {
    const server = await serveUdp(
      zone({ 'a.example': ['192.0.2.1'], 'xn--bcher-kva.example': ['192.0.2.2'] }),
    );
    const resolver = testResolver({ nameservers: [server] });
    for (const name of ['A.Example', 'a.example.', 'a.example'])
      expect(await resolver.ask(name)).toEqual(['192.0.2.1']);
    expect(await resolver.ask('bücher.example')).toEqual(['192.0.2.2']);
    expect(server.queries).toHaveLength(2);
  });

  test.each([
    '',
    '.',
    'a..example',
    'a b',
    'a/b',
    '127.2',
    '0x7f000001',
    `${'a'.repeat(64)}.example`,
    `${'a.'.repeat(127)}example`,
    'a\0.example',
  ])('is no name that cannot be: %j', async (name) => {
    const server = await serveUdp(both);
    const resolver = testResolver({ nameservers: [server] });
    expect(await resolver.ask(name)).toEqual([]);
    expect(server.queries).toEqual([]);
    expect(resolver.meta.reason).toMatch(/is no host name$/);
  });

  test('says where the client is, when it is told to', async () => {
    const server = await serveTcp(both);
    await testResolver({ nameservers: [{ ...server, clientIP: '203.0.113.7' }] }).ask('a.example');
    await testResolver({ nameservers: [server] }).ask('a.example');
    const [told, untold] = server.queries;
    expect(told!.additionals![0]!.options![0]).toMatchObject({ ip: '203.0.113.0', sourcePrefixLength: 24 });
    expect(untold!.additionals).toEqual([]);
  });
});

describe('several nameservers', () => {
  test('are asked in order, and the first with an address is the last', async () => {
    const first = await serveUdp(both);
    const second = await serveUdp(both);
    await testResolver({ nameservers: [first, second] }).ask('a.example');
    expect([first.queries.length, second.queries.length]).toEqual([1, 0]);
  });

  test('know different names', async () => {
    const inner = await serveUdp(zone({ 'in.example': ['10.0.0.1'] }));
    const outer = await serveUdp(zone({ 'out.example': ['192.0.2.1'] }));
    const resolver = testResolver({ nameservers: [inner, outer] });
    expect(await resolver.ask('in.example')).toEqual(['10.0.0.1']);
    expect(await resolver.ask('out.example')).toEqual(['192.0.2.1']);
    expect(await resolver.ask('no.example')).toEqual([]);
    expect(resolver.events.map(({ endpoint }) => endpoint)).toEqual([
      inner.address.text,
      outer.address.text,
      inner.address.text,
    ]);
  });

  test.each([
    [1, /FORMERR/],
    [2, /SERVFAIL/],
    [4, /NOTIMP/],
    [5, /REFUSED/],
    [10, /response code 10/],
  ])('stand in for one that answers with code %i', async (code, why) => {
    const broken = await serveUdp((query) => replyTo(query, { code }));
    const whole = await serveUdp(both);
    expect(await testResolver({ nameservers: [broken, whole] }).ask('a.example')).toEqual(['192.0.2.1']);
    expect(await testResolver({ nameservers: [broken] }).ask('a.example')).toEqual(
      failure('unreachable', why),
    );
    // Whatever stands beside such a code is no answer.
    const lying = await serveUdp((query) =>
      replyTo(query, { code, answers: records('a.example', ['192.0.2.66']) }),
    );
    expect(await testResolver({ nameservers: [lying] }).ask('a.example')).toEqual(
      failure('unreachable', why),
    );
  });

  test('stand in for one that names others, is silent, or is gone', async () => {
    const referring = await serveUdp((query) =>
      replyTo(query, { authorities: [{ type: 'NS', name: 'example', data: 'ns.example' }] }),
    );
    const silent = await serveUdp(() => undefined);
    const gone = await serveUdp(both);
    await gone.close();
    const failing = [referring, { ...silent, timeoutMs: 100 }, gone];
    const whole = await serveUdp(both);
    expect(await testResolver({ nameservers: [...failing, whole] }).ask('a.example')).toEqual(['192.0.2.1']);
    const resolver = testResolver({ nameservers: failing });
    const error = (await resolver.ask('a.example')) as PluginError;
    expect(error.code).toBe('unreachable');
    expect(error.message).toBe(
      'no nameserver could say the addresses of a.example: ' +
        `${referring.address.text}: it only names other servers, as it does not look up names for us; ` +
        `${silent.address.text}: no answer within 100 ms; ` +
        `${gone.address.text}: nothing listens there (connection refused)`,
    );
    expect(resolver.events).toMatchObject([
      {
        outcome: 'unreachable',
        error: error.message,
        endpoint: failing.map(({ address }) => address.text).join(', '),
      },
    ]);
  });

  test('that are all silent are a timeout', async () => {
    const silent = await serveUdp(() => undefined);
    const nameservers = [
      { ...silent, timeoutMs: 50 },
      { ...silent, timeoutMs: 60 },
    ];
    expect(await testResolver({ nameservers }).ask('a.example')).toEqual(
      failure('timeout', /50 ms; .* 60 ms/),
    );
  });

  test('of which one says no and the others nothing, say no', async () => {
    const gone = await serveUdp(both);
    await gone.close();
    const empty = await serveUdp(zone({}));
    expect(await testResolver({ nameservers: [gone, empty] }).ask('a.example')).toEqual([]);
    expect(await testResolver({ nameservers: [empty, gone] }).ask('a.example')).toEqual([]);
  });

  test('a nameserver has its time for both families together', async () => {
    const slow = await serveUdp((query) =>
      query.questions![0]!.type === 'A' ? replyTo(query, { authorities: [soa(0)] }) : undefined,
    );
    const resolver = testResolver({ nameservers: [{ ...slow, timeoutMs: 100 }] });
    expect(await resolver.ask('a.example')).toEqual(failure('timeout', /no answer within 100 ms/));
    expect(types(slow)).toEqual(['A', 'AAAA']);
  });

  test('the asker is told how far it had come', async () => {
    const silent = await serveUdp(() => undefined);
    const refusing = await serveUdp((query) => replyTo(query, { code: 5 }));
    const resolver = testResolver({ nameservers: [refusing, silent] });
    const error = (await resolver.ask('a.example', 'ip', AbortSignal.timeout(150))) as PluginError;
    expect(error).toMatchObject({ code: 'timeout', endpoint: silent.address.text });
    expect(error.message).toBe(
      `no nameserver answered in time (${refusing.address.text}: it answered REFUSED (it does not answer us); ` +
        `${silent.address.text}: no answer yet)`,
    );
  });
});

test('a nameserver may have a name, which the system looks up', async () => {
  const server = await serveUdp(both);
  const address = parseNameserver(`localhost:${String(server.address.port)}`);
  const resolver = testResolver({ nameservers: [{ address }] });
  // Where the system knows localhost as ::1 first, nothing listens there.
  const answer = await resolver.ask('a.example');
  expect([['192.0.2.1'], failure('unreachable', /connection refused/)]).toContainEqual(answer);
  const unknown = testResolver({
    nameservers: [{ address: parseNameserver('nowhere.invalid'), timeoutMs: 2000 }],
  });
  // How long the system takes for that is the system's affair.
  expect(await unknown.ask('a.example')).toMatchObject({
    message: expect.stringMatching(/its name|2000 ms/) as string,
  });
});

test('a resolver without a nameserver cannot be made', () => {
  expect(() => createResolver({ nameservers: [] })).toThrow(TypeError);
});

test('an observer that is not there is not told', async () => {
  const server = await serveUdp(both);
  const resolver = createResolver({ nameservers: [server] });
  expect(await resolver.resolve({ network: 'ip', host: 'a.example', user: '' }, { meta: {} })).toEqual([
    '192.0.2.1',
  ]);
  resolver.close();
});
