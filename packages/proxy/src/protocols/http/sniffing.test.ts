import { connect as connectTls } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { Cleanup, connectPeer, startOrigin, startProxy } from './proxy.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const ok = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${String(body.length)}\r\n\r\n${body}`;

async function tunnel(metadata = {}) {
  const asked: string[] = [];
  const bypass = {
    bypass({ target, path }: { target: string; path: string }) {
      asked.push(`${target}${path}`);
      return target.startsWith('no.');
    },
  };
  const origin = await startOrigin(cleanup);
  const proxy = await startProxy(cleanup, undefined, { bypass, metadata: { sniffing: true, ...metadata } });
  const client = await connectPeer(cleanup, proxy.port);
  const host = `127.0.0.1:${String(origin.port)}`;
  client.say(`CONNECT ${host} HTTP/1.1\r\n\r\n`);
  await client.head();
  asked.length = 0;
  return { asked, origin, proxy, client, server: await origin.next() };
}

test('each request in a tunnel is asked about by its own Host, and goes where the tunnel leads', async () => {
  const { asked, client, proxy, server } = await tunnel();
  client.say('GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n');
  await server.take('GET /1 ');
  server.say(ok('one'));
  await client.take('one');
  client.say('GET /2 HTTP/1.1\r\nHost: b.test:81\r\n\r\n');
  await server.take('GET /2 ');
  server.say(ok('two'));
  await client.take('two');
  client.say('GET /3 HTTP/1.1\r\nHost: no.test\r\n\r\n');
  expect(await client.head()).toMatch(/^HTTP\/1\.1 403 /);
  expect(server.text).not.toMatch(/no\.test/);
  // As in GOST without a path.
  expect(asked).toEqual(['a.test:80', 'b.test:81', 'no.test:80']);
  const { details } = await proxy.event('served', ({ what }) => what === 'GET b.test:81');
  expect(details).toMatchObject({ http: { host: 'b.test:81', uri: '/2', statusCode: 200 } });
});

test('where the target closed between two requests it is dialled again', async () => {
  const { client, origin, server } = await tunnel();
  client.say('GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n');
  await server.take('GET /1 ');
  server.say('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody');
  server.socket.end();
  await client.take('body');
  await client.take('0\r\n\r\n');
  client.say('GET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n');
  await (await origin.next()).take('GET /2 ');
});

test('a WebSocket passes', async () => {
  const { client, server } = await tunnel();
  client.say('GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  await server.head();
  server.say('HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframe');
  await client.take('frame');
  client.say('raw');
  await server.take('raw');
  server.socket.end();
  await client.all();
});

test('a server that speaks first does not wait, and what is neither HTTP nor TLS passes', async () => {
  const first = await tunnel();
  first.server.say('220 mail\r\n');
  await first.client.take('mail\r\n');
  first.client.say('QUIT\r\n');
  await first.server.take('QUIT\r\n');
  const other = await tunnel();
  other.client.say('\x00\x01');
  await other.server.take('\x01');
  other.server.socket.end('bye');
  expect(await other.client.all()).toBe('bye');
  const slow = await tunnel({ sniffingTimeoutMs: 30 });
  slow.client.say('GE');
  // It could become a request that nobody would have looked at.
  expect(await slow.server.all()).toBe('');
});

test('TLS is asked about by its name, and passes unread', async () => {
  for (const [servername, passes] of [
    ['yes.test', true],
    ['no.test', false],
  ] as const) {
    const { asked, client, proxy, server } = await tunnel();
    // The peer would read it as text.
    client.socket.removeAllListeners('data');
    const socket = connectTls({ socket: client.socket, servername });
    socket.on('error', () => undefined);
    cleanup.add(socket, () => socket.destroy());
    if (passes) await server.take(/yes\.test/);
    else expect(await server.all()).toBe('');
    expect(asked).toEqual([`${servername}:443`]);
    if (passes) continue;
    const { details, error } = await proxy.event('served', ({ what }) => what === 'TLS no.test:443');
    expect(error).toMatchObject({ code: 'forbidden' });
    expect(details).toMatchObject({ tls: { serverName: 'no.test' } });
  }
});

test('a client that leaves without a word ends the tunnel', async () => {
  const { client, proxy, server } = await tunnel();
  client.socket.end();
  expect(await server.all()).toBe('');
  server.socket.end();
  await client.all();
  expect((await proxy.event('closed')).error).toBeUndefined();
});
