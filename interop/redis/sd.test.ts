// The built-in service discovery against a real redis-server: what several proxies see of one another, what is forgotten and
// when, and what happens while Redis is gone, hangs, or comes back empty.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { SdService } from '@sallyport/plugin';
import { Redis } from 'ioredis';
import { redisSd } from '../../packages/proxy/src/policies/sd/index.ts';
import type { RedisSd } from '../../packages/proxy/src/policies/sd/index.ts';
import { noRedis, startRedis } from './redis.ts';
import type { RedisServer } from './redis.ts';

const call = () => ({ meta: {} });
const services = (count: number, name = 'tunnel'): SdService[] =>
  Array.from({ length: count }, (_, i) => ({
    ...{ id: `c${i}`, name, node: `n${i % 3}`, network: i % 2 === 0 ? 'tcp' : 'udp' },
    address: `10.0.0.${i % 250}:80`,
  }));
const sorted = (list: readonly SdService[]) => list.map((one) => JSON.stringify(one)).sort();

/** Asks again until it is so. */
async function comesTrue(what: string, check: () => Promise<boolean>): Promise<void> {
  for (const until = Date.now() + 20_000; ; await wait(10)) {
    if (await check()) return;
    if (Date.now() > until) throw new Error(`does not come true: ${what}`);
  }
}

