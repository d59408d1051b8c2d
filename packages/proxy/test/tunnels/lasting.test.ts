// What a tunnel outlives: its server, its clients, and new configurations of either; the program at both ends.
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { countOf, get, ids, keepVisiting, Scene, seen, until, untilPublic } from './scene.ts';

const scene = new Scene();
afterEach(() => scene.close());

const registered = /tunnel [\da-f-]{36} as/;
const at = (port: number) => `127.0.0.1:${String(port)}`;

/** The configuration of a server; `rules` say which host leads to which tunnel. */
function serverConfig(port: number, entrypoint: number, rules: string, metadata: object = {}) {
  return {
    services: [
      {
        name: 'tunnels',
        addr: at(port),
        handler: { type: 'tunnel', metadata: { entrypoint: at(entrypoint), tunnel: rules, ...metadata } },
        listener: { type: 'tcp' },
      },
    ],
  };
}

function clientConfig(server: number, id: string, target: number, more: object = {}) {
  return {
    services: [
      {
        name: 'web',
        addr: ':0',
        handler: { type: 'rtcp' },
        listener: { type: 'rtcp', chain: 'server' },
        forwarder: { nodes: [{ name: 'target', addr: at(target) }] },
      },
    ],
    chains: [
      {
        name: 'server',
        hops: [
          {
            name: 'hop',
            nodes: [
              {
                ...{ name: 'node', addr: at(server), dialer: { type: 'tcp' } },
                connector: { type: 'tunnel', metadata: { 'tunnel.id': id, ...more } },
              },
            ],
          },
        ],
      },
    ],
  };
}

async function ports() {
  return [await scene.port(), await scene.port()] as const;
}

/** A client of the command line. */
function client(server: number, id: string, target: number, more = '') {
  return scene.run('-L', `rtcp://:0/${at(target)}`, '-F', `tunnel://${at(server)}?tunnel.id=${id}${more}`);
}

const web = `web.test:${ids.web}`;

/** A connection to a host that says nothing until it is asked to. */
async function holdOpen(entrypoint: number) {
  const socket = net.connect(entrypoint, '127.0.0.1');
  scene.add(socket, (open) => open.destroy());
  socket.write(
    'GET /ws HTTP/1.1\r\nHost: web.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n',
  );
  const [head] = (await once(socket, 'data')) as [Buffer];
  expect(String(head)).toMatch(/^HTTP\/1\.1 101 /);
  return async (text: string) => {
    socket.write(text);
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    return String(bytes);
  };
}

describe('a server', () => {
  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'that goes by %s and comes again has its tunnels again',
    async (signal) => {
      const [port, entrypoint] = await ports();
      const first = await scene.serve(serverConfig(port, entrypoint, web));
      const run = client(port, ids.web, await scene.web('web'));
      await run.line(registered);
      expect(await seen(entrypoint, 'web.test')).toMatch(/^200 /);
      await first.stop(signal);
      await run.line(/does not listen for us any more/);
      await expect(get(entrypoint, 'web.test')).rejects.toThrow();
      await scene.serve(serverConfig(port, entrypoint, web));
      await untilPublic(entrypoint, 'web.test');
      await until(() => countOf(run, registered) === 2, 'a second registration');
    },
  );

  test('that is not there yet is waited for', async () => {
    const [port, entrypoint] = await ports();
    const run = client(port, ids.web, await scene.web('web'));
    await run.line(/connection refused/);
    await scene.serve(serverConfig(port, entrypoint, web));
    await untilPublic(entrypoint, 'web.test');
  });

  test('is given another configuration while visitors come: none is turned away, and tunnels stay', async () => {
    const [port, entrypoint] = await ports();
    const server = await scene.serve(serverConfig(port, entrypoint, web));
    const run = client(port, ids.web, await scene.web('web'));
    await run.line(registered);
    const say = await holdOpen(entrypoint);
    const visits = keepVisiting(entrypoint, 'web.test');
    await visits.more(10);
    for (let count = 0; count < 3; count++) {
      await server.reload(
        serverConfig(port, entrypoint, `${web},more.test:${ids.web}`, {
          'tunnel.ttl': `${String(count + 5)}s`,
        }),
      );
      await visits.more(10);
    }
    const { failures } = await visits.stop();
    expect(failures).toEqual([]);
    // What came before goes on, and what is new counts.
    expect(await say('still here')).toBe('still here');
    expect(await seen(entrypoint, 'more.test')).toMatch(/^200 /);
    expect(countOf(run, registered)).toBe(1);
  });

  test('is given a configuration that is wrong, or without the rule: nothing changes, or it does', async () => {
    const [port, entrypoint] = await ports();
    const server = await scene.serve(serverConfig(port, entrypoint, web));
    await client(port, ids.web, await scene.web('web')).line(registered);
    await server.reload(serverConfig(port, entrypoint, 'web.test:no-uuid'));
    await server.line(/not reloaded/);
    expect(await seen(entrypoint, 'web.test')).toMatch(/^200 /);
    await server.reload(serverConfig(port, entrypoint, `other.test:${ids.web}`));
    expect(await seen(entrypoint, 'web.test')).toBe('502');
    expect(await seen(entrypoint, 'other.test')).toMatch(/^200 /);
  });
});

