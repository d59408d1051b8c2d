import { writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { ProbeResist } from './probe-resist.ts';
import { Cleanup, connectPeer, startOrigin, startProxy } from './proxy.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

async function ask(probeResist: ProbeResist, request: string, knock?: string) {
  const proxy = await startProxy(cleanup, ({ username }) => ({ ok: username === 'ada', user: username }), {
    metadata: { probeResist, ...(knock !== undefined && { knock }) },
  });
  const client = await connectPeer(cleanup, proxy.port);
  client.say(request);
  return client;
}

const probes = [
  'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET http://x.test/ HTTP/1.1\r\nHost: x\r\n\r\n',
  'CONNECT x.test:443 HTTP/1.1\r\n\r\n',
];

test.each(probes)('%j is answered with a status, and nothing says that this is a proxy', async (request) => {
  const client = await ask({ kind: 'code', status: 404 }, request);
  expect(await client.all()).toBe('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
});

test('garbage is 400 as of any server', async () => {
  const client = await ask({ kind: 'code', status: 404 }, 'GET\r\n\r\n');
  expect(await client.all()).toBe(
    'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
  );
});

test('whoever knocks is told; whoever is known is served', async () => {
  const knocks = await ask(
    { kind: 'code', status: 404 },
    'GET http://Secret.test/ HTTP/1.1\r\nHost: x\r\n\r\n',
    'secret.test',
  );
  expect(await knocks.head()).toMatch(/^HTTP\/1\.1 407 /);
  const origin = await startOrigin(cleanup);
  const known = await ask(
    { kind: 'code', status: 404 },
    `CONNECT 127.0.0.1:${String(origin.port)} HTTP/1.1\r\nProxy-Authorization: Basic ${btoa('ada:x')}\r\n\r\n`,
  );
  expect(await known.head()).toMatch(/^HTTP\/1\.1 200 /);
});

test('a file, a page, and another server', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'probe-'));
  cleanup.add(folder, () => rmSync(folder, { recursive: true }));
  const path = join(folder, 'page.html');
  writeFileSync(path, '<p>hello');
  expect(await (await ask({ kind: 'file', path }, probes[0]!)).all()).toMatch(
    /^HTTP\/1\.1 200 OK\r\n[^]*<p>hello$/,
  );
  expect(await (await ask({ kind: 'file', path: `${path}x` }, probes[0]!)).all()).toMatch(/^HTTP\/1\.1 503 /);
  const server = createServer((_request, response) => response.writeHead(203).end('a page')).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  cleanup.add(server, () => server.close());
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${String(port)}/`;
  expect(await (await ask({ kind: 'web', url }, probes[0]!)).all()).toMatch(/^HTTP\/1\.1 203 [^]*a page$/);
  const origin = await startOrigin(cleanup);
  const client = await ask(
    { kind: 'host', address: { host: '127.0.0.1', port: origin.port } },
    'POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody',
  );
  const peer = await origin.next();
  expect(await peer.take('body')).toBe('POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody');
  peer.socket.end('whatever it says');
  expect(await client.all()).toBe('whatever it says');
});
