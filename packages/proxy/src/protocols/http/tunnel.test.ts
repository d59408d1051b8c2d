import { afterEach, describe, expect, test } from 'vitest';
import { listAuther } from '../../policies/auther/index.ts';
import { Cleanup, connectPeer, startOrigin, startProxy } from './proxy.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const basic = (credentials: string) =>
  `Proxy-Authorization: Basic ${Buffer.from(credentials).toString('base64')}\r\n`;
const connectTo = (port: number, fields = '') =>
  `CONNECT 127.0.0.1:${String(port)} HTTP/1.1\r\nHost: 127.0.0.1:${String(port)}\r\n${fields}\r\n`;

describe('CONNECT', () => {
  test('carries bytes both ways, also those that came with the request, and half-closes each way', async () => {
    const origin = await startOrigin(cleanup);
    const proxy = await startProxy(cleanup);
    const client = await connectPeer(cleanup, proxy.port);
    client.say(`${connectTo(origin.port)}early`);
    const server = await origin.next();
    expect(await client.head()).toMatch(/^HTTP\/1\.1 200 /);
    expect(await server.take('early')).toBe('early');
    server.say('hello');
    expect(await client.take('hello')).toBe('hello');
    client.socket.end('last');
    expect(await server.all()).toBe('last');
    server.socket.end('after the other way has ended');
    expect(await client.all()).toBe('after the other way has ended');
    const closed = await proxy.event('closed');
    expect(closed.error).toBeUndefined();
    // Counted where the client's bytes come in, the request and its answer with them.
    const request = connectTo(origin.port).length;
    const answer = 'HTTP/1.1 200 Connection established\r\n\r\n'.length;
    expect(closed.traffic).toEqual({ received: request + 9, sent: answer + 34 });
  });

  test('a reset by one side is a reset for the other', async () => {
    const origin = await startOrigin(cleanup);
    const proxy = await startProxy(cleanup);
    for (const resets of ['client', 'server'] as const) {
      const client = await connectPeer(cleanup, proxy.port);
      client.say(connectTo(origin.port));
      await client.head();
      const server = await origin.next();
      (resets === 'client' ? client : server).socket.resetAndDestroy();
      const other = resets === 'client' ? server : client;
      await other.all();
      expect(other.error).toBe('ECONNRESET');
    }
  });

  test('megabytes pass unharmed through a reader that takes its time', async () => {
    const origin = await startOrigin(cleanup);
    const proxy = await startProxy(cleanup);
    const client = await connectPeer(cleanup, proxy.port);
    client.say(connectTo(origin.port));
    const server = await origin.next();
    await client.head();
    client.socket.pause();
    const block = Buffer.alloc(1 << 20, 'sallyport ');
    for (let i = 0; i < 16; i++) server.socket.write(block);
    server.socket.end();
    const closed = client.all();
    client.socket.resume();
    expect((await closed).length).toBe(16 << 20);
    expect(client.text).toBe(block.toString('latin1').repeat(16));
    client.socket.end();
    await proxy.event('closed');
  });

  test('who it is decides the auther; each no is a 407 and the end of the connection', async () => {
    const origin = await startOrigin(cleanup);
    const auther = listAuther([{ username: 'gost', password: 'gost' }]);
    const proxy = await startProxy(cleanup, auther.authenticate);
    for (const fields of [
      '',
      basic('gost:wrong'),
      basic(':'),
      basic('nobody:gost'),
      'Proxy-Authorization: Bearer gost\r\n',
    ]) {
      const client = await connectPeer(cleanup, proxy.port);
      client.say(`${connectTo(origin.port, fields)}GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n`);
      const text = await client.all();
      expect(text).toMatch(/^HTTP\/1\.1 407 .*\r\n(?:.*\r\n)*Proxy-Authenticate: Basic realm="/);
      expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
      client.socket.end();
    }
    expect(origin.peers).toHaveLength(0);
    const client = await connectPeer(cleanup, proxy.port);
    client.say(connectTo(origin.port, basic('gost:gost')));
    expect(await client.head()).toMatch(/^HTTP\/1\.1 200 /);
    const yes = await proxy.event('decided', ({ outcome }) => outcome === 'yes');
    expect(yes).toMatchObject({ module: 'auth', about: 'gost', answer: 'gost' });
  });

  test('what cannot be reached is 502, what is no target 400', async () => {
    const origin = await startOrigin(cleanup);
    const proxy = await startProxy(cleanup);
    const closedPort = origin.port;
    await cleanup.run();
    const again = await startProxy(cleanup);
    expect(again.port).not.toBe(proxy.port);
    for (const [target, status, words] of [
      [`127.0.0.1:${String(closedPort)}`, 502, /connection refused/],
      ['no-such-name.invalid:80', 502, /no such name|DNS/],
      ['127.0.0.1', 400, /names no port/],
      ['127.0.0.1:0', 400, /port/],
      ['2130706433:80', 400, /another spelling/],
      [':80', 400, /empty/],
      ['http://127.0.0.1/', 400, /not a host/],
    ] as const) {
      const client = await connectPeer(cleanup, again.port);
      client.say(`CONNECT ${target} HTTP/1.1\r\n\r\n`);
      const text = await client.all();
      expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${String(status)} `));
      expect(text).toMatch(words);
      client.socket.end();
    }
  });
});
