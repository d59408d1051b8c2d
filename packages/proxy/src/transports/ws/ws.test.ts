import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { ClientOptions } from 'ws';
import type { Address, Conn } from '../../core/conn.ts';
import type { ProxyError } from '../../core/errors.ts';
import { tcp } from '../tcp/index.ts';
import { clientAddress, createTrusts } from './client-address.ts';
import { ws } from './index.ts';

const base = tcp.wrap(undefined, { metadata: {} });
const { signal } = new AbortController();
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function listen(metadata: Record<string, unknown> = {}) {
  const accepted: ((conn: Conn) => void)[] = [];
  const told: ((error: ProxyError) => void)[] = [];
  const listening = await ws.wrap(base, { metadata }).listen!(
    { host: '127.0.0.1', port: 0 },
    (end) => {
      if (end.kind !== 'stream') throw new Error('not a stream');
      closing.push(() => end.reset());
      accepted.shift()?.(end);
    },
    (error) => told.shift()?.(error),
  );
  closing.push(() => listening.close());
  return {
    address: listening.address,
    next: () => new Promise<Conn>((resolve) => accepted.push(resolve)),
    problem: () => new Promise<ProxyError>((resolve) => told.push(resolve)),
  };
}

async function dial(to: Address, metadata: Record<string, unknown> = {}) {
  const conn = await ws.wrap(base, { metadata }).dial(to, { signal });
  closing.push(() => conn.reset());
  return conn;
}

/** A client that is only the library. */
async function plainClient({ port }: Address, path = '/ws', options: ClientOptions = {}): Promise<WebSocket> {
  const client = new WebSocket(`ws://127.0.0.1:${String(port)}${path}`, options);
  client.on('error', () => undefined);
  closing.push(() => client.terminate());
  await once(client, 'open');
  return client;
}

