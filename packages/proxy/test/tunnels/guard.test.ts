// Who may register a tunnel, and what an entrypoint asks of who comes in: the program at both ends.
import http from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { startPlugins } from '../modules/plugins.ts';
import { countOf, get, ids, Scene, seen, until, untilPublic } from './scene.ts';

const scene = new Scene();
afterEach(() => scene.close());

const rules = {
  name: 'names',
  rules: [
    ['web.test', ids.web],
    ['db.test', ids.db],
  ].map(([hostname, endpoint]) => ({ hostname, endpoint })),
};
const auths = ['ada', 'bob'].map((username) => ({ username, password: username }));

/** A server with an entrypoint, of a configuration in which `service` and `more` differ. */
async function server(service: object, more: object = {}, metadata: object = {}) {
  const [port, entrypoint] = [await scene.port(), await scene.port()];
  const at = (where: number) => `127.0.0.1:${String(where)}`;
  const { handler, ...rest } = service as { handler?: object };
  const config = {
    services: [
      {
        name: 'tunnels',
        addr: at(port),
        handler: {
          type: 'tunnel',
          metadata: { entrypoint: at(entrypoint), ingress: 'names', 'tunnel.ttl': '1s', ...metadata },
          ...handler,
        },
        listener: { type: 'tcp' },
        ...rest,
      },
    ],
    ingresses: [rules],
    ...more,
  };
  return { program: await scene.serve(config), entrypoint, at: at(port) };
}

/** A client of a server; `who` is `user:password@` or nothing. */
function client(at: string, id: string, target: number, who = '') {
  return scene.run(
    '-L',
    `rtcp://:0/127.0.0.1:${String(target)}`,
    '-F',
    `tunnel://${who}${at}?tunnel.id=${id}`,
  );
}

const registered = /tunnel [\da-f-]{36} as/;

describe('without tags of its auther, a tunnel', () => {
  const authers = [{ name: 'users', auths }];

  test('is of the user who has it, wherever that user is', async () => {
    const { at, entrypoint } = await server({ handler: { auther: 'users' } }, { authers });
    const port = await scene.web('web');
    const owner = client(at, ids.web, port, 'ada:ada@');
    await owner.line(registered);
    const other = client(at, ids.web, await scene.web('other'), 'bob:bob@');
    const refusal = await other.line(/relay says 3/);
    expect(refusal).toContain(`does not allow the tunnel ${ids.web}`);
    expect(await seen(entrypoint, 'web.test')).toMatch(/^200 web /);
    // The same user may serve it from elsewhere as well.
    await client(at, ids.web, port, 'ada:ada@').line(registered);
    const another = client(at, ids.db, await scene.web('db'), 'bob:bob@');
    await another.line(registered);
    expect(countOf(other, registered)).toBe(0);
  });

  test('becomes another`s when its time is over', async () => {
    const { at, entrypoint } = await server({ handler: { auther: 'users' } }, { authers });
    const owner = client(at, ids.web, await scene.web('web'), 'ada:ada@');
    await owner.line(registered);
    const other = client(at, ids.web, await scene.web('other'), 'bob:bob@');
    await other.line(/relay says 3/);
    await owner.stop();
    expect(await seen(entrypoint, 'web.test')).toBe('503');
    // Who was refused asks again by itself.
    await other.line(registered);
    expect(await seen(entrypoint, 'web.test')).toMatch(/^200 other /);
  });

  test.each([
    ['a wrong password', 'ada:bob@', 'does not accept our credentials'],
    ['none', '', 'wants a user name and a password'],
  ])('is nobody`s who has %s', async (_, who, words) => {
    const { at, entrypoint } = await server({ handler: { auther: 'users' } }, { authers });
    const stranger = client(at, ids.web, await scene.web('web'), who);
    expect(await stranger.line(/relay says 2/)).toContain(words);
    expect(await seen(entrypoint, 'web.test')).toBe('503');
  });
});

