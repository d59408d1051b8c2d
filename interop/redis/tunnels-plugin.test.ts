// examples/plugins/javascript/tunnels.mjs on a real Redis: two servers with one set of data, Redis killed, frozen and returned,
// what stands in it, and the commands of its administrator. Plain Node runs it on the sources, so that no build is needed.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { contractByKind, PluginError } from '@sallyport/plugin';
import type { PluginTransport } from '@sallyport/plugin';
import { serverConformance } from '@sallyport/plugin/testing';
import { Redis } from 'ioredis';
import {
  ask,
  connectTunnels,
  eventually,
  givenRoutes,
  givenRules,
  ownNameOf,
  serviceOf,
  short,
  startTunnels,
  token,
  tunnelsCases,
  tunnelsPath,
} from '../../examples/plugins/javascript/tunnels.fixture.ts';
import type { Tunnels, TunnelsProgram } from '../../examples/plugins/javascript/tunnels.fixture.ts';
import { noRedis, startRedis } from './redis.ts';
import type { RedisOptions, RedisServer } from './redis.ts';

const sources = ['--conditions=source', '--import', 'tsx'];
const transports: readonly PluginTransport[] = ['grpc', 'http'];
const timeout = 60_000;
/** A proxy's own deadline for most of these questions: after it nobody hears the answer. */
const proxyWaitsMs = 1_000;
const service = 'tunnels';

/** A Redis, as many servers on it, and a node that asks each over gRPC and HTTP. */
interface Setting {
  readonly redis: RedisServer;
  readonly programs: readonly TunnelsProgram[];
  readonly nodes: readonly Record<PluginTransport, Tunnels>[];
  /** What stands in Redis, for a look behind the servers' back. */
  readonly client: Redis;
  close(): Promise<void>;
}

async function open(count: number, args: readonly string[] = [], options?: RedisOptions): Promise<Setting> {
  const redis = await startRedis(options);
  const starting = Array.from({ length: count }, () =>
    startTunnels(['--redis', redis.url, ...args], sources),
  );
  const programs = await Promise.all(starting);
  const nodes = programs.map((program) => ({
    grpc: connectTunnels(program, 'grpc'),
    http: connectTunnels(program, 'http'),
  }));
  const client = new Redis(redis.socketPath, { maxRetriesPerRequest: 100 });
  // It is there again when its server is, and what is wrong with it is seen in its answers.
  client.on('error', () => undefined);
  return {
    ...{ redis, programs, nodes, client },
    async close() {
      client.disconnect();
      await Promise.all(nodes.flatMap(({ grpc, http }) => [grpc.close(), http.close()]));
      const codes = await Promise.all(programs.map((program) => program.stop()));
      await redis.stop();
      assert.deepEqual(
        codes,
        programs.map(() => 0),
      );
    },
  };
}

/** Opens a setting, uses it, and closes it. */
async function within(
  use: (setting: Setting) => Promise<void>,
  ...how: [count: number, args?: readonly string[], options?: RedisOptions]
): Promise<void> {
  const setting = await open(...how);
  try {
    await use(setting);
  } finally {
    await setting.close();
  }
}

/** One of the administrator's commands; what it printed. Rejects with what it wrote to standard error. */
async function command(redis: RedisServer, ...words: readonly string[]): Promise<string> {
  const args = [...sources, tunnelsPath, '--redis', redis.url, ...words];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return stdout.trimEnd();
}

/** Every question that a node asks. */
function questions({ ingress, sd, router }: Tunnels): Record<string, () => Promise<unknown>> {
  const one = serviceOf();
  const [host, endpoint] = [`${randomUUID()}.test`, randomUUID()];
  return {
    getRule: async () => ingress.getRule({ host, service }, ask()),
    setRule: async () => ingress.setRule({ host, endpoint, service }, ask()),
    register: async () => sd.register(one, ask()),
    renew: async () => sd.renew(one, ask()),
    deregister: async () => sd.deregister(one, ask()),
    get: async () => sd.get({ name: one.name }, ask()),
    getRoute: async () => router.getRoute({ router: endpoint, destination: '10.1.2.3' }, ask()),
  };
}

