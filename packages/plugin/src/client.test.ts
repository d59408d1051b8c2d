import * as http from 'node:http';
import * as http2 from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import * as net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { connectPlugin } from './client.ts';
import { createMethodCodec } from './codec.ts';
import type { Call } from './contract.ts';
import { auth } from './contracts/auth.ts';
import type { ConnectPluginOptions } from './engine/connected-plugin.ts';

const authAsk = { username: 'u', password: 'p', client: '1.2.3.4:5', service: 's', certificate: undefined };
const call = (): Call => ({ meta: {} });
const codec = createMethodCodec(auth, 'authenticate');

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listen(server: Server, port = 0): Promise<{ port: number; stop: () => Promise<void> }> {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  cleanups.push(stop);
  return { port: (server.address() as AddressInfo).port, stop };
}

/** Node's own HTTP/2 server, as a plugin that lets everybody in who has the token. */
function grpcPlugin(): Server {
  const server = http2.createServer();
  server.on('session', (session) => session.on('error', () => {}));
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    const parts: Buffer[] = [];
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('end', () => {
      const { ask, request } = codec.grpc.decodeAsk(Buffer.concat(parts).subarray(5));
      const message = codec.grpc.encodeAnswer(
        { ok: headers['token'] === 'tok', user: ask.username },
        request,
      );
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(message.length, 1);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => {
        stream.sendTrailers({
          'grpc-status': '0',
          'sallyport-ttl-ms': '5000',
          'sallyport-reason': 'gr%C3%BCn',
        });
      });
      stream.end(Buffer.concat([prefix, message]));
    });
  });
  return server as unknown as Server;
}

function httpPlugin(): Server {
  return http.createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { ask, request: decoded } = codec.http.decodeAsk('', Buffer.concat(parts));
      const ok = request.headers.authorization === 'Bearer tok' && request.url === '/auth';
      response.setHeader('sallyport-ttl-ms', '5000');
      response.setHeader('sallyport-reason', 'gr%C3%BCn');
      response.end(codec.http.encodeAnswer({ ok, user: ask.username }, decoded));
    });
  });
}

const connect = (options: ConnectPluginOptions) => {
  const plugin = connectPlugin(auth, options);
  cleanups.push(() => plugin.close(100));
  return plugin;
};

test('check over gRPC waits for HTTP/2, and names what is there instead', async () => {
  const check = async (serve: (socket: net.Socket) => void) => {
    const { port } = await listen(net.createServer(serve));
    return connect({ addr: `127.0.0.1:${port}`, timeoutMs: 200 }).check();
  };
  await expect(check((socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))).rejects.toThrow(
    /is an HTTP\/1 server.*type: http/,
  );
  await expect(check((socket) => void socket.end(Buffer.from([0x15, 3, 1, 0, 2, 2, 40])))).rejects.toThrow(
    /speaks TLS/,
  );
  await expect(check((socket) => void socket.end('220 mail.example ESMTP'))).rejects.toThrow(
    /does not speak HTTP\/2/,
  );
  await expect(check((socket) => void socket.end())).rejects.toThrow(/closed the connection/);
  await expect(check((socket) => void socket.resume())).rejects.toMatchObject({ code: 'timeout' });
});

describe.each([
  ['grpc', grpcPlugin],
  ['http', httpPlugin],
] as const)('over real sockets: %s', (transport, serve) => {
  test('asks, remembers what the plugin allows, and closes', async () => {
    const { port } = await listen(serve());
    const plugin = connect({ transport, addr: `127.0.0.1:${port}`, token: 'tok' });
    const one = call();
    await expect(Promise.resolve(plugin.authenticate(authAsk, one))).resolves.toEqual({
      ok: true,
      user: 'u',
    });
    expect(one.meta).toMatchObject({ ttlMs: 5000, reason: 'grün' });
    // Remembered, so that it is no promise.
    expect(plugin.authenticate(authAsk, call())).toEqual({ ok: true, user: 'u' });
    await plugin.close();
    await expect(Promise.resolve(plugin.authenticate(authAsk, call()))).rejects.toMatchObject({
      code: 'unreachable',
    });
  });

  test('a plugin that went away and came back is used again within a second', async () => {
    const first = await listen(serve());
    const plugin = connect({ transport, addr: `127.0.0.1:${first.port}`, token: 'tok' });
    const ask = async (username: string) => plugin.authenticate({ ...authAsk, username }, call());
    await ask('a');
    await first.stop();
    for (let i = 0; i < 8; i++) await expect(ask(`b${i}`)).rejects.toMatchObject({ code: 'unreachable' });
    await listen(serve(), first.port);
    const back = performance.now();
    for (;;) {
      const answer = await ask('c').catch(() => undefined);
      if (answer !== undefined) break;
      if (performance.now() - back > 5000) throw new Error('never used again');
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(performance.now() - back).toBeLessThan(1000);
  });

  test('a second endpoint stands in for one that is not there', async () => {
    const gone = await listen(net.createServer());
    await gone.stop();
    const { port } = await listen(serve());
    const plugin = connect({
      transport,
      addr: [`127.0.0.1:${gone.port}`, `127.0.0.1:${port}`],
      token: 'tok',
    });
    await expect(Promise.resolve(plugin.authenticate(authAsk, call()))).resolves.toMatchObject({ ok: true });
    await plugin.check();
  });

  test('one that accepts and says nothing is a timeout', async () => {
    const { port } = await listen(net.createServer());
    const plugin = connect({ transport, addr: `127.0.0.1:${port}`, timeoutMs: 80 });
    await expect(Promise.resolve(plugin.authenticate(authAsk, call()))).rejects.toMatchObject({
      code: 'timeout',
    });
  });

  test('check says what is wrong without asking', async () => {
    const gone = await listen(net.createServer());
    await gone.stop();
    const plugin = connect({ transport, addr: `127.0.0.1:${gone.port}` });
    await expect(plugin.check()).rejects.toMatchObject({ name: 'PluginError', code: 'unreachable' });
    const { port } = await listen(serve());
    await connect({ transport, addr: `127.0.0.1:${port}` }).check();
    const secure = connect({ transport, addr: `127.0.0.1:${port}`, tls: {} });
    await expect(secure.check()).rejects.toThrow(/does not speak TLS/);
    await expect(Promise.resolve(secure.authenticate(authAsk, call()))).rejects.toThrow(/does not speak TLS/);
  });
});