test('an auther`s tags name the tunnels that a user may have, and no others', async () => {
  const plugins = scene.add(
    await startPlugins('grpc', {
      auth: {
        authenticate({ username }, { meta }) {
          if (username === 'ada') meta.tags = [`tunnel=${ids.web}`];
          return { ok: true, user: username };
        },
      },
    }),
    (open) => open.close(),
  );
  const authers = [{ name: 'users', plugin: plugins.block('auth') }];
  const { at, entrypoint, program } = await server({ handler: { auther: 'users' } }, { authers });
  const port = await scene.web('web');
  await client(at, ids.web, port, 'ada:x@').line(registered);
  await client(at, ids.db, port, 'ada:x@').line(/relay says 3/);
  await program.line(new RegExp(`may register ${ids.web}, and not the tunnel ${ids.db}`));
  // Whoever has no tag has what is nobody's.
  await client(at, ids.web, port, 'bob:x@').line(/relay says 3/);
  await client(at, ids.db, port, 'bob:x@').line(registered);
  expect(await seen(entrypoint, 'db.test')).toMatch(/^200 web /);
  expect(plugins.problems).toEqual([]);
});

describe('what the service asks, its entrypoint asks', () => {
  const from = (localAddress: string) => ({ localAddress });

  test('admission: nobody is served who may not connect', async () => {
    const admissions = [{ name: 'guests', matchers: ['127.0.0.9'] }];
    const { at, entrypoint, program } = await server({ admission: 'guests' }, { admissions });
    await client(at, ids.web, await scene.web('web')).line(registered);
    expect(await seen(entrypoint, 'web.test')).toMatch(/^200/);
    await expect(get(entrypoint, 'web.test', from('127.0.0.9'))).rejects.toThrow(/reset|hang up/i);
    await program.line(/127\.0\.0\.9:\d+ may not connect/);
  });

  test('climiter: no more connections than are allowed', async () => {
    const climiters = [{ name: 'few', limits: ['127.0.0.8 1'] }];
    const { at, entrypoint, program } = await server({ climiter: 'few' }, { climiters });
    await client(at, ids.web, await scene.web('web')).line(registered);
    const agent = scene.add(new http.Agent({ keepAlive: true }), (open) => open.destroy());
    expect(await seen(entrypoint, 'web.test', { ...from('127.0.0.8'), agent })).toMatch(/^200/);
    await expect(get(entrypoint, 'web.test', from('127.0.0.8'))).rejects.toThrow(/reset|hang up/i);
    await program.line(/too many connections from 127\.0\.0\.8/);
    expect(await seen(entrypoint, 'web.test')).toMatch(/^200/);
    // The place becomes free with the connection.
    agent.destroy();
    await until(
      async () =>
        (await get(entrypoint, 'web.test', from('127.0.0.8')).catch(() => undefined))?.status === 200,
      'a place',
    );
  });

  test('rlimiter: no more requests than are allowed, and what is refused is said', async () => {
    const rlimiters = [{ name: 'slow', limits: ['127.0.0.7 1'] }];
    const { at, entrypoint } = await server({ rlimiter: 'slow' }, { rlimiters });
    await client(at, ids.web, await scene.web('web')).line(registered);
    const asked = await Promise.all(
      Array.from({ length: 8 }, async () => (await get(entrypoint, 'web.test', from('127.0.0.7'))).status),
    );
    expect(asked.filter((status) => status === 200).length).toBeGreaterThanOrEqual(1);
    expect(asked.filter((status) => status === 429).length).toBeGreaterThanOrEqual(2);
  });

  test('bypass: every request of a connection, by its own host', async () => {
    const bypasses = [{ name: 'not', matchers: ['db.test'] }];
    const { at, entrypoint } = await server({ bypass: 'not' }, { bypasses });
    await client(at, ids.web, await scene.web('web')).line(registered);
    await client(at, ids.db, await scene.web('db')).line(registered);
    const agent = scene.add(new http.Agent({ keepAlive: true, maxSockets: 1 }), (open) => open.destroy());
    const asked: number[] = [];
    for (const host of ['web.test', 'db.test', 'web.test'])
      asked.push((await get(entrypoint, host, { agent })).status);
    expect(asked).toEqual([200, 403, 200]);
  });

  test('limiter: what goes through a tunnel goes no faster than it may', async () => {
    const limiters = [{ name: 'rate', limits: ['$ 200KB 200KB'] }];
    const { at, entrypoint } = await server({ limiter: 'rate' }, { limiters });
    const bytes = Buffer.alloc(600_000, 'x');
    const port = await scene.web('web', (_request, response) => response.end(bytes));
    await client(at, ids.web, port).line(registered);
    await untilPublic(entrypoint, 'web.test');
    const since = performance.now();
    const { body } = await get(entrypoint, 'web.test');
    expect(body.length).toBe(bytes.length);
    expect(performance.now() - since).toBeGreaterThan(1500);
  });
});