/** That each ends in "could not ask", before a proxy gives up. */
async function assertUnreachable(node: Tunnels): Promise<void> {
  for (const [name, question] of Object.entries(questions(node))) {
    const start = performance.now();
    const answer = await question().catch((error: unknown) => error);
    const ms = performance.now() - start;
    assert.ok(answer instanceof PluginError, `${name} answered ${JSON.stringify(answer)}`);
    assert.equal(answer.code, 'unreachable', `${name}: ${answer.message}`);
    assert.ok(ms < proxyWaitsMs, `${name} took ${String(Math.round(ms))} ms`);
  }
}

async function works(node: Tunnels): Promise<boolean> {
  for (const question of Object.values(questions(node))) await question();
  return true;
}

describe('two servers on one Redis', { skip: noRedis, timeout }, () => {
  let setting: Setting;
  before(async () => {
    setting = await open(2);
    const { redis } = setting;
    await Promise.all([
      ...givenRules.map((words) => command(redis, 'rule', 'add', ...words)),
      ...givenRoutes.map((words) => command(redis, 'route', 'add', ...words)),
    ]);
  });
  after(() => setting.close());

  test('they say which Redis it is', () => {
    for (const { line } of setting.programs) assert.ok(line.endsWith(`data=${setting.redis.url}`), line);
  });

  for (const { name, run } of tunnelsCases) {
    for (const [here, there] of [transports, [...transports].reverse()] as const)
      test(`${here!} here, ${there!} there: ${name}`, () =>
        run(setting.nodes[0]![here!], setting.nodes[1]![there!]));
  }

  for (const transport of transports) {
    for (const kind of ['ingress', 'sd', 'router'] as const) {
      test(`${kind} passes the conformance suite over ${transport}`, async () => {
        const addr = setting.programs[0]![transport];
        const contract = contractByKind[kind] as (typeof contractByKind)['sd'];
        const cases = serverConformance({ contract, transport, addr, token });
        assert.ok(cases.length > 15);
        for (const { name, run } of cases)
          await run().catch((cause: unknown) => assert.fail(`${name}: ${String(cause)}`));
      });
    }
  }

  test('the layout in Redis is the one that is written down', async () => {
    const [{ grpc }] = setting.nodes as [Record<PluginTransport, Tunnels>];
    const { client } = setting;
    const one = serviceOf({ name: randomUUID() });
    const tunnel = randomUUID();
    await grpc.sd.register(one, ask());
    await grpc.ingress.setRule({ host: 'Layout.test:80', endpoint: `$${tunnel}`, service }, ask());
    assert.equal(await client.hget('sallyport:tunnels:ingress', 'layout.test'), `$${tunnel}`);
    assert.equal(await client.hget('sallyport:tunnels:ingress', ownNameOf(tunnel)), `$${tunnel}`);
    const [router, network, gateway] = ['f5c2a1de-7f5b-4a53-8f63-0a8c3a4de001', '10.1.2.0/24', 'site-10-1-2'];
    assert.equal(await client.hget(`sallyport:tunnels:routes:${router}`, network), gateway);

    const entries = await client.hgetall(`sallyport:tunnels:sd:${one.name}`);
    assert.deepEqual(Object.keys(entries), [JSON.stringify([one.node, one.id])]);
    const { until, ...where } = JSON.parse(Object.values(entries)[0]!) as Record<string, unknown>;
    assert.deepEqual(where, { network: one.network, address: one.address });
    const [seconds] = await client.time();
    assert.ok(Math.abs(Number(until) - 1000 * Number(seconds) - 45_000) < 5_000, `until ${String(until)}`);
    const kept = await client.pttl(`sallyport:tunnels:sd:${one.name}`);
    assert.ok(kept > 590_000 && kept <= 600_000, `it is kept for ${String(kept)} ms`);
  });

  test('what somebody else wrote there harms nobody', async () => {
    const [{ grpc }] = setting.nodes as [Record<PluginTransport, Tunnels>];
    const { client } = setting;
    const one = serviceOf();
    const key = `sallyport:tunnels:sd:${one.name}`;
    const strange = ['', '{', 'null', '7', '[]', '{"until":"x"}', '{"until":99999999999999}'];
    for (const text of strange) await client.hset(key, text, text);
    await client.hset(key, '["n","i"]', '{"network":1,"address":{},"until":99999999999999}');
    assert.deepEqual(await grpc.sd.get({ name: one.name }, ask()), []);
    await grpc.sd.register(one, ask());
    assert.deepEqual(await grpc.sd.get({ name: one.name }, ask()), [one]);
    await grpc.sd.renew({ ...short(one), id: 'i', node: 'n' }, ask());
    // A key of another type is a fault of that name alone.
    const other = randomUUID();
    await client.set(`sallyport:tunnels:sd:${other}`, 'text');
    const failure = await Promise.resolve(grpc.sd.get({ name: other }, ask())).catch(
      (error: unknown) => error,
    );
    assert.equal((failure as PluginError).code, 'internal');
    // It is the only thing that anybody has heard of these servers.
    const logs = setting.programs.map((program) => program.log());
    assert.deepEqual([logs[0]!.split('\n').length, logs[1]], [2, ''], logs.join(''));
    assert.match(logs[0]!, /sd\.get failed: Redis refused the command: .*WRONGTYPE/);
    assert.deepEqual(await grpc.sd.get({ name: one.name }, ask()), [one]);
  });
});

