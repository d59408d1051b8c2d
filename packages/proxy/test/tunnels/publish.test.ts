// What docs/tunnels.md says of one server, with the program at both ends: services published by host name, private ones, UDP.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { ask, countOf, get, ids, Scene, seen, until } from './scene.ts';

const scene = new Scene();
afterEach(() => scene.close());

/** What a tunnel is known by that brings no name, or one that is another's. */
const name = createHash('md5').update(ids.web).digest('hex').slice(0, 16);

/** A server with an entrypoint, from the command line. `rules` are `host:id` pairs. */
async function server(rules: string, more = '') {
  const [port, entrypoint] = [await scene.port(), await scene.port()];
  const url = `tunnel+tcp://127.0.0.1:${String(port)}?entrypoint=127.0.0.1:${String(entrypoint)}&tunnel=${rules}${more}`;
  const program = scene.run('-L', url);
  await program.line(/service-0 listening on/);
  return { program, port, entrypoint, node: `tunnel://127.0.0.1:${String(port)}` };
}

/** A client that keeps a tunnel to a target of its machine. Resolves when the server has taken it. */
async function client(node: string, id: string, target: number, listener = 'rtcp://:0') {
  const program = scene.run('-L', `${listener}/127.0.0.1:${String(target)}`, '-F', `${node}?tunnel.id=${id}`);
  return { program, told: await program.line(/tunnel [\da-f-]{36}/) };
}

/** A visitor's client, which takes a port of its own machine to a target in the tunnel. */
async function visitor(node: string, id: string, network: 'tcp' | 'udp', target: string) {
  const port = await scene.port();
  const url = `${network}://127.0.0.1:${String(port)}/${target}`;
  const program = scene.run('-L', url, '-F', `${node}?tunnel.id=${id}`);
  await program.line(/listening on/);
  return { port, program };
}

