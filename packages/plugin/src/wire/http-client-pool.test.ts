import { getEventListeners, setMaxListeners } from 'node:events';
import * as fs from 'node:fs';
import * as http from 'node:http';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createHttpClient } from './http-client.ts';
import { createHttp1Server } from './http-server.ts';
import {
  answering,
  closeAll,
  endpointAt,
  failure,
  listen,
  ok,
  open,
  post,
  toClose,
} from './http-peer.fixture.ts';

afterEach(closeAll);

describe('a server that is not there', () => {
  it('refuses', async () => {
    const peer = await listen(() => {});
    await peer.close();
    const error = await failure(open(endpointAt(peer.port)).request(post));
    expect(error).toMatchObject({ code: 'unreachable', unsent: true });
    expect(error.message).toContain(`nothing listens at 127.0.0.1:${peer.port}`);
  });

  it('is used at once when it is back', async () => {
    const peer = await listen(answering(ok));
    const client = open(endpointAt(peer.port));
    await client.request(post);
    await peer.close();
    expect(await failure(client.request(post))).toMatchObject({ code: 'unreachable' });
    const server = net.createServer(answering(ok));
    await new Promise<void>((resolve) => server.listen(peer.port, '127.0.0.1', resolve));
    toClose(() => new Promise((resolve) => server.close(resolve)));
    expect((await client.request(post)).body.toString()).toBe('ok');
    await client.close();
  });

  it('fails every call that waits for it', async () => {
    const peer = await listen(() => {});
    await peer.close();
    const client = open(endpointAt(peer.port), { maxConnections: 2 });
    const errors = await Promise.all(Array.from({ length: 10 }, () => failure(client.request(post))));
    expect(errors.map((error) => error.code)).toEqual(Array.from({ length: 10 }, () => 'unreachable'));
  });
});

describe('one deadline', () => {
  const soon = { ...post, timeoutMs: 60 };

  it('covers a silent server, a trickling head and a trickling body', async () => {
    for (const start of [
      '',
      'HTTP/1.1 200 OK\r\nX-Pad: ',
      'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n',
    ]) {
      const peer = await listen((socket) => {
        socket.setNoDelay(true);
        socket.once('data', () => {
          if (start === '') return;
          socket.write(start);
          const timer = setInterval(() => socket.write('a'), 5);
          socket.on('close', () => clearInterval(timer));
        });
      });
      const startedAt = performance.now();
      const error = await failure(open(endpointAt(peer.port)).request(soon));
      expect(error).toMatchObject({ code: 'timeout', unsent: false });
      expect(error.message).toMatch(
        start === '' ? /did not answer within 60 ms/ : /did not finish its answer/,
      );
      expect(performance.now() - startedAt).toBeLessThan(1000);
    }
  });

  it('covers the wait for a connection', async () => {
    const peer = await listen(() => {});
    const client = open(endpointAt(peer.port), { maxConnections: 1 });
    const first = failure(client.request({ ...post, timeoutMs: 150 }));
    const second = await failure(client.request(soon));
    expect(second).toMatchObject({ code: 'timeout', unsent: true });
    expect(second.message).toContain('none of the 1 connections');
    expect((await first).unsent).toBe(false);
    expect(peer.sockets).toHaveLength(1);
  });

  it('covers the connect', async () => {
    const peer = await listen(() => {});
    const client = open({ ...endpointAt(peer.port), tls: { verify: false } });
    const error = await failure(client.request(soon));
    expect(error).toMatchObject({ code: 'timeout', unsent: true });
    expect(error.message).toContain('did not accept a connection and finish TLS within 60 ms');
  });
});

describe('a caller who leaves', () => {
  it('cancels before, while waiting, and while the answer comes', async () => {
    const asked: (() => void)[] = [];
    const peer = await listen((socket) => socket.once('data', () => asked.shift()?.()));
    const client = open(endpointAt(peer.port), { maxConnections: 1 });
    expect(await failure(client.request({ ...post, signal: AbortSignal.abort() }))).toMatchObject({
      code: 'canceled',
      unsent: true,
    });
    const [running, waiting] = [new AbortController(), new AbortController()];
    const isAsked = new Promise<void>((resolve) => asked.push(resolve));
    const first = failure(client.request({ ...post, signal: running.signal }));
    const second = failure(client.request({ ...post, signal: waiting.signal }));
    await isAsked;
    waiting.abort();
    expect(await second).toMatchObject({ code: 'canceled', unsent: true });
    const closed = new Promise((resolve) => peer.sockets[0]!.once('close', resolve));
    running.abort();
    expect(await first).toMatchObject({ code: 'canceled', unsent: false });
    await closed;
  });
});