test('an administrator puts, lists and removes rules and routes', { skip: noRedis, timeout }, () =>
  within(async ({ redis, nodes: [node] }) => {
    const { grpc } = node!;
    const [mine, other] = [randomUUID(), randomUUID()];
    const getRule = async (host: string) => grpc.ingress.getRule({ host, service }, ask());
    const setRule = async (host: string, endpoint: string) =>
      grpc.ingress.setRule({ host, endpoint, service }, ask());
    assert.equal(await setRule('app.test', mine), true);
    assert.equal(await setRule('app.test', other), false);
    assert.equal(await command(redis, 'rule', 'remove', 'App.test'), 'app.test is free');
    assert.equal(await setRule('app.test', other), true);
    // What an administrator says goes before what a tunnel said.
    assert.equal(await command(redis, 'rule', 'add', 'app.test', mine), `app.test ${mine}`);
    assert.equal(await getRule('app.test'), mine);
    assert.equal(
      await command(redis, 'rule', 'add', '*.app.test', `$${mine}`),
      `.app.test $${mine}\n${ownNameOf(mine)} $${mine}`,
    );
    const rules = [`.app.test $${mine}`, `${ownNameOf(mine)} $${mine}`, `app.test ${mine}`];
    assert.deepEqual((await command(redis, 'rule', 'list')).split('\n'), rules.sort());
    await assert.rejects(command(redis, 'rule', 'remove', 'b.test'), /there is no rule of b\.test/);

    await command(redis, 'route', 'add', mine, '10.9.8.7/8', 'site-a');
    await command(redis, 'route', 'add', mine, '10.1.0.0/16', 'site-b');
    assert.equal(
      await command(redis, 'route', 'list', mine.toUpperCase()),
      '10.0.0.0/8 site-a\n10.1.0.0/16 site-b',
    );
    await command(redis, 'route', 'remove', mine, '10.1.0.0/16');
    await assert.rejects(
      command(redis, 'route', 'remove', mine, '10.1.0.0/16'),
      /no route to 10\.1\.0\.0\/16/,
    );
    const route = await grpc.router.getRoute({ router: mine, destination: '10.1.2.3' }, ask());
    assert.deepEqual(route, { network: '10.0.0.0/8', gateway: 'site-a' });
    await assert.rejects(command(redis, 'route', 'add', mine, '10.0.0.0/8', 'two words'), /a gateway is/);
    await assert.rejects(command(redis, 'rule', 'add', 'app.test'), /the command is: rule add HOST ENDPOINT/);
    await assert.rejects(command(redis, 'rule', 'forget', 'app.test'), /there is no command/);
  }, 1),
);

