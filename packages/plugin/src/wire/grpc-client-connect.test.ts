import { once } from 'node:events';
import * as http from 'node:http';
import * as net from 'node:net';
import * as tls from 'node:tls';
import { describe, expect, test } from 'vitest';
import { createAuthority } from '../testing/certificates.ts';
import { createGrpcClient } from './grpc-client.ts';
import { ask, connect, failure, opened } from './grpc-client.fixture.ts';
import { serveH2 } from './grpc-server.ts';
import type { TlsSettings } from './endpoint.ts';
import type { GrpcClient } from './grpc.ts';
import { listenRaw, settings } from './h2/raw-peer.fixture.ts';

const authority = createAuthority();
const pair = authority.issue({ names: ['127.0.0.1', 'localhost'] });

const serve = (socket: net.Socket): void => {
  serveH2(socket, { grpc: (call) => ({ message: call.message }), http: () => ({ status: 404, body: '' }) });
};

async function listenTls(options: tls.TlsOptions): Promise<number> {
  const sockets = new Set<tls.TLSSocket>();
  const server = tls.createServer({ ...pair, ALPNProtocols: ['h2'], ...options }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push(async () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as net.AddressInfo).port;
}

function connectTls(port: number, settingsOfTls: TlsSettings): GrpcClient {
  const client = createGrpcClient({
    endpoint: {
      url: `grpcs://127.0.0.1:${port}`,
      connect: { host: '127.0.0.1', port },
      authority: `127.0.0.1:${port}`,
      tls: settingsOfTls,
    },
  });
  opened.push(() => client.close(0));
  return client;
}

/** A server on a port that stays the same, so that it can go and come back. */
async function startAt(port: number): Promise<{ port: number; stop: () => Promise<void> }> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const stop = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  opened.push(stop);
  return { port: (server.address() as net.AddressInfo).port, stop };
}

describe('over TLS', () => {
  test('a call works, with a client certificate as well', async () => {
    const port = await listenTls({});
    expect((await connectTls(port, { ca: [authority.cert] }).call(ask)).message.toString()).toBe('x');
    const mutual = await listenTls({ ca: authority.cert, requestCert: true });
    const mine = authority.issue({ names: ['client'] });
    expect((await connectTls(mutual, { ca: [authority.cert], ...mine }).call(ask)).message.toString()).toBe(
      'x',
    );
  });

  test('a megabyte goes there and back', async () => {
    const client = connectTls(await listenTls({}), { ca: [authority.cert] });
    const message = Buffer.alloc(1024 * 1024, 'abc');
    const replies = await Promise.all([1, 2, 3].map(() => client.call({ ...ask, message })));
    for (const reply of replies) expect(reply.message.equals(message)).toBe(true);
  });

  test('a client certificate that is missing is UNAUTHENTICATED', async () => {
    const port = await listenTls({ ca: authority.cert, requestCert: true });
    const error = await failure(connectTls(port, { ca: [authority.cert] }).call(ask));
    expect(error).toMatchObject({ code: 'unauthenticated', grpcStatus: 16 });
  });

  test('a certificate from elsewhere is refused', async () => {
    const port = await listenTls({});
    const error = await failure(connectTls(port, { ca: [createAuthority().cert] }).call(ask));
    expect(error).toMatchObject({ code: 'unreachable', grpcStatus: 14, unsent: true });
    expect(error.message).toContain('unknown CA');
  });

  test('a server that does not choose HTTP/2 is refused, and why is said', async () => {
    for (const protocols of [undefined, ['http/1.1', 'h2c']]) {
      const port = await listenTls({ ALPNProtocols: protocols });
      const error = await failure(connectTls(port, { ca: [authority.cert] }).call(ask));
      expect(error).toMatchObject({ code: 'unreachable', grpcStatus: 14, unsent: true });
      expect(error.message).toMatch(/HTTP\/2|ALPN/);
    }
  });

  test('a server that speaks plain text is not asked', async () => {
    const { port } = await startAt(0);
    const error = await failure(connectTls(port, { ca: [authority.cert] }).call(ask));
    expect(error).toMatchObject({ code: 'unreachable', unsent: true });
    expect(error.message).toContain('does not speak TLS');
  });
});