describe('a client', () => {
  test('is given another configuration while visitors come: none is turned away', async () => {
    const [port, entrypoint] = await ports();
    await scene.serve(serverConfig(port, entrypoint, web));
    const [one, other] = [await scene.web('one'), await scene.web('other')];
    const run = await scene.serve(clientConfig(port, ids.web, one));
    await run.line(registered);
    const say = await holdOpen(entrypoint);
    const visits = keepVisiting(entrypoint, 'web.test');
    await visits.more(10);
    for (const target of [other, one, other]) {
      await run.reload(clientConfig(port, ids.web, target));
      await visits.more(10);
    }
    const { failures } = await visits.stop();
    expect(failures).toEqual([]);
    await until(() => countOf(run, registered) === 4, 'the last registration');
    expect(await seen(entrypoint, 'web.test')).toMatch(/^200 other /);
    expect(await say('still here')).toBe('still here');
  });

  test('that goes leaves its tunnel to the others; weights say how visitors are spread', async () => {
    const [port, entrypoint] = await ports();
    await scene.serve(serverConfig(port, entrypoint, web));
    const light = client(port, ids.web, await scene.web('light'));
    const heavy = client(port, ids.web, await scene.web('heavy'), '&tunnel.weight=4');
    for (const run of [light, heavy]) await run.line(registered);
    const counts = async (visits: number) => {
      const found = new Map<string, number>();
      for (let count = 0; count < visits; count += 20) {
        const some = await Promise.all(Array.from({ length: 20 }, () => seen(entrypoint, 'web.test')));
        for (const one of some) {
          const [, who = one] = /^200 (\w+)/.exec(one) ?? [];
          found.set(who, (found.get(who) ?? 0) + 1);
        }
      }
      return Object.fromEntries(found);
    };
    // A fifth of 200 is 40; that it is fewer than 10 or more than 80 happens once in a thousand million times.
    const spread = await counts(200);
    expect(Object.keys(spread).sort()).toEqual(['heavy', 'light']);
    expect(spread['light']).toBeGreaterThan(10);
    expect(spread['light']).toBeLessThan(80);
    const only = client(port, ids.web, await scene.web('only'), '&tunnel.weight=255');
    await only.line(registered);
    expect(await counts(40)).toEqual({ only: 40 });
    await only.stop();
    expect(Object.keys(await counts(100)).sort()).toEqual(['heavy', 'light']);
    await heavy.stop('SIGKILL');
    await until(async () => (await counts(20))['light'] === 20, 'the other one');
    await light.stop('SIGKILL');
    await until(async () => (await seen(entrypoint, 'web.test')) === '503', 'that nobody is there');
  });

  test('that is stopped in peace, while another is there, costs no visitor anything', async () => {
    const [port, entrypoint] = await ports();
    await scene.serve(serverConfig(port, entrypoint, web));
    const stays = client(port, ids.web, await scene.web('stays'));
    await stays.line(registered);
    const visits = keepVisiting(entrypoint, 'web.test');
    for (let count = 0; count < 3; count++) {
      const goes = client(port, ids.web, await scene.web('goes'), '&tunnel.weight=5');
      await goes.line(registered);
      await visits.more(10);
      await goes.stop();
    }
    const { failures } = await visits.stop();
    expect(failures).toEqual([]);
  });

  test('without an id has one of its own, and the name that is made of it', async () => {
    const [port, entrypoint] = await ports();
    await scene.serve(serverConfig(port, entrypoint, web));
    const run = scene.run('-L', `rtcp://:0/${at(await scene.web('web'))}`, '-F', `tunnel://${at(port)}`);
    const [, id] = /tunnel ([\da-f-]{36}) as [\da-f]{16}/.exec(await run.line(registered))!;
    await scene.add(client(port, id!, await scene.web('other')), () => undefined).line(registered);
  });
});
