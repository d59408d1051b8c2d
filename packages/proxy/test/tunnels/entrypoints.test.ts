// The ways in and out of a tunnel: TLS by its name, relay visitors, several entrypoints, what carries the tunnel; the program at
// both ends.
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { createAuthority } from '../../../plugin/src/testing/certificates.ts';
import { countOf, get, ids, Scene, seen } from './scene.ts';

const scene = new Scene();
afterEach(() => scene.close());

const registered = /tunnel [\da-f-]{36} as/;
const publicId = 'e0000000-0000-4000-8000-00000000000e';
const at = (port: number) => `127.0.0.1:${String(port)}`;

async function server(rules: string, more = '', transport = 'tcp') {
  const [port, entrypoint] = [await scene.port(), await scene.port()];
  const url = `tunnel+${transport}://${at(port)}?entrypoint=${at(entrypoint)}&tunnel=${rules}${more}`;
  await scene.run('-L', url).line(/service-0 listening on/);
  return { port, entrypoint, node: `tunnel+${transport}://${at(port)}` };
}

/** A client that keeps a tunnel, of which `listener` is the listener's URL. */
async function client(node: string, id: string, listener: string, ...between: string[]) {
  const mark = node.includes('?') ? '&' : '?';
  const run = scene.run('-L', listener, ...between, '-F', `${node}${mark}tunnel.id=${id}`);
  await run.line(registered);
  return run;
}

/** A visitor's port, whatever of `target` is wanted, by way of `where`. */
async function visitor(where: string, id: string, target: string) {
  const port = await scene.port();
  const run = scene.run('-L', `tcp://${at(port)}/${target}`, '-F', `tunnel://${where}?tunnel.id=${id}`);
  await run.line(/listening on/);
  return { port, run };
}