test(
  'a service that is not renewed counts no more, and is kept for a late renewal',
  { skip: noRedis, timeout },
  () =>
    within(
      async ({ nodes: [one, other] }) => {
        const [kept, left] = [serviceOf(), serviceOf()];
        await one!.grpc.sd.register(kept, ask());
        await one!.http.sd.register(left, ask());
        await eventually(async () => {
          await one!.grpc.sd.renew(short(kept), ask());
          return (await other!.grpc.sd.get({ name: left.name }, ask())).length === 0;
        }, 'the end of the service');
        assert.deepEqual(await other!.http.sd.get({ name: kept.name }, ask()), [kept]);
        await other!.http.sd.renew(short(left), ask());
        assert.deepEqual(await one!.grpc.sd.get({ name: left.name }, ask()), [left]);
      },
      2,
      ['--sd-ttl', '1s'],
    ),
);

test(
  'a name has 1,000 services at most; those that count no more make room',
  { skip: noRedis, timeout },
  () =>
    within(
      async ({ nodes: [one], client }) => {
        const { grpc } = one!;
        const name = randomUUID();
        const until = Number((await client.time())[0]) * 1000 + 3_000;
        const entry = JSON.stringify({ network: 'tcp', address: '192.0.2.1:1', until });
        const fields = Array.from({ length: 1_000 }, (_, i) => [JSON.stringify(['node', String(i)]), entry]);
        await client.hset(`sallyport:tunnels:sd:${name}`, ...fields.flat());
        const late = serviceOf({ name });
        const call = ask();
        await grpc.sd.register(late, call);
        assert.match(call.meta.reason!, /too many/);
        assert.equal((await grpc.sd.get({ name }, ask())).length, 1_000);
        await eventually(async () => {
          await grpc.sd.register(late, ask());
          return (await client.hlen(`sallyport:tunnels:sd:${name}`)) === 1;
        }, 'room for another');
        assert.deepEqual(await grpc.sd.get({ name }, ask()), [late]);
      },
      1,
      ['--sd-ttl', '1s'],
    ),
);

test(
  'Redis killed: no question hangs, and nothing is done late; returned: renewals bring all back',
  {
    ...{ skip: noRedis, timeout },
  },
  () =>
    within(async ({ redis, nodes: [one, other], programs, client }) => {
      const tunnels = [one!.grpc, one!.http, other!.grpc, other!.http];
      const ours = serviceOf();
      const tunnel = randomUUID();
      await one!.grpc.sd.register(ours, ask());
      await redis.kill();
      for (const node of tunnels) await assertUnreachable(node);
      const host = 'while-away.test';
      await assert.rejects(
        Promise.resolve(one!.grpc.ingress.setRule({ host, endpoint: tunnel, service }, ask())),
        { code: 'unreachable' },
      );

      await redis.start();
      for (const node of tunnels) await eventually(() => works(node), 'the return');
      assert.equal(await one!.grpc.ingress.getRule({ host, service }, ask()), undefined);
      // It came back empty: a renewal as GOST has it cannot bring the service back, one with all fields does.
      await one!.grpc.sd.renew(short(ours), ask());
      assert.deepEqual(await other!.http.sd.get({ name: ours.name }, ask()), []);
      await one!.grpc.sd.renew(ours, ask());
      assert.deepEqual(await other!.http.sd.get({ name: ours.name }, ask()), [ours]);
      assert.equal(await one!.http.ingress.setRule({ host, endpoint: tunnel, service }, ask()), true);
      assert.equal(await other!.grpc.ingress.getRule({ host, service }, ask()), tunnel);
      assert.equal(await client.hlen(`sallyport:tunnels:sd:${ours.name}`), 1);
      for (const program of programs) {
        // Said when it went and when it came, and not for each question.
        assert.match(program.log(), /cannot be asked: .*\n(.*\n)*.*answers again\n$/);
        assert.ok(program.log().split('\n').length < 10, program.log());
      }
    }, 2),
);

