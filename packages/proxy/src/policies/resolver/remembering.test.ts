import type { Packet } from 'dns-packet';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createAnswerMemory } from './answer-memory.ts';
import { parseNameserver } from './address.ts';
import { bindUdp, records, replyTo, serveUdp, soa, zone } from './dns-server.fixture.ts';
import type { Nameserver } from './nameserver.ts';
import { testResolver } from './resolver.fixture.ts';
import dnsPacket from 'dns-packet';

/** A nameserver whose answers can be changed, and a resolver whose clock stands still until it is moved. */
async function remembering(options: Partial<Nameserver> = {}, ttl = 300) {
  let table: Record<string, string[]> = { 'a.example': ['192.0.2.1'] };
  const server = await serveUdp((query, bytes) => zone(table, ttl)(query, bytes));
  let time = 1000;
  const resolver = testResolver({ nameservers: [{ ...server, ...options }], now: () => time });
  return {
    server,
    resolver,
    pass: (seconds: number) => (time += seconds * 1000),
    change: (next: Record<string, string[]>) => (table = next),
    sources: () => resolver.events.map(({ source }) => source),
  };
}

describe('an answer', () => {
  test('is remembered as long as its record says', async () => {
    const { resolver, server, pass, sources } = await remembering();
    await resolver.ask('a.example');
    expect(resolver.meta.ttlMs).toBe(300_000);
    pass(299);
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    expect(resolver.meta.ttlMs).toBe(1000);
    expect(resolver.events[1]).toMatchObject({
      source: 'cached',
      endpoint: server.address.text,
      bytesSent: 0,
    });
    pass(1);
    await resolver.ask('a.example');
    expect(sources()).toEqual(['live', 'cached', 'live']);
    expect(server.queries).toHaveLength(2);
  });

  test('counts for each network that it is an answer to', async () => {
    const { resolver, sources } = await remembering();
    await resolver.ask('a.example', 'ip');
    await resolver.ask('a.example', 'ip4');
    await resolver.ask('a.example', 'ip6');
    expect(sources()).toEqual(['live', 'cached', 'live']);
  });

  test('that holds for no time is not remembered', async () => {
    const { resolver, sources } = await remembering({}, 0);
    await resolver.ask('a.example');
    await resolver.ask('a.example');
    expect(sources()).toEqual(['live', 'live']);
  });

  test('is remembered as long as `ttl` says', async () => {
    const { resolver, pass, sources } = await remembering({ ttlMs: 10_000 }, 0);
    await resolver.ask('a.example');
    pass(9);
    await resolver.ask('a.example');
    pass(1);
    await resolver.ask('a.example');
    expect(sources()).toEqual(['live', 'cached', 'live']);
  });

  test('is not remembered with a `ttl` below zero', async () => {
    const { resolver, sources } = await remembering({ ttlMs: -1 });
    for (const name of ['a.example', 'a.example', 'no.example', 'no.example']) await resolver.ask(name);
    expect(sources()).toEqual(['live', 'live', 'live', 'live']);
    expect(resolver.meta.ttlMs).toBe(0);
  });

  test('of the second server is not lost on a first one that is gone', async () => {
    const first = await serveUdp(() => undefined);
    const second = await serveUdp(zone({ 'a.example': ['192.0.2.1'] }));
    const resolver = testResolver({ nameservers: [{ ...first, timeoutMs: 50 }, second] });
    await resolver.ask('a.example');
    await resolver.ask('a.example');
    expect(resolver.events).toMatchObject([
      { source: 'live' },
      { source: 'cached', endpoint: second.address.text },
    ]);
    expect(first.queries).toHaveLength(1);
  });
});