describe('at an entrypoint', () => {
  test('TLS passes unopened to the tunnel of its name', async () => {
    const authority = createAuthority();
    const secure = tls.createServer(authority.issue({ names: ['web.test'] }), (socket) => {
      socket.on('error', () => socket.destroy()).end(`hello ${String(socket.servername)}`);
    });
    secure.on('tlsClientError', () => undefined).listen(0, '127.0.0.1');
    await once(secure, 'listening');
    scene.add(secure, (open) => open.close());
    const { entrypoint, node } = await server(`web.test:${ids.web},db.test:$${ids.db}`);
    await client(node, ids.web, `rtcp://:0/${at((secure.address() as AddressInfo).port)}`);
    const ask = async (servername: string) => {
      const socket = tls.connect({ port: entrypoint, host: '127.0.0.1', servername, ca: authority.cert });
      scene.add(socket, (open) => open.destroy());
      let text = '';
      for await (const chunk of socket.setEncoding('utf8')) text += String(chunk);
      return text;
    };
    expect(await ask('web.test')).toBe('hello web.test');
    for (const name of ['db.test', 'other.test']) await expect(ask(name)).rejects.toThrow();
  });

  test('relay visitors of the public id go by the ingress, and reach nothing private', async () => {
    const { entrypoint, node, port } = await server(
      `web.test:${ids.web},db.test:$${ids.db}`,
      `&entrypoint.id=${publicId}`,
    );
    await client(node, ids.web, `rtcp://:0/${at(await scene.web('web'))}`);
    await client(node, ids.db, `rtcp://:0/${at(await scene.web('db'))}`);
    for (const where of [at(entrypoint), at(port)]) {
      const open = await visitor(where, publicId, 'web.test:80');
      expect(await seen(open.port, 'x')).toBe('200 web saw GET x/');
      for (const target of ['db.test:80', 'other.test:80']) {
        const closed = await visitor(where, publicId, target);
        await expect(get(closed.port, 'x')).rejects.toThrow();
        await closed.run.line(target === 'db.test:80' ? /relay says 6/ : /relay says 7/);
      }
    }
    // Where everybody may come in, knowing an id proves nothing.
    const stranger = await visitor(at(entrypoint), ids.db, 'db.test:80');
    await expect(get(stranger.port, 'x')).rejects.toThrow();
    expect(await seen((await visitor(at(port), ids.db, 'db.test:80')).port, 'x')).toBe('200 db saw GET x/');
  });

  test('with `tunnel.direct` a visitor needs no rule, only the id', async () => {
    const { node, port } = await server(`web.test:${ids.web}`, '&tunnel.direct=true');
    await client(node, ids.db, `rtcp://:0/${at(await scene.web('db'))}`);
    expect(await seen((await visitor(at(port), ids.db, 'any.test:80')).port, 'x')).toBe('200 db saw GET x/');
  });

  test('each has its own rules where it has an ingress of its own', async () => {
    const [port, first, second] = [await scene.port(), await scene.port(), await scene.port()];
    const rule = (endpoint: string) => [{ hostname: 'web.test', endpoint }];
    await scene.serve({
      services: [
        {
          name: 'tunnels',
          addr: at(port),
          handler: {
            type: 'tunnel',
            metadata: {
              ...{ entrypoint: at(first), ingress: 'one' },
              entrypoints: [{ addr: at(second), ingress: 'two' }],
            },
          },
          listener: { type: 'tcp' },
        },
      ],
      ingresses: [
        { name: 'one', rules: rule(ids.web) },
        { name: 'two', rules: rule(ids.db) },
      ],
    });
    const node = `tunnel://${at(port)}`;
    await client(node, ids.web, `rtcp://:0/${at(await scene.web('web'))}`);
    await client(node, ids.db, `rtcp://:0/${at(await scene.web('db'))}`);
    expect(await seen(first, 'web.test')).toMatch(/^200 web /);
    expect(await seen(second, 'web.test')).toMatch(/^200 db /);
  });

  test('what is no request is told so, or cut, and harms nobody', async () => {
    const { entrypoint, node } = await server(`web.test:${ids.web}`);
    await client(node, ids.web, `rtcp://:0/${at(await scene.web('web'))}`);
    const say = async (bytes: Buffer | string) => {
      const socket = net.connect(entrypoint, '127.0.0.1').on('error', () => undefined);
      scene.add(socket, (open) => open.destroy());
      socket.end(bytes);
      let text = '';
      socket.setEncoding('latin1').on('data', (some: string) => (text += some));
      await new Promise((resolve) => socket.on('close', resolve));
      return text;
    };
    expect(await say('nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    expect(await say('GET / HTTP/1.1\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    expect(await say(Buffer.from([1, 1, 0, 3, 2, 0xff, 0xff]))).toBe('\x01\x01\0\0');
    expect(await say(Buffer.from([0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]))).not.toContain('HTTP');
    expect(await say('')).toBe('');
    expect(await seen(entrypoint, 'web.test')).toMatch(/^200 web /);
  });
});

describe('a tunnel is carried', () => {
  test.each(['tls', 'ws', 'wss', 'mtcp', 'mtls', 'mws', 'mwss'])('by %s', async (transport) => {
    const { entrypoint, node } = await server(`web.test:${ids.web}`, '', transport);
    const open = `${node}?secure=false`;
    await client(open, ids.web, `rtcp://:0/${at(await scene.web('web'))}`);
    expect(await seen(entrypoint, 'web.test')).toBe('200 web saw GET web.test/');
    const many = await Promise.all(Array.from({ length: 20 }, () => seen(entrypoint, 'web.test')));
    expect(new Set(many)).toEqual(new Set(['200 web saw GET web.test/']));
  });

  test('through another node of a chain', async () => {
    const { entrypoint, node } = await server(`web.test:${ids.web}`);
    const [proxy] = [await scene.port()];
    const between = scene.run('-D', '-L', `socks5://${at(proxy)}`);
    await between.line(/listening on/);
    await client(node, ids.web, `rtcp://:0/${at(await scene.web('web'))}`, '-F', `socks5://${at(proxy)}`);
    expect(await seen(entrypoint, 'web.test')).toBe('200 web saw GET web.test/');
    expect(countOf(between, /connected to 127\.0\.0\.1/)).toBeGreaterThan(0);
  });

  test.each(['mux.version=1', 'mux.type=yamux'])('with %s, where both ends say so', async (mux) => {
    const { entrypoint, node } = await server(`web.test:${ids.web}`, `&${mux}`);
    await client(`${node}?${mux}`, ids.web, `rtcp://:0/${at(await scene.web('web'))}`);
    expect(await seen(entrypoint, 'web.test')).toBe('200 web saw GET web.test/');
  });

  test('to where its visitors want to go, where the client says nothing else, and allows it', async () => {
    const { entrypoint, node } = await server(`localhost:${ids.web}`);
    const port = await scene.web('web');
    await client(node, ids.web, 'rtcp://:0?bypass=~localhost');
    expect(await seen(entrypoint, `localhost:${String(port)}`)).toBe(
      `200 web saw GET localhost:${String(port)}/`,
    );
  });
});