describe('in plain text', () => {
  test('a TLS server is told from others', async () => {
    const error = await failure(connect(await listenTls({})).call(ask));
    expect(error).toMatchObject({ code: 'unreachable', grpcStatus: 14 });
    expect(error.message).toContain('speaks TLS');
  });

  test.each([
    ['an alert', Buffer.from([0x15, 3, 1, 0, 2, 2, 70])],
    [
      'words',
      Buffer.from('HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n'),
    ],
  ])('a TLS server is told from others by %s', async (_, bytes) => {
    const { port, close } = await listenRaw((socket) => socket.end(bytes));
    opened.push(close);
    const error = await failure(connect(port).call(ask));
    expect(error).toMatchObject({ code: 'unreachable', unsent: true });
    expect(error.message).toContain('speaks TLS');
  });

  test('an HTTP/1 server is told from others', async () => {
    const server = http.createServer((_request, response) => response.end('hello'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    opened.push(async () => {
      server.closeAllConnections();
      server.close();
    });
    const error = await failure(connect((server.address() as net.AddressInfo).port).call(ask));
    expect(error).toMatchObject({ code: 'unreachable', grpcStatus: 14, unsent: true });
    expect(error.message).toContain('HTTP/1 server');
  });

  test.each([
    ['hangs up at once', (socket: net.Socket) => socket.end()],
    ['says something else', (socket: net.Socket) => socket.end('220 mail.example ESMTP ready\r\n')],
    ['resets', (socket: net.Socket) => socket.once('data', () => socket.resetAndDestroy())],
    ['hangs up behind its SETTINGS', (socket: net.Socket) => socket.end(settings())],
  ])('a server that %s is unreachable', async (_, script) => {
    const { port, close } = await listenRaw(script);
    opened.push(close);
    expect(await failure(connect(port).call(ask))).toMatchObject({ code: 'unreachable', grpcStatus: 14 });
  });

  test('a server that accepts and says nothing costs the deadline and no more', async () => {
    const { port, close } = await listenRaw(() => {});
    opened.push(close);
    expect(await failure(connect(port).call({ ...ask, timeoutMs: 60 }))).toMatchObject({ code: 'timeout' });
  });

  test('a unix socket', async () => {
    const path = `${process.env['TMPDIR'] ?? '/tmp'}/grpc-${process.pid}.sock`;
    let remote = '';
    const server = net.createServer((socket) => {
      serveH2(socket, {
        grpc: (call) => {
          remote = call.remote;
          return { message: call.message };
        },
        http: () => ({ status: 404, body: '' }),
      });
    });
    server.listen(path);
    await once(server, 'listening');
    opened.push(async () => server.close());
    const client = createGrpcClient({
      endpoint: { url: `unix:${path}`, connect: { path }, authority: 'localhost' },
    });
    opened.push(() => client.close(0));
    expect((await client.call(ask)).message.toString()).toBe('x');
    expect(remote).toBe('unix');
  });
});

describe('a server that goes and comes back', () => {
  test('is used again within a second, whatever was tried in between', async () => {
    const first = await startAt(0);
    const client = connect(first.port);
    await client.call(ask);
    await first.stop();
    const failures = Array.from({ length: 30 }, () => failure(client.call({ ...ask, timeoutMs: 2000 })));
    for (const error of await Promise.all(failures)) expect(error.code).toBe('unreachable');
    // Fails until the pause between two attempts is as long as it gets.
    for (let i = 0; i < 7; i++) await failure(client.call({ ...ask, timeoutMs: 2000 }));
    await startAt(first.port);
    const before = performance.now();
    expect((await client.call({ ...ask, timeoutMs: 2000 })).message.toString()).toBe('x');
    expect(performance.now() - before).toBeLessThan(1000);
  });

  test('is used by the very next call when nothing was tried in between', async () => {
    const first = await startAt(0);
    const client = connect(first.port);
    await client.call(ask);
    await first.stop();
    await startAt(first.port);
    expect((await client.call(ask)).message.toString()).toBe('x');
  });

  test('costs a call no more than its deadline, and one that cannot wait fails at once with the reason', async () => {
    const gone = await startAt(0);
    await gone.stop();
    const client = connect(gone.port);
    for (let i = 0; i < 6; i++) await failure(client.call({ ...ask, timeoutMs: 2000 }));
    const before = performance.now();
    const error = await failure(client.call({ ...ask, timeoutMs: 5 }));
    expect(performance.now() - before).toBeLessThan(100);
    expect(error).toMatchObject({ code: 'unreachable', grpcStatus: 14, unsent: true });
    expect(error.message).toContain('nothing listens');
  });

  test('closing while it is away leaves nothing behind', async () => {
    const gone = await startAt(0);
    await gone.stop();
    const client = connect(gone.port);
    await failure(client.call(ask));
    const waiting = failure(client.call(ask));
    await client.close(0);
    expect(await waiting).toMatchObject({ code: 'unreachable' });
  });
});