describe('service discovery in Redis', { skip: noRedis, timeout: 120_000 }, () => {
  let redis: RedisServer;
  const open: RedisSd[] = [];
  const node = (options: Partial<Parameters<typeof redisSd>[0]> = {}): RedisSd => {
    const made = redisSd({ address: { path: redis.socketPath }, ...options });
    open.push(made);
    return made;
  };
  const found = async (sd: RedisSd, name = 'tunnel') => sorted(await sd.get({ name }, call()));
  const codeOf = (asked: unknown) =>
    Promise.resolve(asked).then(
      () => 'ok',
      (error: { code: string }) => error.code,
    );

  /** Says something to Redis itself. */
  const command = async (...words: readonly string[]): Promise<unknown> => {
    const client = new Redis(redis.socketPath);
    try {
      return await client.call(words[0]!, ...words.slice(1));
    } finally {
      client.disconnect();
    }
  };

  before(async () => {
    redis = await startRedis();
  });
  beforeEach(() => command('FLUSHALL'));
  afterEach(() => {
    for (const sd of open.splice(0)) sd.close();
  });
  after(() => redis.stop());

  test('what one registers all find, with every field, until it is deregistered', async () => {
    const [first, second, third] = [node(), node(), node()];
    const all = services(3);
    await first.register(all[0]!, call());
    await second.register(all[1]!, call());
    await second.register(all[2]!, call());
    for (const sd of [first, second, third]) assert.deepEqual(await found(sd), sorted(all));
    assert.deepEqual(await found(third, 'other'), []);
    // Which one it is, its id and node say, as GOST's deregister has them.
    await second.deregister({ ...all[1]!, network: '', address: '' }, call());
    assert.deepEqual(await found(first), sorted([all[0]!, all[2]!]));
    await second.deregister(all[1]!, call());
    await first.deregister(all[0]!, call());
    await second.deregister(all[2]!, call());
    assert.deepEqual(await found(third), []);
    assert.equal(await command('DBSIZE'), 0);
  });

  test('the same connection at two nodes is two services; registered again it is one, with what was said last', async () => {
    const sd = node();
    const [one] = services(1);
    const elsewhere = { ...one!, node: 'far away' };
    await sd.register(one!, call());
    await sd.register(elsewhere, call());
    await sd.register({ ...one!, address: '10.9.9.9:81' }, call());
    assert.deepEqual(await found(sd), sorted([{ ...one!, address: '10.9.9.9:81' }, elsewhere]));
  });

  test('what is not renewed is forgotten, what is renewed is not, and Redis keeps nothing of either', async () => {
    const sd = node({ ttlMs: 800 });
    const [kept, lost] = services(2);
    await sd.register(kept!, call());
    await sd.register(lost!, call());
    let renewals = 0;
    await comesTrue('the one that is not renewed is gone', async () => {
      await sd.renew(kept!, call());
      renewals++;
      const now = await found(sd);
      assert.ok(now.includes(JSON.stringify(kept)));
      return now.length === 1;
    });
    assert.ok(renewals > 1);
    assert.equal(await command('HLEN', 'gost:sd:entries:tunnel'), 1);
    await comesTrue('the name is gone', async () => (await found(sd)).length === 0);
    await comesTrue('its keys are gone', async () => (await command('DBSIZE')) === 0);
  });

  test('a node with a short time does not shorten that of others', async () => {
    const [short, long] = services(2);
    await node({ ttlMs: 60_000 }).register(long!, call());
    const sd = node({ ttlMs: 100 });
    await sd.register(short!, call());
    await comesTrue('the short one is gone', async () => (await found(sd)).length === 1);
    assert.deepEqual(await found(sd), sorted([long!]));
    const left = Number(await command('PTTL', 'gost:sd:entries:tunnel'));
    assert.ok(left > 30_000, String(left));
  });

  test("a renewal without network and address, as GOST's, keeps those that were registered", async () => {
    const sd = node({ ttlMs: 500 });
    const [one] = services(1);
    await sd.register(one!, call());
    const partial = { ...one!, network: '', address: '' };
    for (const until = Date.now() + 1_000; Date.now() < until; await wait(50))
      await sd.renew(partial, call());
    assert.deepEqual(await found(sd), sorted([one!]));
    // Of what is not there it makes nothing: nobody could be reached by it.
    await command('FLUSHALL');
    await sd.renew(partial, call());
    assert.deepEqual(await found(sd), []);
  });

  test('thousands of one name are one answer', async () => {
    const sd = node();
    const all = services(3_500);
    for (let i = 0; i < all.length; i += 500)
      await Promise.all(all.slice(i, i + 500).map((one) => sd.register(one, call())));
    assert.deepEqual(await found(sd), sorted(all));
  });

  test('names and fields may hold anything', async () => {
    const sd = node();
    const odd = {
      id: '"\u0000\r\n',
      name: 'x:expiry:\u{1f600}*',
      node: '[]',
      network: ' ',
      address: '*1\r\n$1',
    };
    await sd.register(odd, call());
    await sd.register({ ...odd, name: 'x' }, call());
    assert.deepEqual(await found(sd, odd.name), sorted([odd]));
    assert.deepEqual(await found(sd, 'x'), sorted([{ ...odd, name: 'x' }]));
  });

  test('another key or database is another world', async () => {
    const [one] = services(1);
    await node({ key: 'a:' }).register(one!, call());
    assert.deepEqual(await found(node({ key: 'a:' })), sorted([one!]));
    for (const options of [{}, { key: 'b:' }, { key: 'a:', db: 1 }])
      assert.deepEqual(await found(node(options)), []);
    const said = await codeOf(node({ db: 99 }).get({ name: 'tunnel' }, call()));
    assert.equal(said, 'internal');
  });

  test('what somebody else has written there is an error, never a guess', async () => {
    const sd = node();
    const [one] = services(1);
    await command('SET', 'gost:sd:expiry:tunnel', 'x');
    assert.equal(await codeOf(sd.get({ name: 'tunnel' }, call())), 'internal');
    assert.equal(await codeOf(sd.register(one!, call())), 'internal');
    await command('FLUSHALL');
    await sd.register(one!, call());
    await command('HSET', 'gost:sd:entries:tunnel', '["n0","c0"]', 'garbage');
    assert.equal(await codeOf(sd.get({ name: 'tunnel' }, call())), 'badReply');
  });

  test('a Redis that is killed is could not ask, at once; back and empty, renewals make it whole', async () => {
    const [first, second] = [node(), node()];
    const all = services(20);
    await Promise.all(all.map((one) => first.register(one, call())));
    assert.equal((await found(second)).length, 20);
    await redis.kill();
    const start = Date.now();
    for (let i = 0; i < 200; i++)
      assert.equal(await codeOf(first.get({ name: 'tunnel' }, call())), 'unreachable');
    assert.ok(Date.now() - start < 5_000);
    assert.equal(await codeOf(second.register(all[0]!, call())), 'unreachable');
    await redis.start();
    for (const one of all)
      await comesTrue('it can be told again', async () => (await codeOf(first.renew(one, call()))) === 'ok');
    await comesTrue('and asked', async () => (await codeOf(second.get({ name: 'tunnel' }, call()))) === 'ok');
    assert.deepEqual(await found(second), sorted(all));
  });

  test('a Redis that hangs is could not ask after the deadline, and is asked again', async () => {
    const sd = node({ timeoutMs: { get: 200, change: 400 } });
    const [one] = services(1);
    await sd.register(one!, call());
    redis.freeze();
    try {
      const start = Date.now();
      const codes = await Promise.all(
        Array.from({ length: 50 }, () => codeOf(sd.get({ name: 'tunnel' }, call()))),
      );
      assert.deepEqual(new Set(codes), new Set(['timeout']));
      assert.ok(Date.now() - start < 3_000);
    } finally {
      redis.thaw();
    }
    await comesTrue(
      'it answers again',
      async () => (await codeOf(sd.get({ name: 'tunnel' }, call()))) === 'ok',
    );
    assert.deepEqual(await found(sd), sorted([one!]));
  });

  test('a connection that Redis ends is made again', async () => {
    const sd = node();
    const [one] = services(1);
    await sd.register(one!, call());
    for (let i = 0; i < 20; i++) {
      await command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      assert.deepEqual(await found(sd), sorted([one!]));
    }
  });

  test('many proxies at once change one name, and each sees whole services', async () => {
    const nodes = [node(), node(), node()];
    const mine = nodes.map((_, n) => services(40).map((one) => ({ ...one, node: `node${n}` })));
    const known = new Set(mine.flat().map((one) => JSON.stringify(one)));
    await Promise.all(
      nodes.map(async (sd, n) => {
        for (const one of mine[n]!) {
          await sd.register(one, call());
          for (const seen of await found(sd)) assert.ok(known.has(seen));
          if (n === 1) await sd.deregister(one, call());
        }
      }),
    );
    assert.deepEqual(await found(nodes[1]!), sorted([...mine[0]!, ...mine[2]!]));
  });
});