describe('that there is no address', () => {
  test.each([
    ['as the SOA record says', {}, 20, 20],
    ['for a minute at most', {}, 3600, 60],
    ['for `ttl` at most', { ttlMs: 5000 }, 3600, 5],
    ['as the SOA record says, whatever `ttl` says', { ttlMs: 500_000 }, 20, 20],
  ])('is remembered %s', async (_what, options, ttl, seconds) => {
    const { resolver, pass, sources, change } = await remembering(options, ttl);
    expect(await resolver.ask('no.example')).toEqual([]);
    pass(seconds - 1);
    change({ 'no.example': ['192.0.2.9'] });
    expect(await resolver.ask('no.example')).toEqual([]);
    expect(resolver.meta).toMatchObject({
      ttlMs: 1000,
      reason: expect.stringMatching(/no such name/) as string,
    });
    pass(1);
    expect(await resolver.ask('no.example')).toEqual(['192.0.2.9']);
    expect(sources()).toEqual(['live', 'cached', 'live']);
  });

  test('of a type is remembered for the type', async () => {
    const { resolver, server, change } = await remembering();
    change({ 'a.example': ['2001:db8::1'] });
    expect(await resolver.ask('a.example')).toEqual(['2001:db8::1']);
    expect(await resolver.ask('a.example')).toEqual(['2001:db8::1']);
    expect(await resolver.ask('a.example', 'ip4')).toEqual([]);
    expect(await resolver.ask('a.example', 'ip6')).toEqual(['2001:db8::1']);
    expect(server.queries).toHaveLength(2);
  });

  test('is not remembered without an SOA record', async () => {
    const server = await serveUdp((query) => replyTo(query, { code: 3 }));
    const resolver = testResolver({ nameservers: [server] });
    await resolver.ask('a.example');
    await resolver.ask('a.example');
    expect(server.queries).toHaveLength(2);
  });

  test('is the word of one server; a failure is nobody’s', async () => {
    let code = 2;
    const first = await serveUdp((query) => replyTo(query, { code: 3, authorities: [soa(60)] }));
    const second = await serveUdp((query) =>
      replyTo(query, code === 0 ? { answers: records('a.example', ['192.0.2.1']) } : { code }),
    );
    const resolver = testResolver({ nameservers: [first, second] });
    expect(await resolver.ask('a.example')).toEqual([]);
    code = 0;
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    expect([first.queries.length, second.queries.length]).toEqual([1, 2]);
  });
});

describe('an async nameserver', () => {
  test('answers what has expired once more, and is asked in the background', async () => {
    const { resolver, server, pass, change, sources } = await remembering({ async: true });
    await resolver.ask('a.example');
    change({ 'a.example': ['192.0.2.2'] });
    pass(301);
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    expect(resolver.meta).toMatchObject({ ttlMs: 0, reason: expect.stringMatching(/expired/) as string });
    await expect.poll(() => resolver.ask('a.example')).toEqual(['192.0.2.2']);
    expect(server.queries).toHaveLength(2);
    expect(new Set(sources().slice(1))).toEqual(new Set(['cached']));
  });

  test('forgets a name that is gone', async () => {
    const { resolver, pass, change } = await remembering({ async: true });
    await resolver.ask('a.example');
    change({});
    pass(301);
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    await expect.poll(() => resolver.ask('a.example')).toEqual([]);
  });

  test('is not forgotten for the word of another one while it cannot be reached', async () => {
    let code = 0;
    const inner = await serveUdp((query) =>
      replyTo(query, code === 0 ? { answers: records('a.example', ['10.0.0.1'], 1) } : { code }),
    );
    const outer = await serveUdp(zone({}));
    let time = 0;
    const nameservers = [{ ...inner, async: true }, outer];
    const resolver = testResolver({ nameservers, now: () => time });
    expect(await resolver.ask('a.example')).toEqual(['10.0.0.1']);
    code = 2;
    time = 2000;
    expect(await resolver.ask('a.example')).toEqual(['10.0.0.1']);
    await expect.poll(() => outer.queries.length).toBe(1);
    expect(await resolver.ask('a.example')).toEqual(['10.0.0.1']);
  });

  test('answers as before while it cannot be reached, for a day', async () => {
    const { resolver, server, pass } = await remembering({ async: true });
    await resolver.ask('a.example');
    await server.close();
    pass(300 + 86_399);
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    expect(await resolver.ask('a.example')).toEqual(['192.0.2.1']);
    pass(1);
    expect(await resolver.ask('a.example')).toMatchObject({ code: 'unreachable' });
  });

  test('is asked for 32 names at once at most', async () => {
    let isSilent = false;
    const server = await serveUdp((query) =>
      isSilent
        ? undefined
        : replyTo(query, { answers: records(query.questions![0]!.name, ['192.0.2.1'], 1) }),
    );
    let time = 0;
    const resolver = testResolver({ nameservers: [{ ...server, async: true }], now: () => time });
    const names = Array.from({ length: 40 }, (_, index) => `${String(index)}.example`);
    await Promise.all(names.map((name) => resolver.ask(name)));
    isSilent = true;
    time = 2000;
    for (const name of names) expect(await resolver.ask(name)).toEqual(['192.0.2.1']);
    // Each of them once, whoever asks again meanwhile.
    for (const name of names) await resolver.ask(name);
    const again = () => new Set(server.queries.slice(40).map(({ questions }) => questions![0]!.name)).size;
    await expect.poll(again).toBe(32);
  });
});

