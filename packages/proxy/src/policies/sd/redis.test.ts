import type { Call, CallEvent } from '@sallyport/plugin';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { formatRedis, parseRedisAddress } from './address.ts';
import { entryKey, formatEntry, parseEntry } from './entry.ts';
import { redisPeer } from './redis-peer.fixture.ts';
import type { RedisPeer } from './redis-peer.fixture.ts';
import { redisSd } from './redis.ts';
import type { RedisSdOptions } from './redis.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

const service = { id: 'c1', name: 'tunnel', node: 'n1', network: 'tcp', address: '10.0.0.1:80' };
const bulk = (...texts: string[]) =>
  `*${String(texts.length)}\r\n${texts.map((text) => `$${String(Buffer.byteLength(text))}\r\n${text}\r\n`).join('')}`;
const one = bulk(formatEntry(service));

async function scene(
  answer: Parameters<typeof redisPeer>[0],
  options: Partial<RedisSdOptions> = {},
): Promise<{ peer: RedisPeer; sd: ReturnType<typeof redisSd> }> {
  const peer = await redisPeer(answer);
  const sd = redisSd({ address: peer.address, random: () => 0.5, ...options });
  ends.push(() => {
    sd.close();
    return peer.close();
  });
  return { peer, sd };
}

const call = (): Call => ({ meta: {} });
const get = (sd: ReturnType<typeof redisSd>, asked = call()) =>
  Promise.resolve(sd.get({ name: 'tunnel' }, asked));