describe('a Redis with users', { skip: noRedis, timeout: 60_000 }, () => {
  const rights = ['proxy', 'on', '>s3cret', '~gost:*', '+eval', '+select', '+@read', '+@write', '+time'];
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis({ args: ['--requirepass', 'hunter2', '--user', ...rights] });
  });
  after(() => redis.stop());
  const outcome = async (options: object) => {
    const sd = redisSd({ address: { path: redis.socketPath }, ...options });
    try {
      const [one] = services(1);
      await sd.register(one!, call());
      return (await sd.get({ name: 'tunnel' }, call())).length;
    } catch (error) {
      assert.doesNotMatch(JSON.stringify(error) + String((error as Error).stack), /hunter2|s3cret|wrong-one/);
      return (error as { code: string }).code;
    } finally {
      sd.close();
    }
  };

  test('the right password is taken, no other, and none', async () => {
    assert.equal(await outcome({ password: 'hunter2' }), 1);
    assert.equal(await outcome({ username: 'proxy', password: 's3cret' }), 1);
    assert.equal(await outcome({ password: 'wrong-one' }), 'unauthenticated');
    assert.equal(await outcome({ username: 'nobody', password: 'hunter2' }), 'unauthenticated');
    assert.equal(await outcome({}), 'unauthenticated');
  });

  test('a user may be let at some keys only', async () => {
    assert.equal(await outcome({ username: 'proxy', password: 's3cret', key: 'other:' }), 'unauthenticated');
  });
});