describe('a service that is published by two commands', () => {
  test('is reached by its host name, and nobody else is', async () => {
    const { entrypoint, node, program } = await server(`web.test:${ids.web},*.wild.test:${ids.web}`);
    // It is known, and nobody serves it.
    expect(await seen(entrypoint, 'web.test')).toBe('503');
    const { told } = await client(node, ids.web, await scene.web('web'));
    // Without a name of its own it has the one that is made of its id, as with GOST.
    expect(told).toContain(`tunnel ${ids.web} as ${name}`);
    expect(await seen(entrypoint, 'web.test')).toBe('200 web saw GET web.test/');
    expect(await seen(entrypoint, 'WEB.test:80')).toMatch(/^200 web saw GET /);
    expect(await seen(entrypoint, 'a.wild.test')).toMatch(/^200 web/);
    expect(await seen(entrypoint, 'other.test')).toBe('502');
    expect(await seen(entrypoint, 'web.test.evil.test')).toBe('502');
    expect(program.lines.filter((line) => / (40|50|60) |level":(50|60)/.test(line))).toEqual([]);
  });

  test('is asked one request after the other on one connection, each by its own host', async () => {
    const { entrypoint, node } = await server(
      `web.test:${ids.web},db.test:${ids.db}`,
      '&entrypoint.keepalive=true',
    );
    await client(node, ids.web, await scene.web('web'));
    await client(node, ids.db, await scene.web('db'));
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    scene.add(agent, (open) => open.destroy());
    const asked = await Promise.all(
      ['web.test', 'web.test', 'db.test', 'nobody.test', 'web.test'].map(async (host) => {
        const { status, body } = await get(entrypoint, host, { agent });
        return status === 200 ? body : status;
      }),
    );
    expect(asked).toEqual([
      'web saw GET web.test/',
      'web saw GET web.test/',
      'db saw GET db.test/',
      502,
      'web saw GET web.test/',
    ]);
    expect(Object.values(agent.freeSockets).flat()).toHaveLength(1);
  });

  test('may become a WebSocket', async () => {
    const { entrypoint, node } = await server(`web.test:${ids.web}`);
    await client(node, ids.web, await scene.web('web'));
    const request = http.get({
      ...{ host: '127.0.0.1', port: entrypoint, path: '/ws' },
      headers: { host: 'web.test', connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': 'x' },
    });
    const [response, socket] = (await once(request, 'upgrade')) as [http.IncomingMessage, net.Socket];
    scene.add(socket, (open) => open.destroy());
    expect(response.statusCode).toBe(101);
    for (const text of ['one', 'two']) {
      socket.write(text);
      expect(String(await once(socket, 'data').then(([bytes]) => bytes as Buffer))).toBe(text);
    }
    socket.end();
    await once(socket, 'close');
  });

  test('carries much both ways, and a client that goes in the middle harms nobody', async () => {
    const { entrypoint, node } = await server(`web.test:${ids.web}`);
    const big = Buffer.alloc(8 * 1024 * 1024, 'tunnels ');
    const port = await scene.web('web', (request, response) => {
      let bytes = 0;
      request.on('data', (chunk: Buffer) => (bytes += chunk.length));
      request.on('end', () => {
        response.setHeader('got', String(bytes));
        response.end(big);
      });
    });
    await client(node, ids.web, port);
    const post = (body: Buffer, leaves = false) =>
      new Promise<{ got: string; bytes: number }>((resolve, reject) => {
        const request = http.request(
          {
            host: '127.0.0.1',
            port: entrypoint,
            method: 'POST',
            agent: false,
            headers: { host: 'web.test' },
          },
          (response) => {
            let bytes = 0;
            response.on('data', (chunk: Buffer) => {
              bytes += chunk.length;
              if (leaves) response.destroy(new Error('left'));
            });
            response.on('end', () => resolve({ got: String(response.headers['got']), bytes }));
            response.on('error', reject);
          },
        );
        request.on('error', reject);
        request.end(body);
      });
    const leaving = Array.from({ length: 5 }, () =>
      post(Buffer.from('x'), true).catch((error: Error) => error.message),
    );
    const staying = Array.from({ length: 3 }, () => post(big));
    expect(await Promise.all(staying)).toEqual(
      staying.map(() => ({ got: String(big.length), bytes: big.length })),
    );
    expect(await Promise.all(leaving)).toEqual(leaving.map(() => 'left'));
    await post(Buffer.from('y'));
  });

  test('gets the name that it asks for, unless it is another`s', async () => {
    const { entrypoint, node } = await server(`my.example.com:${ids.web},db.test:${ids.db}`);
    const port = await scene.web('web');
    const own = await client(node, ids.web, port, 'rtcp://My.Example.com:0');
    expect(own.told).toMatch(new RegExp(`tunnel ${ids.web} as my\\.example\\.com"`));
    expect(await seen(entrypoint, 'my.example.com')).toBe('200 web saw GET my.example.com/');
    const others = await client(node, ids.web, port, 'rtcp://db.test:0');
    expect(others.told).toContain(`tunnel ${ids.web} as ${name}`);
    expect(await seen(entrypoint, 'db.test')).toBe('503');
  });

  test('has a target that is not there: the visitor is told, and the tunnel lives', async () => {
    const { entrypoint, node } = await server(`web.test:${ids.web}`);
    const nobody = await scene.port();
    const { program } = await client(node, ids.web, nobody);
    const { status } = await get(entrypoint, 'web.test');
    expect(status).toBe(502);
    expect(countOf(program, /tunnel [\da-f-]{36}/)).toBe(1);
    expect(await seen(entrypoint, 'web.test')).toBe('502');
  });
});

describe('a private tunnel', () => {
  test('is reached by a visitor who knows its id, and by no entrypoint', async () => {
    const { entrypoint, node } = await server(`db.test:$${ids.db}`);
    await client(node, ids.db, await scene.web('db'));
    const { port } = await visitor(node, ids.db, 'tcp', 'db.test:5432');
    expect(await seen(port, 'x')).toBe('200 db saw GET x/');
    expect(await seen(entrypoint, 'db.test')).toBe('502');
    const { port: stranger, program: wrong } = await visitor(node, ids.web, 'tcp', 'db.test:5432');
    await expect(get(stranger, 'x')).rejects.toThrow();
    await wrong.line(/relay says 6/);
  });

  test('is visited by many at once', async () => {
    const { node } = await server(`db.test:$${ids.db}`);
    await client(node, ids.db, await scene.web('db'));
    const { port } = await visitor(node, ids.db, 'tcp', 'db.test:5432');
    const asked = await Promise.all(
      Array.from({ length: 50 }, (_, index) => seen(port, `x${String(index)}`)),
    );
    expect(asked).toEqual(asked.map((_, index) => `200 db saw GET x${String(index)}/`));
  });
});

describe('datagrams', () => {
  test('go through a tunnel, those of each visitor by themselves', async () => {
    const { node, program } = await server(`dns.test:${ids.dns}`);
    await client(node, ids.dns, await scene.echo('dns'), 'rudp://:0');
    const { port } = await visitor(node, ids.dns, 'udp', 'dns.test:53');
    const asked = await Promise.all(Array.from({ length: 10 }, (_, index) => ask(port, `q${String(index)}`)));
    expect(asked).toEqual(asked.map((_, index) => `dns:q${String(index)}`));
    expect(await ask(port, 'x'.repeat(20_000))).toBe(`dns:${'x'.repeat(20_000)}`);
    // A connector for datagrams is none for connections.
    const web = scene.run(
      '-L',
      `tcp://127.0.0.1:${String(await scene.port())}/dns.test:53`,
      '-F',
      `${node}?tunnel.id=${ids.dns}`,
    );
    const [, streams] = /listening on 127\.0\.0\.1:(\d+)/.exec(await web.line(/listening on/))!;
    await expect(get(Number(streams), 'x')).rejects.toThrow();
    await web.line(/relay says 5/);
    await until(() => countOf(program, /noRoute|no connector|dns\.test:53/) > 0, 'a line about the visitor');
  });
});