describe('a service discovery in Redis whose Redis is not well', () => {
  test('nothing is connected before the first question; user and database are chosen first', async () => {
    const { peer, sd } = await scene((words) => (words[0] === 'eval' ? one : undefined), {
      username: 'proxy',
      password: 'hunter2',
      db: 7,
      key: 'p:',
    });
    expect(peer.connections).toBe(0);
    expect(await get(sd)).toEqual([service]);
    expect(peer.commands.map((words) => words.filter((_, i) => words[0] !== 'eval' || i !== 1))).toEqual([
      ['auth', 'proxy', 'hunter2'],
      ['select', '7'],
      ['eval', '2', 'p:entries:tunnel', 'p:expiry:tunnel'],
    ]);
    expect(await get(sd)).toEqual([service]);
    expect(peer.connections).toBe(1);
  });

  test('one event says where it was asked, and what came of it', async () => {
    const replies = [one, '-WRONGTYPE Operation against a key\r\n'];
    const { peer, sd } = await scene((words) => (words[0] === 'eval' ? replies.shift()! : undefined));
    const events: CallEvent[] = [];
    const asked = { meta: {}, session: 's1', observe: (event: CallEvent) => events.push(event) };
    await get(sd, asked);
    await expect(get(sd, asked)).rejects.toMatchObject({ code: 'internal' });
    const endpoint = `redis://127.0.0.1:${String(peer.address.port)}/0`;
    const both = { module: 'sd', method: 'get', endpoint, transport: 'local', session: 's1', source: 'live' };
    expect(events).toMatchObject([
      { ...both, outcome: 'ok', error: undefined },
      { ...both, outcome: 'internal', error: `${endpoint} says: WRONGTYPE Operation against a key` },
    ]);
  });

  test.each([
    ['-NOAUTH Authentication required.\r\n', 'unauthenticated'],
    ['-NOPERM this user has no permissions\r\n', 'unauthenticated'],
    ['-LOADING Redis is loading the dataset in memory\r\n', 'unreachable'],
    ['-READONLY You cannot write against a read only replica.\r\n', 'unreachable'],
    ['-OOM command not allowed\r\n', 'overloaded'],
    [`-ERR ${'x '.repeat(500)}\r\n`, 'internal'],
    ['+OK\r\n', 'badReply'],
    [bulk('no JSON'), 'badReply'],
    [bulk('[]'), 'badReply'],
    [bulk('{"id":"a"}'), 'badReply'],
    ['HTTP/1.1 400 Bad Request\r\n\r\n', 'badReply'],
    ['?garbage\r\n', 'badReply'],
  ])('%.20j is an error of its kind', async (reply, code) => {
    const { sd } = await scene((words) => (words[0] === 'eval' ? reply : undefined), {
      timeoutMs: { get: 1_000, change: 1_000 },
    });
    const error = await get(sd).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ name: 'PluginError', code });
    expect((error as Error).message.length).toBeLessThan(400);
  });

  test.each([
    ['auth', '-WRONGPASS invalid username-password pair or user is disabled.\r\n', 'unauthenticated'],
    ['auth', '-ERR Client sent AUTH, but no password is set\r\n', 'unauthenticated'],
    ['select', '-ERR DB index is out of range\r\n', 'internal'],
    ['select', '-ERR max number of clients reached\r\n', 'overloaded'],
    ['select', 'SSH-2.0-OpenSSH_9.2\r\n', 'badReply'],
    ['auth', 'hang up', 'unreachable'],
  ])('%s that is answered with %s is no connection, and shows no password', async (verb, reply, code) => {
    const { sd, peer } = await scene((words) => (words[0] === verb ? reply : one), { password: 'hunter2' });
    const error = (await get(sd).catch((cause: unknown) => cause)) as Error;
    expect(error).toMatchObject({ name: 'PluginError', code });
    const { inspect } = await import('node:util');
    expect(inspect(error, { depth: 9 })).not.toContain('hunter2');
    expect(peer.commands.some(([first]) => first === 'eval')).toBe(false);
  });

  test('one that is not there is said so, not tried again by everybody, and found when it is back', async () => {
    let isBack = false;
    const { sd, peer } = await scene((words) => {
      if (words[0] === 'select' && !isBack) return 'hang up';
      return words[0] === 'eval' ? one : undefined;
    });
    for (let i = 0; i < 100; i++) await expect(get(sd)).rejects.toMatchObject({ code: 'unreachable' });
    expect(peer.connections).toBeLessThan(10);
    isBack = true;
    const found = async () => {
      expect(await get(sd)).toEqual([service]);
    };
    await vi.waitFor(found, { timeout: 10_000 });
    await peer.close();
    await expect(get(sd)).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringMatching(/connection refused/) as string,
    });
  });

  test('a connection that is lost is made again, and what was asked is asked again, once', async () => {
    let hangUps = 1;
    const { sd, peer } = await scene((words) => {
      if (words[0] !== 'eval') return undefined;
      return hangUps-- > 0 ? 'hang up' : one;
    });
    expect(await get(sd)).toEqual([service]);
    expect(peer.connections).toBe(2);
    // One that is lost while nobody asks is nobody's matter.
    peer.drop();
    expect(await get(sd)).toEqual([service]);
    hangUps = 2;
    await expect(get(sd)).rejects.toMatchObject({ code: 'unreachable' });
    expect(await get(sd)).toEqual([service]);
  });

  test('one that hangs costs each its deadline, and the next connects anew', async () => {
    const { sd, peer } = await scene(
      (words, connection) => {
        if (words[0] !== 'eval') return undefined;
        return connection === 1 ? 'silence' : one;
      },
      { timeoutMs: { get: 30, change: 5_000 } },
    );
    const both = await Promise.allSettled([get(sd), sd.register(service, call())]);
    // The second is asked again on another connection when the first has left this one.
    expect(both[0]).toMatchObject({ status: 'rejected', reason: { code: 'timeout' } });
    expect(both[1]).toMatchObject({ status: 'fulfilled' });
    expect(await get(sd)).toEqual([service]);
    expect(peer.connections).toBe(2);
  });

  test('one that answers others is slow, and not left', async () => {
    let n = 0;
    const { sd, peer } = await scene(
      (words) => {
        if (words[0] !== 'eval') return undefined;
        return n++ === 1 ? 'silence' : one;
      },
      { timeoutMs: { get: 500, change: 40 } },
    );
    await get(sd);
    await expect(Promise.resolve(sd.register(service, call()))).rejects.toMatchObject({ code: 'timeout' });
    expect(peer.connections).toBe(1);
  });

  test('one that takes connections and says nothing is given up as well', async () => {
    const { sd, peer } = await scene(() => 'silence', { connectMs: 40 });
    await expect(get(sd)).rejects.toMatchObject({
      code: 'timeout',
      message: expect.stringMatching(/did not answer within 40 ms/) as string,
    });
    expect(peer.connections).toBe(1);
  });

  test('more than may wait are refused', async () => {
    const { sd } = await scene((words) => (words[0] === 'eval' ? 'silence' : undefined), {
      maxCommands: 3,
      timeoutMs: { get: 50, change: 50 },
    });
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => get(sd)));
    expect(
      outcomes.map((one) => (one.status === 'rejected' ? (one.reason as { code: string }).code : '')),
    ).toEqual(['timeout', 'timeout', 'timeout', 'overloaded', 'overloaded']);
  });

  test('who leaves waits no longer, and who asks after the end is told', async () => {
    const { sd } = await scene((words) => (words[0] === 'eval' ? 'silence' : undefined));
    const leaving = new AbortController();
    const left = get(sd, { meta: {}, signal: leaving.signal });
    leaving.abort();
    await expect(left).rejects.toMatchObject({ code: 'canceled' });
    const waiting = get(sd);
    sd.close();
    await expect(waiting).rejects.toMatchObject({ code: 'canceled' });
    await expect(get(sd)).rejects.toMatchObject({ code: 'canceled' });
  });
});