/** A server that is only the library; what it was asked is kept. */
async function plainServer() {
  const server = http.createServer();
  const sockets = new WebSocketServer({ server });
  const requests: http.IncomingMessage[] = [];
  sockets.on('connection', (_socket, request) => requests.push(request));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => {
    for (const client of sockets.clients) client.terminate();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const connection = async () => ((await once(sockets, 'connection')) as [WebSocket])[0];
  return { address: { host: '127.0.0.1', port }, requests, connection, sockets };
}

/** Sends bytes, and reads what comes until the other side ends. */
async function ask({ host, port }: Address, text: string): Promise<string> {
  const socket = net.connect({ host, port });
  socket.on('error', () => undefined).write(text);
  let answer = '';
  socket.setEncoding('latin1').on('data', (part: string) => (answer += part));
  await new Promise((resolve) => socket.once('close', resolve));
  return answer;
}

describe('a WebSocket listener', () => {
  test('takes binary and text frames as bytes, answers in binary, agrees to no subprotocol', async () => {
    const { address, next } = await listen({ header: [['X-Extra', 'yes']] });
    const arriving = next();
    const client = new WebSocket(`ws://127.0.0.1:${String(address.port)}/ws?x=1`, ['chat'], {});
    closing.push(() => client.terminate());
    client.on('error', () => undefined);
    const [response] = (await once(client, 'upgrade')) as [http.IncomingMessage];
    expect(response.headers).toMatchObject({ 'x-extra': 'yes', upgrade: 'websocket' });
    expect(response.headers['sec-websocket-protocol']).toBeUndefined();
    expect(response.headers['sec-websocket-extensions']).toBeUndefined();
    const conn = await arriving;
    // The library's client refuses an answer without the subprotocol that it asked for.
    await conn.closed;

    const again = next();
    const plain = await plainClient(address);
    const served = await again;
    plain.send('text');
    expect(String(await served.read())).toBe('text');
    plain.send(Buffer.alloc(0));
    plain.send(Buffer.from([0xff, 0xfe]));
    expect(await served.read()).toEqual(Buffer.from([0xff, 0xfe]));
    const message = once(plain, 'message');
    await served.write(Buffer.from('back'));
    const [data, isBinary] = (await message) as [Buffer, boolean];
    expect([String(data), isBinary]).toEqual(['back', true]);
    const pong = once(plain, 'pong');
    plain.ping('are you there');
    expect(String(((await pong) as [Buffer])[0])).toBe('are you there');
  });

  test('long writes go as short messages, and what came with the handshake is kept', async () => {
    const { address, next } = await listen();
    const arriving = next();
    const socket = net.connect(address.port, '127.0.0.1').on('error', () => undefined);
    closing.push(() => socket.destroy());
    socket.write(
      Buffer.concat([
        Buffer.from(
          'GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
        ),
        Buffer.from([0x82, 0x85, 0, 0, 0, 0, ...Buffer.from('early')]),
      ]),
    );
    const conn = await arriving;
    expect(String(await conn.read())).toBe('early');
    socket.destroy();
    await conn.closed;
    const again = next();
    const client = await plainClient(address);
    const sizes: number[] = [];
    let total = 0;
    const all = new Promise<void>((resolve) => {
      client.on('message', (data: Buffer) => {
        sizes.push(data.length);
        total += data.length;
        if (total === 1_000_000) resolve();
      });
    });
    await (await again).write(Buffer.alloc(1_000_000));
    await all;
    expect(Math.max(...sizes)).toBe(64 * 1024);
  });

  test('other paths are not there, and what is no WebSocket request is a bad one', async () => {
    const { address, problem } = await listen({ requestPath: '/secret' });
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n';
    const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';
    for (const [request, status] of [
      ['GET / HTTP/1.1\r\nHost: x\r\n\r\n', 404],
      ['POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc', 404],
      [`GET /ws HTTP/1.1\r\nHost: x\r\n${upgrade}${key}\r\n`, 404],
      [`GET /secret/deeper HTTP/1.1\r\nHost: x\r\n${upgrade}${key}\r\n`, 404],
      ['GET /secret HTTP/1.1\r\nHost: x\r\n\r\n', 400],
      [`GET /secret HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n`, 400],
      ['GET /secret HTTP/1.1\r\nHost x\r\n\r\n', 400],
      [`GET /secret HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`, 400],
      ['nonsense\r\n\r\n', 400],
    ] as const) {
      const told = problem();
      const answer = await ask(address, request);
      expect([request, answer.split('\r\n', 1)[0]]).toEqual([
        request,
        expect.stringContaining(`HTTP/1.1 ${String(status)} `) as string,
      ]);
      expect(await told).toMatchObject({ code: 'malformedRequest', at: 'client' });
    }
  });

  test('a path that ends in a slash is all below it', async () => {
    const { address, next } = await listen({ requestPath: '/all/' });
    const arriving = next();
    await plainClient(address, '/all/of/it');
    await arriving;
  });

  test('a head that trickles, or never comes, is not waited for', async () => {
    const { address, problem } = await listen({ handshakeTimeoutMs: 40 });
    for (const start of ['', 'GET /ws HTTP/1.1\r\nHo']) {
      const told = problem();
      const answer = ask(address, start);
      expect(await told).toMatchObject({ code: 'handshakeTimeout', at: 'client' });
      await answer;
    }
  });

  test('what breaks the protocol, or is too long, is told and cut off', async () => {
    const { address, next } = await listen();
    const long = next();
    const client = await plainClient(address);
    const conn = await long;
    const closed = once(client, 'close');
    client.send(Buffer.alloc(1024 * 1024 + 1));
    await expect(conn.read()).rejects.toMatchObject({ code: 'clientClosed', at: 'client' });
    expect(((await closed) as [number])[0]).toBe(1009);
    await conn.closed;
  });

  test('any bytes at all end, and are of no harm to others', async () => {
    const { address, next } = await listen();
    const staying = next();
    const other = await plainClient(address);
    const served = await staying;
    const head =
      'GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        const arriving = next();
        const socket = net.connect(address.port, '127.0.0.1').on('error', () => undefined);
        socket.resume().write(head);
        const conn = await arriving;
        socket.end(bytes);
        try {
          while ((await conn.read()) !== null);
          await conn.end();
        } catch (error) {
          expect(error).toMatchObject({ code: 'clientClosed' });
        }
        socket.destroy();
        await conn.closed;
      }),
      { numRuns: 60 },
    );
    other.send('still here');
    expect(String(await served.read())).toBe('still here');
  });
});