test('a Redis that keeps its data: renewals as GOST has them are enough', { skip: noRedis, timeout }, () =>
  within(
    async ({ redis, nodes: [one, other] }) => {
      const gost = serviceOf();
      const tunnel = randomUUID();
      await one!.grpc.sd.register(gost, ask());
      await one!.grpc.ingress.setRule({ host: 'kept.test', endpoint: `$${tunnel}`, service }, ask());
      await redis.kill();
      await assertUnreachable(other!.grpc);
      // Longer away than a service counts.
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      await redis.start();
      await eventually(() => works(other!.grpc), 'the return');
      await eventually(() => works(one!.grpc), 'the return');
      assert.deepEqual(await other!.grpc.sd.get({ name: gost.name }, ask()), []);
      await one!.grpc.sd.renew(short(gost), ask());
      assert.deepEqual(await other!.grpc.sd.get({ name: gost.name }, ask()), [gost]);
      const rule = await other!.http.ingress.getRule({ host: 'kept.test', service }, ask());
      assert.equal(rule, `$${tunnel}`);
    },
    2,
    ['--sd-ttl', '1s'],
    { keepsData: true },
  ),
);

test(
  'a Redis that hangs: "could not ask" in time, and well again afterwards',
  { skip: noRedis, timeout },
  () =>
    within(async ({ redis, nodes: [one] }) => {
      const ours = serviceOf();
      await one!.grpc.sd.register(ours, ask());
      redis.freeze();
      try {
        await assertUnreachable(one!.grpc);
        await assertUnreachable(one!.http);
      } finally {
        redis.thaw();
      }
      await eventually(() => works(one!.http), 'the return');
      await eventually(() => works(one!.grpc), 'the return');
      assert.deepEqual(await one!.grpc.sd.get({ name: ours.name }, ask()), [ours]);
    }, 1),
);

test(
  'a server starts while Redis is away; a unix socket and a password are taken',
  {
    ...{ skip: noRedis, timeout },
  },
  async () => {
    const redis = await startRedis({ args: ['--requirepass', 'hunter2'] });
    const withPassword = redis.url.replace('//', '//:hunter2@');
    const opened: { stop(): Promise<unknown> }[] = [redis];
    try {
      await redis.kill();
      const program = await startTunnels(['--redis', withPassword], sources);
      opened.unshift(program);
      const node = connectTunnels(program, 'grpc');
      opened.unshift({ stop: () => node.close() });
      await assertUnreachable(node);
      await redis.start();
      await eventually(() => works(node), 'the arrival');

      const wrong = await startTunnels(['--redis', redis.url.replace('//', '//gost:hunter3@')], sources);
      opened.unshift(wrong);
      const refused = connectTunnels(wrong, 'http');
      opened.unshift({ stop: () => refused.close() });
      await assertUnreachable(refused);
      assert.match(wrong.log(), /WRONGPASS/);
      for (const { line, log } of [program, wrong]) assert.doesNotMatch(line + log(), /hunter/);
      await assert.rejects(command(redis, 'rule', 'list'), /cannot be reached|NOAUTH/);

      const socket = await startRedis();
      opened.push(socket);
      const local = await startTunnels(
        ['--redis', `unix:${socket.socketPath}?db=3`, '--prefix', 'p:'],
        sources,
      );
      opened.unshift(local);
      const near = connectTunnels(local, 'grpc');
      opened.unshift({ stop: () => near.close() });
      const ours = serviceOf();
      await near.sd.register(ours, ask());
      const client = new Redis(socket.socketPath, { db: 3 });
      assert.deepEqual(await client.keys('*'), [`p:sd:${ours.name}`]);
      client.disconnect();
    } finally {
      for (const one of opened) await one.stop();
    }
  },
);
