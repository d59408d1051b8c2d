import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Redis } from 'ioredis';
import { noRedis, startRedis } from './redis.ts';

const once = { skip: noRedis, timeout: 30_000 };

test('a redis-server is reached by port and by socket, and is empty after kill and start', once, async () => {
  const server = await startRedis();
  try {
    for (const client of [new Redis(server.url), new Redis(server.socketPath)]) {
      await client.incr('count');
      client.disconnect();
    }
    const { pid } = server;
    await server.kill();
    assert.throws(() => process.kill(pid, 0), /ESRCH/);
    await server.start();
    const client = new Redis(server.url);
    assert.equal(await client.get('count'), null);
    client.disconnect();
  } finally {
    await server.stop();
  }
});

test('one that keeps its data has them after kill and start', once, async () => {
  const server = await startRedis({ keepsData: true });
  try {
    const before = new Redis(server.url);
    await before.set('name', 'value');
    before.disconnect();
    await server.kill();
    await server.start();
    const after = new Redis(server.url);
    assert.equal(await after.get('name'), 'value');
    after.disconnect();
  } finally {
    await server.stop();
  }
});

test('one that does not start says why', once, async () => {
  await assert.rejects(startRedis({ args: ['--no-such-setting', 'x'] }), /no-such-setting/);
});
