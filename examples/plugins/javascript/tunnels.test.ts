import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ask,
  connectTunnels,
  eventually,
  givenRoutes,
  givenRules,
  serviceOf,
  short,
  startTunnels,
  token,
  tunnelsCases,
  tunnelsPath,
} from './tunnels.fixture.ts';
import type { Tunnels, TunnelsProgram } from './tunnels.fixture.ts';

// As in javascript.test.ts: plain Node, and what `npm run build` made. With a Redis it is tested in interop/redis.
const run = promisify(execFile);
const conformance = fileURLToPath(new URL('conformance.mjs', import.meta.url));

interface Failure {
  readonly code: number;
  readonly stderr: string;
}

/** Runs the program to its end, which must be one with an error. */
async function failing(args: readonly string[]): Promise<Failure> {
  const child = run(process.execPath, [tunnelsPath, ...args], { timeout: 10_000 });
  return (await child.then(
    ({ stdout }) => Promise.reject(new Error(`it ended well: ${stdout}`)),
    (error: unknown) => error,
  )) as Failure;
}

describe('with its data in memory', () => {
  let program: TunnelsProgram;
  let grpc: Tunnels;
  let http: Tunnels;

  beforeAll(async () => {
    program = await startTunnels([
      ...givenRules.flatMap((words) => ['--rule', words.join(' ')]),
      ...givenRoutes.flatMap((words) => ['--route', words.join(' ')]),
    ]);
    grpc = connectTunnels(program, 'grpc');
    http = connectTunnels(program, 'http');
  });

  afterAll(async () => {
    await Promise.all([grpc.close(), http.close()]);
    expect(await program.stop()).toBe(0);
    expect(program.log()).toBe('');
  });

  test('it says where it listens and what holds the data', () => {
    expect(program.line).toMatch(
      /^tunnels listening grpc=127\.0\.0\.1:\d+ http=127\.0\.0\.1:\d+ data=memory$/,
    );
  });

  test.each(tunnelsCases)('gRPC, then HTTP: $name', (one) => one.run(grpc, http));
  test.each(tunnelsCases)('HTTP, then gRPC: $name', (one) => one.run(http, grpc));

  test.each(['ingress', 'sd', 'router'])('%s passes conformance.mjs', async (module) => {
    for (const transport of ['grpc', 'http'] as const) {
      const flags = ['--module', module, '--transport', transport, '--addr', program[transport]];
      const { stdout } = await run(process.execPath, [conformance, ...flags, '--token', token]);
      expect(stdout).toMatch(/^(?:#|ℹ) fail 0$/m);
      expect(Number(/^(?:#|ℹ) pass (\d+)$/m.exec(stdout)?.[1])).toBeGreaterThan(15);
    }
  });
});

test('a service that is not renewed counts no more; a late renewal brings it back', async () => {
  const program = await startTunnels(['--sd-ttl', '1s']);
  const node = connectTunnels(program, 'grpc');
  try {
    const [kept, left] = [serviceOf(), serviceOf()];
    await node.sd.register(kept, ask());
    await node.sd.register(left, ask());
    await eventually(async () => {
      await node.sd.renew(short(kept), ask());
      return (await node.sd.get({ name: left.name }, ask())).length === 0;
    }, 'the end of the service');
    expect(await node.sd.get({ name: kept.name }, ask())).toEqual([kept]);
    await node.sd.renew(short(left), ask());
    expect(await node.sd.get({ name: left.name }, ask())).toEqual([left]);
  } finally {
    await node.close();
    await program.stop();
  }
});

test.each([
  [['--help', '--grpc'], /argument missing|requires a value|ambiguous/i],
  [['--gprc', '127.0.0.1:0'], /--gprc/],
  [['--grpc', '8000'], /--grpc is host:port or unix:\/path, not 8000/],
  [['--http', '127.0.0.1:70000'], /--http is host:port/],
  [['--grpc', '127.0.0.1:0', '--sd-ttl', '45'], /--sd-ttl is a time such as 45s/],
  [['--grpc', '127.0.0.1:0', '--sd-ttl', '0s'], /between/],
  [['--redis', 'http://gost:hunter2@127.0.0.1'], /write redis:\/\//],
  [['--redis', 'redis://:hunter2@127.0.0.1/two'], /database of Redis is a number/],
  [
    ['--redis', 'redis://:hunter2@127.0.0.1:1', '--rule', `a.test ${randomUUID()}`],
    /are for a store in memory/,
  ],
  [['--rule', 'a.test tunnel'], /tunnel is no UUID/],
  [['--rule', `a..test ${randomUUID()}`], /a\.\.test is no host/],
  [['--route', 'r 10.0.0.0/33 site'], /10\.0\.0\.0\/33 is no network/],
  [['--route', 'r 10.0.0.0/8'], /the command is: route add ROUTER DST GATEWAY/],
  [['rule', 'add', 'a.test', randomUUID()], /a command needs --redis/],
])('the command line %j is refused, in so many words', async (args, message) => {
  const { code, stderr } = await failing(args);
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
  expect(stderr).not.toContain('hunter2');
  expect(stderr).not.toMatch(/^\s+at /m);
});

test('a port that is taken ends it with 1', async () => {
  const program = await startTunnels([]);
  try {
    const { code, stderr } = await failing(['--grpc', '127.0.0.1:0', '--http', program.http]);
    expect(code).toBe(1);
    expect(stderr).toContain('EADDRINUSE');
  } finally {
    await program.stop();
  }
});

test('--help shows all commands', async () => {
  const { stdout } = await run(process.execPath, [tunnelsPath, '--help']);
  for (const word of ['rule add', 'rule remove', 'rule list', 'route add', '--redis', '--sd-ttl'])
    expect(stdout).toContain(word);
});