describe('equal questions', () => {
  /** A nameserver that answers when it is told to. */
  async function waiting() {
    const asked: { query: Packet; answer: () => void }[] = [];
    const socket = await bindUdp((bytes, from) => {
      const query = dnsPacket.decode(bytes);
      const reply = replyTo(query, { answers: records(query.questions![0]!.name, ['192.0.2.1']) });
      asked.push({ query, answer: () => socket.send(reply, from.port, from.address) });
    });
    onTestFinished(() => void socket.close());
    const address = parseNameserver(`127.0.0.1:${String(socket.address().port)}`);
    return { asked, resolver: testResolver({ nameservers: [{ address }] }) };
  }

  test('under way share one lookup, and nobody’s leaving ends it for the others', async () => {
    const { asked, resolver } = await waiting();
    const leaving = new AbortController();
    const first = resolver.ask('a.example', 'ip', leaving.signal);
    const second = resolver.ask('A.EXAMPLE.', 'ip', new AbortController().signal);
    const third = resolver.ask('a.example');
    await expect.poll(() => asked.length).toBe(1);
    leaving.abort();
    expect(await first).toMatchObject({ code: 'canceled' });
    asked[0]!.answer();
    expect([await second, await third]).toEqual([['192.0.2.1'], ['192.0.2.1']]);
    expect(asked).toHaveLength(1);
    expect(resolver.events.map(({ source, outcome }) => [source, outcome])).toEqual([
      ['live', 'canceled'],
      ['coalesced', 'ok'],
      ['coalesced', 'ok'],
    ]);
  });

  test('whose askers have all left are asked anew', async () => {
    const { asked, resolver } = await waiting();
    const leaving = new AbortController();
    const left = [
      resolver.ask('a.example', 'ip', leaving.signal),
      resolver.ask('a.example', 'ip', leaving.signal),
    ];
    await expect.poll(() => asked.length).toBe(1);
    leaving.abort();
    for (const outcome of await Promise.all(left)) expect(outcome).toMatchObject({ code: 'canceled' });
    const next = resolver.ask('a.example');
    await expect.poll(() => asked.length).toBe(2);
    asked[1]!.answer();
    expect(await next).toEqual(['192.0.2.1']);
  });

  test('of somebody who has left already are not asked', async () => {
    const { asked, resolver } = await waiting();
    expect(await resolver.ask('a.example', 'ip', AbortSignal.abort())).toMatchObject({ code: 'canceled' });
    expect(asked).toEqual([]);
  });

  test('end when the resolver is closed', async () => {
    const { asked, resolver } = await waiting();
    const open = resolver.ask('a.example');
    await expect.poll(() => asked.length).toBe(1);
    resolver.close();
    expect(await open).toMatchObject({
      code: 'canceled',
      message: expect.stringMatching(/closed/) as string,
    });
    expect(await resolver.ask('b.example')).toMatchObject({ code: 'canceled' });
  });

  test('a thousand names at once are the most', async () => {
    const { resolver } = await waiting();
    const open = Array.from({ length: 1000 }, (_, index) => resolver.ask(`${String(index)}.example`));
    expect(await resolver.ask('a.example')).toMatchObject({ code: 'overloaded' });
    const joined = resolver.ask('0.example');
    resolver.close();
    for (const outcome of await Promise.all([...open, joined]))
      expect(outcome).toMatchObject({ code: 'canceled' });
  });
});

test('the least recently used answers go first', () => {
  const memory = createAnswerMemory(3);
  const remembered = {
    addresses: ['192.0.2.1'],
    server: 's',
    reason: undefined,
    nameless: false,
    expiresAt: 1,
  };
  for (const key of ['a', 'b', 'c']) memory.set(key, remembered);
  memory.get('a');
  memory.set('b', remembered);
  memory.set('d', remembered);
  expect(['a', 'b', 'c', 'd'].map((key) => memory.get(key) !== undefined)).toEqual([true, true, false, true]);
  expect(memory.size).toBe(3);
  memory.delete('a');
  expect(memory.size).toBe(2);
  memory.clear();
  expect(memory.size).toBe(0);
});