describe('a WebSocket dialer', () => {
  test('asks as its file says', async () => {
    const { address, requests, connection } = await plainServer();
    const first = connection();
    await dial(address);
    await first;
    expect(requests[0]).toMatchObject({
      url: '/ws',
      headers: { host: `127.0.0.1:${String(address.port)}`, 'user-agent': 'Go-http-client/1.1' },
    });
    expect(requests[0]!.headers['sec-websocket-protocol']).toBeUndefined();
    expect(requests[0]!.headers['sec-websocket-extensions']).toBeUndefined();
    const second = connection();
    const conn = await dial(address, {
      host: 'front.test',
      requestPath: '/other?a=b',
      header: [
        ['user-agent', 'mine'],
        ['X-Token', 't'],
      ],
      enableCompression: true,
    });
    const peer = await second;
    expect(requests[1]).toMatchObject({
      url: '/other?a=b',
      headers: { host: 'front.test', 'user-agent': 'mine', 'x-token': 't' },
    });
    const message = once(peer, 'message');
    await conn.write(Buffer.from('x'));
    expect(((await message) as [Buffer, boolean])[1]).toBe(true);
    // GOST writes text nowhere, but whoever does is understood.
    peer.send('text');
    expect(String(await conn.read())).toBe('text');
  });

  test('says what the server answered instead', async () => {
    const { address } = await listen({ requestPath: '/elsewhere' });
    await expect(dial(address)).rejects.toMatchObject({
      code: 'dialFailed',
      at: 'upstream',
      retryable: true,
      message: expect.stringMatching(
        /answered 404 to the WebSocket handshake; are the path \(\/ws\)/,
      ) as string,
    });
    const server = net.createServer((socket) => {
      socket
        .on('error', () => undefined)
        .once('data', () => socket.end('HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n'));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closing.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    await expect(dial({ host: '127.0.0.1', port })).rejects.toMatchObject({ code: 'dialFailed' });
    const silent = net.createServer((socket) => socket.on('error', () => undefined));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    closing.push(() => silent.close());
    await expect(
      dial({ host: '127.0.0.1', port: (silent.address() as AddressInfo).port }, { handshakeTimeoutMs: 30 }),
    ).rejects.toMatchObject({ code: 'dialTimeout' });
  });

  test('pings when it is told to, and gives up a peer that does not answer', async () => {
    const { address, connection } = await plainServer();
    const first = connection();
    const conn = await dial(address, { ping: true, pingMs: 10 });
    const peer = await first;
    await once(peer, 'ping');
    await once(peer, 'ping');
    await conn.write(Buffer.from('x'));
    // Whoever reads nothing answers nothing.
    peer.pause();
    await expect(conn.read()).rejects.toMatchObject({
      code: 'upstreamClosed',
      message: expect.stringMatching(/no answer to a ping/) as string,
    });
    await conn.closed;
  });

  test('a peer of another kind ends both directions with its Close, or without one', async () => {
    const { address, connection } = await plainServer();
    const first = connection();
    const conn = await dial(address);
    const peer = await first;
    peer.send('last');
    peer.close(1000);
    expect(String(await conn.read())).toBe('last');
    expect(await conn.read()).toBeNull();
    await conn.end();
    await conn.closed;
    const second = connection();
    const other = await dial(address);
    // As Go's library does when its connection is closed.
    (await second).terminate();
    expect(await other.read()).toBeNull();
    await other.closed;
    await expect(other.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'upstreamClosed' });
  });
});

describe('the address of a client', () => {
  const trusts = createTrusts(['10.0.0.0/8', '::1', '192.0.2.7']);
  const peer = { host: '10.1.2.3', port: 5 };
  const of = (headers: http.IncomingHttpHeaders, from = peer) => clientAddress(from, headers, trusts);

  test('is what a trusted proxy says, and nobody else', () => {
    const headers = {
      'x-forwarded-for': '203.0.113.9',
      'cf-connecting-ip': '203.0.113.8',
      'x-real-ip': '203.0.113.7',
    };
    const stranger = { host: '198.51.100.1', port: 5 };
    expect(of(headers, stranger)).toEqual({ remote: stranger });
    expect(of(headers)).toEqual({ remote: { host: '203.0.113.9', port: 0 }, via: peer });
    expect(of({ 'cf-connecting-ip': '203.0.113.8', 'x-real-ip': '203.0.113.7' }).remote.host).toBe(
      '203.0.113.8',
    );
    expect(of({ 'x-real-ip': ' 2001:DB8::1 ' }).remote.host).toBe('2001:db8::1');
    expect(of({})).toEqual({ remote: peer, via: peer });
    expect(of({ 'x-real-ip': 'localhost' })).toEqual({ remote: peer, via: peer });
  });

  test('is never what the client itself put before it', () => {
    const forwarded = (value: string) => of({ 'x-forwarded-for': value }).remote.host;
    expect(forwarded('1.1.1.1, 203.0.113.9')).toBe('203.0.113.9');
    expect(forwarded('1.1.1.1, 203.0.113.9, 10.9.9.9,192.0.2.7')).toBe('203.0.113.9');
    expect(forwarded('10.0.0.1, 10.0.0.2')).toBe('10.0.0.1');
    expect(forwarded('203.0.113.9:4711')).toBe('203.0.113.9');
    expect(forwarded('[2001:db8::2]:4711')).toBe('2001:db8::2');
    expect(forwarded('::ffff:203.0.113.9')).toBe('203.0.113.9');
    expect(forwarded('1.1.1.1, unknown')).toBe(peer.host);
    expect(forwarded('1.1.1.1, unknown, 10.0.0.1')).toBe('10.0.0.1');
    expect(forwarded('')).toBe(peer.host);
  });

  test('reaches the connection', async () => {
    const { address, next } = await listen({ trustedProxies: ['127.0.0.1'] });
    const arriving = next();
    await plainClient(address, '/ws', { headers: { 'X-Forwarded-For': '203.0.113.9' } });
    const conn = await arriving;
    expect(conn.remote).toEqual({ host: '203.0.113.9', port: 0 });
    expect(conn.via?.host).toBe('127.0.0.1');
    const { address: open, next: nextOpen } = await listen();
    const second = nextOpen();
    await plainClient(open, '/ws', { headers: { 'X-Forwarded-For': '203.0.113.9' } });
    const other = await second;
    expect(other.remote.host).toBe('127.0.0.1');
    expect(other.via).toBeUndefined();
  });
});
