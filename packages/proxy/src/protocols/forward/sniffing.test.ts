import { once } from 'node:events';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { createAuthority } from '@sallyport/plugin/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { Cleanup, connectPeer, noHttp, only, startForward, startOrigin } from './forward.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const on = { sniffing: true, sniffingTimeoutMs: 100 };
const ok = (body: string, fields = '') =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${String(body.length)}\r\n${fields}\r\n${body}`;
const get = (host: string, path = '/', fields = '') =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`;

async function twoNodes(metadata = {}, parts = {}) {
  const [a, b] = [await startOrigin(cleanup), await startOrigin(cleanup)];
  const proxy = await startForward(
    cleanup,
    [
      { port: a.port, name: 'a', ...only(({ host }) => host.endsWith('.a.test')) },
      { port: b.port, name: 'b', ...only(({ host, path }) => host === 'b.test' && path.startsWith('/b')) },
    ],
    { ...on, ...metadata },
    parts,
  );
  return { a, b, proxy, client: await connectPeer(cleanup, proxy.port) };
}

describe('HTTP', () => {
  test('each request of a connection goes to the node of its own host and path', async () => {
    const { a, b, client, proxy } = await twoNodes();
    client.say(get('x.a.test', '/1?q'));
    const first = await a.next();
    expect(await first.head()).toBe('GET /1?q HTTP/1.1\r\nHost: x.a.test\r\n\r\n');
    first.say(ok('one'));
    await client.take('one');
    client.say(get('B.test.', '/b/c'));
    const second = await b.next();
    expect(await second.head()).toMatch(/^GET \/b\/c HTTP\/1\.1\r\nHost: B\.test\.\r\n/);
    second.say(ok('two'));
    await client.take('two');
    client.say(get('b.test', '/elsewhere'));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 503 /);
    await client.take(')\n');
    client.say(get('c.test'));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 503 /);
    const served = proxy.events.filter((event) => event.kind === 'served');
    expect(served[0]!.details).toMatchObject({
      node: 'a',
      http: {
        host: 'x.a.test:80',
        method: 'GET',
        uri: '/1?q',
        statusCode: 200,
        scheme: 'http',
        proto: 'HTTP/1.1',
      },
    });
  });

  test('the bypass is asked about each, with its path; what it refuses is 403, and no node sees it', async () => {
    const asked: unknown[] = [];
    const bypass = {
      bypass(ask: { target: string; path: string }) {
        asked.push(ask);
        return ask.target.startsWith('no.');
      },
    };
    const { a, client } = await twoNodes({}, { bypass });
    client.say(get('yes.a.test', '/%61?x=1'));
    const server = await a.next();
    await server.head();
    server.say(ok('fine'));
    await client.take('fine');
    client.say(get('no.a.test', '/2'));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 403 /);
    expect(asked).toEqual([
      { target: 'yes.a.test:80', user: '', network: 'tcp', host: '', path: '/a?x=1', service: 'test' },
      { target: 'no.a.test:80', user: '', network: 'tcp', host: '', path: '/2', service: 'test' },
    ]);
    expect(server.text).toBe('');
  });

  test('a request without a name is asked about by where it came', async () => {
    const asked: string[] = [];
    const bypass = {
      bypass(ask: { target: string }) {
        asked.push(ask.target);
        return true;
      },
    };
    const { client, proxy } = await twoNodes({}, { bypass });
    client.say('GET / HTTP/1.0\r\n\r\n');
    expect(await client.head()).toMatch(/^HTTP\/1\.1 403 /);
    expect(asked).toEqual([`127.0.0.1:${String(proxy.port)}`]);
  });

  test('a protocol is switched to', async () => {
    const { a, client } = await twoNodes();
    client.say(get('x.a.test', '/ws', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'));
    const server = await a.next();
    expect(await server.head()).toMatch(/Upgrade: websocket/);
    server.say('HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframe');
    await client.take('frame');
    client.say('back');
    await server.take('back');
  });

  test('a proxy behind it gets what is meant for a proxy', async () => {
    const { a, client } = await twoNodes();
    client.say('GET http://x.a.test/p HTTP/1.1\r\nHost: other\r\nProxy-Authorization: Basic eA==\r\n\r\n');
    const first = await a.next();
    expect(await first.head()).toBe(
      'GET http://x.a.test/p HTTP/1.1\r\nHost: x.a.test\r\nProxy-Authorization: Basic eA==\r\n\r\n',
    );
    first.say('HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n');
    expect(await client.head()).toMatch(/^HTTP\/1\.1 407 Who\r\nProxy-Authenticate: Basic\r\n/);
    client.say('CONNECT y.a.test:443 HTTP/1.1\r\n\r\n');
    const second =
      a.peers.length > 1
        ? await a.next()
        : await Promise.race([a.next(), first.take('CONNECT').then(() => first)]);
    if (second !== first) await second.take('CONNECT');
    await second.head();
    second.say('HTTP/1.1 200 Fine\r\n\r\nearly');
    expect(await client.take('early')).toMatch(/^HTTP\/1\.1 200 Fine\r\n/);
    client.say('raw');
    await second.take('raw');
  });

  test('HTTP/2 in the clear cannot be looked into', async () => {
    const { client } = await twoNodes();
    client.say('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    expect(await client.all()).toMatch(/^HTTP\/1\.1 505 /);
  });
});

describe('others', () => {
  test('a server that speaks first is not kept waiting', async () => {
    const origin = await startOrigin(cleanup);
    const proxy = await startForward(cleanup, [{ port: origin.port }], on);
    const client = await connectPeer(cleanup, proxy.port);
    const server = await origin.next();
    server.say('220 mail\r\n');
    await client.take('mail\r\n');
    client.say('EHLO x\r\n');
    await server.take('EHLO x\r\n');
  });

  test('a client that was silent is still looked into', async () => {
    const bypass = { bypass: ({ target }: { target: string }) => target.startsWith('no.') };
    const origin = await startOrigin(cleanup);
    const proxy = await startForward(cleanup, [{ port: origin.port }], on, { bypass });
    const client = await connectPeer(cleanup, proxy.port);
    // The node was connected to in vain.
    const probed = await origin.next();
    client.say(get('no.test'));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 403 /);
    await probed.all();
    expect(probed.text).toBe('');
    await client.take(')\n');
    client.say(get('yes.test'));
    await (await origin.next()).head();
  });

  test('a silent client whose node is known by what it says may take its time', async () => {
    const { a, client, proxy } = await twoNodes();
    await proxy.event('dialed', ({ error }) => error?.code === 'noRoute');
    client.say(get('x.a.test'));
    await (await a.next()).head();
  });

  test('SSH goes where a filter says so', async () => {
    const [any, ssh] = [await startOrigin(cleanup), await startOrigin(cleanup)];
    const proxy = await startForward(
      cleanup,
      [{ port: ssh.port, ...only(({ protocol }) => protocol === 'ssh') }, { port: any.port }],
      on,
    );
    const client = await connectPeer(cleanup, proxy.port);
    client.say('SSH-');
    client.say('2.0-x\r\n');
    expect(await (await ssh.next()).take('x\r\n')).toBe('SSH-2.0-x\r\n');
    const other = await connectPeer(cleanup, proxy.port);
    other.say('\x00\x01');
    expect(await (await any.next()).take('\x01')).toBe('\x00\x01');
  });

  test('TLS goes unread to the node of its name, and is asked about by it', async () => {
    const asked: string[] = [];
    const bypass = {
      bypass({ target }: { target: string }) {
        asked.push(target);
        return target.startsWith('no.');
      },
    };
    const { a, proxy } = await twoNodes({}, { bypass });
    const hello = (servername: string) => {
      const socket = connectTls({
        port: proxy.port,
        host: '127.0.0.1',
        servername,
        rejectUnauthorized: false,
      });
      socket.on('error', () => undefined);
      return cleanup.add(socket, () => socket.destroy());
    };
    hello('X.a.test');
    const server = await a.next();
    expect((await server.take(/x\.a\.test/i)).startsWith('\x16\x03')).toBe(true);
    const refused = hello('no.a.test');
    await new Promise((resolve) => refused.once('close', resolve));
    expect(asked).toEqual(['x.a.test:443', 'no.a.test:443']);
    server.socket.destroy();
    const { details } = await proxy.event('served', ({ what }) => what.startsWith('TLS X.a'));
    expect(details).toMatchObject({ tls: { serverName: 'X.a.test' } });
  });

  test('a ClientHello that is broken ends the connection', async () => {
    const { client, proxy } = await twoNodes();
    client.say('\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff\x16');
    await client.all();
    expect((await proxy.event('closed')).error).toMatchObject({ code: 'malformedRequest' });
  });
});

test('a node may be spoken to over TLS', async () => {
  const { key, cert } = createAuthority().issue({ names: ['127.0.0.1'] });
  const server = createTlsServer({ key, cert }, (socket) => {
    socket.once('data', () => socket.end(ok('secret', 'Connection: close\r\n')));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanup.add(server, () => server.close());
  const { port } = server.address() as AddressInfo;
  const proxy = await startForward(cleanup, [{ port, tls: { verify: false }, http: noHttp }], on);
  const client = await connectPeer(cleanup, proxy.port);
  client.say(get('x.test'));
  await client.take('secret');
});