describe('how a registration is kept', () => {
  test('what is kept is read back, and nothing else', () => {
    const text = fc.string({ unit: 'grapheme' });
    fc.assert(
      fc.property(fc.record({ id: text, name: text, node: text, network: text, address: text }), (some) => {
        expect(parseEntry(formatEntry(some))).toEqual(some);
      }),
    );
    expect(formatEntry({ ...service, secret: 'x' } as typeof service)).not.toContain('secret');
  });

  test('garbage is an error, at once', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (some) => {
        expect(() => parseEntry(some)).toThrow(/what is kept there/);
      }),
    );
  });

  test('no two of different machines are one', () => {
    const text = fc.constantFrom('', 'a', '"', ',', '","', 'a","b');
    fc.assert(
      fc.property(text, text, text, text, (id, node, otherId, otherNode) => {
        const same = id === otherId && node === otherNode;
        const keys = [
          entryKey({ ...service, id, node }),
          entryKey({ ...service, id: otherId, node: otherNode }),
        ];
        expect(keys[0] === keys[1]).toBe(same);
      }),
    );
  });
});

describe('where a Redis is', () => {
  test.each([
    ['127.0.0.1:6379', 'redis://127.0.0.1:6379/3'],
    ['[::1]:6379', 'redis://[::1]:6379/3'],
    [':6379', 'redis://127.0.0.1:6379/3'],
    [' redis.test:1 ', 'redis://redis.test:1/3'],
    ['/run/redis.sock', 'unix:/run/redis.sock'],
    ['./redis.sock', 'unix:./redis.sock'],
  ])('%s', (written, text) => {
    expect(formatRedis(parseRedisAddress(written), 3)).toBe(text);
  });

  test.each(['', 'redis.test', '127.0.0.1:0', '127.0.0.1:99999', 'a b:1', ':x'])('%j is none', (written) => {
    expect(() => parseRedisAddress(written)).toThrow(TypeError);
  });

  test('what may hold a password is not shown', () => {
    for (const written of ['redis://:hunter2@h:1', 'rediss://hunter2', 'u:hunter2@h:1', 'hunter2@h'])
      expect(() => parseRedisAddress(written)).toThrow(expect.not.stringContaining('hunter2') as string);
  });
});