describe('the pool', () => {
  it('keeps connections, and opens as many as there are calls at once, up to its limit', async () => {
    const peer = await listen(answering(ok));
    const client = open(endpointAt(peer.port), { maxConnections: 4 });
    for (let i = 0; i < 10; i++) await client.request(post);
    expect(peer.sockets).toHaveLength(1);
    await Promise.all(Array.from({ length: 50 }, () => client.request(post)));
    expect(peer.sockets).toHaveLength(4);
  });

  it('sends a call once more when its kept connection was closed, and only once', async () => {
    // Each connection answers one request and closes at the next.
    const peer = await listen(answering(ok, null));
    const client = open(endpointAt(peer.port));
    for (let i = 0; i < 5; i++) expect((await client.request(post)).body.toString()).toBe('ok');
    expect(peer.sockets).toHaveLength(5);

    const rude = await listen((socket, index) => {
      answering(index === 0 ? ok : null, null)(socket);
    });
    const other = open(endpointAt(rude.port));
    await other.request(post);
    expect(await failure(other.request(post))).toMatchObject({ code: 'unreachable', unsent: false });
    expect(rude.sockets).toHaveLength(2);
  });

  it('survives a server that closes kept connections all the time', async () => {
    const server = http.createServer((_request, response) => response.end('ok'));
    server.keepAliveTimeout = 1;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    toClose(() => new Promise((resolve) => server.close(resolve)));
    const client = open(endpointAt((server.address() as net.AddressInfo).port));
    for (let round = 0; round < 30; round++) {
      const replies = await Promise.all(Array.from({ length: 10 }, () => client.request(post)));
      expect(replies).toHaveLength(10);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.close();
  });

  it('never takes bytes that nobody asked for as an answer', async () => {
    const peer = await listen(answering(`${ok}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged`, ok));
    const client = open(endpointAt(peer.port));
    expect((await client.request(post)).body.toString()).toBe('ok');
    expect((await client.request(post)).body.toString()).toBe('ok');
    expect(peer.sockets).toHaveLength(2);

    const late = await listen(answering(ok));
    const other = open(endpointAt(late.port));
    await other.request(post);
    const closed = new Promise((resolve) => late.sockets[0]!.once('close', resolve));
    late.sockets[0]!.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged');
    await closed;
    expect((await other.request(post)).body.toString()).toBe('ok');
  });

  it('closes a connection that the server does not keep, or that is unused', async () => {
    const peer = await listen(
      answering('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok'),
    );
    const client = open(endpointAt(peer.port));
    await client.request(post);
    await client.request(post);
    expect(peer.sockets).toHaveLength(2);

    const idle = await listen(answering(ok));
    const other = open(endpointAt(idle.port), { idleMs: 40 });
    await other.request(post);
    await new Promise((resolve) => idle.sockets[0]!.once('close', resolve));
    expect((await other.request(post)).body.toString()).toBe('ok');
  });

  it('closes: waits for calls, cuts off the rest, and refuses what comes after', async () => {
    let asked = (): void => {};
    const peer = await listen((socket) =>
      socket.on('data', () => {
        asked();
      }),
    );
    const client = open(endpointAt(peer.port));
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    const call = client.request(post);
    await isAsked;
    const closed = client.close();
    expect(await failure(client.request(post))).toMatchObject({ code: 'unreachable', unsent: true });
    peer.sockets[0]!.write(ok);
    expect((await call).body.toString()).toBe('ok');
    await closed;

    const other = open(endpointAt(peer.port));
    const hung = failure(other.request({ ...post, timeoutMs: undefined }));
    await other.close(20);
    expect(await hung).toMatchObject({ code: 'unreachable' });
  });

  it('leaves nothing behind', async () => {
    const sockets = (): number =>
      process.getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length;
    const { signal } = new AbortController();
    setMaxListeners(100, signal);
    const peer = await listen(answering(ok, ok, 'garbage\r\n\r\n'));
    const client = createHttpClient({ endpoint: endpointAt(peer.port) });
    const calls = Array.from({ length: 60 }, () => client.request({ ...post, signal }).catch(() => {}));
    await Promise.all(calls);
    await client.close();
    await peer.close();
    // Closed handles leave the list a turn of the loop later.
    for (let turn = 0; turn < 50 && sockets() > 0; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(sockets()).toBe(0);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

describe('a unix socket', () => {
  it('carries calls', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-'));
    toClose(() => fs.promises.rm(folder, { recursive: true }));
    const at = path.join(folder, 'p.sock');
    await listen(answering(ok), at);
    const client = open({ url: `unix:${at}`, connect: { path: at }, authority: 'localhost' });
    expect((await client.request(post)).body.toString()).toBe('ok');
    const none = open({ url: 'unix:/none', connect: { path: `${at}-none` }, authority: 'localhost' });
    expect((await failure(none.request(post))).message).toContain('there is no socket at');
  });
});

describe('our own server', () => {
  it('is spoken to', async () => {
    const server = createHttp1Server({
      handler: (request) => ({ status: 200, body: request.body.toString().toUpperCase() }),
    });
    const peer = await listen((socket) => {
      server.handleSocket(socket);
    });
    const client = open(endpointAt(peer.port));
    const text = 'é'.repeat(50_000);
    for (const body of ['abc', text, '']) {
      expect((await client.request({ ...post, body })).body.toString()).toBe(body.toUpperCase());
    }
    expect(peer.sockets).toHaveLength(1);
    await client.close();
    await server.close();
  });
});
