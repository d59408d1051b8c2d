import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import nodeTls from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { createAuthority } from '@sallyport/plugin/testing';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Address, Conn } from '../../core/conn.ts';
import type { ProxyError } from '../../core/errors.ts';
import { connectTls, parseAltNames, serveTls } from '../../core/tls-conn.ts';
import type { ClientTls, ServerTls } from '../../core/tls.ts';
import { tcp } from '../tcp/index.ts';
import { tls } from './index.ts';

const authority = createAuthority();
const stranger = createAuthority('Nobody knows');
const identity = authority.issue({ names: ['proxy.test', '*.wild.test', '127.0.0.1'] });
const base = tcp.wrap(undefined, { metadata: {} });
const { signal } = new AbortController();

const closing: (() => unknown)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const close of closing.splice(0).reverse()) await close();
});

async function listen(serverTls: Partial<ServerTls> = {}, metadata: Record<string, unknown> = {}) {
  const way = tls.wrap(base, { serverTls: { ...identity, ...serverTls }, metadata });
  const accepted: ((conn: Conn) => void)[] = [];
  const told: ((error: ProxyError) => void)[] = [];
  const listening = await way.listen!(
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
    listening,
    next: () => new Promise<Conn>((resolve) => accepted.push(resolve)),
    problem: () => new Promise<ProxyError>((resolve) => told.push(resolve)),
  };
}

async function dial(to: Address, clientTls: ClientTls = {}, metadata: Record<string, unknown> = {}) {
  const conn = await tls.wrap(base, { clientTls, metadata }).dial(to, { signal });
  closing.push(() => conn.reset());
  return conn;
}

function connect(to: Address, options: ConnectionOptions = {}): TLSSocket {
  const socket = nodeTls.connect({ ca: authority.cert, servername: 'proxy.test', ...to, ...options });
  socket.on('error', () => undefined);
  closing.push(() => socket.destroy());
  return socket;
}

/** A server of Node's, and where it listens. */
async function serve(server: net.Server): Promise<Address> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => server.close());
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

describe('a TLS dialer', () => {
  test('believes a certificate for whom it dialled, and knows what it saw', async () => {
    const { address, next } = await listen({ alpn: ['h2', 'x'] });
    const arriving = next();
    const conn = await dial(address, { ca: [authority.cert], alpn: ['x'] });
    expect(conn.tls).toMatchObject({ verified: true, commonName: 'proxy.test', protocol: 'TLSv1.3' });
    expect(conn.tls!.subjectAltNames).toEqual(['proxy.test', '*.wild.test']);
    expect(conn.tls!.fingerprint).toMatch(/^[\da-f]{64}$/);
    expect(conn.remote).toEqual(address);
    // An address is no server name.
    expect((await arriving).tls).toEqual({
      verified: false,
      commonName: '',
      subjectAltNames: [],
      fingerprint: '',
      protocol: 'TLSv1.3',
    });
  });

  test('sends the server name, and expects it', async () => {
    const { address, next } = await listen();
    const arriving = next();
    await dial(address, { ca: [authority.cert], serverName: 'proxy.test' });
    expect((await arriving).tls).toMatchObject({ serverName: 'proxy.test' });
    await expect(dial(address, { ca: [authority.cert], serverName: 'other.test' })).rejects.toMatchObject({
      code: 'dialFailed',
      at: 'upstream',
      retryable: true,
      message: expect.stringMatching(
        /is for proxy\.test, .*, not for other\.test; tls\.serverName/,
      ) as string,
    });
  });

  test('believes nobody whom it was not told to, and says what to do', async () => {
    const { address } = await listen();
    await expect(dial(address)).rejects.toMatchObject({
      code: 'dialFailed',
      message: expect.stringMatching(/unknown CA; name that CA with tls\.caFile/) as string,
    });
    await expect(dial(address, { ca: [stranger.cert] })).rejects.toThrow(/tls\.caFile/);
    const expired = await listen(authority.issue({ names: ['127.0.0.1'], expired: true }));
    await expect(dial(expired.address, { ca: [authority.cert] })).rejects.toThrow(/has expired/);
    const own = await listen(authority.issue({ names: ['127.0.0.1'], selfSigned: true }));
    await expect(dial(own.address, { ca: [authority.cert] })).rejects.toThrow(/self-signed/);
    const conn = await dial(own.address, { verify: false });
    expect(conn.tls).toMatchObject({ verified: false, commonName: '127.0.0.1' });
  });

  test('says what is wrong with a server that speaks no TLS, or hangs up', async () => {
    const plain = await serve(
      net.createServer((socket) => socket.on('error', () => undefined).end('HTTP/1.1 400\r\n\r\n')),
    );
    await expect(dial(plain)).rejects.toThrow(/does not speak TLS/);
    const closer = await serve(net.createServer((socket) => socket.destroy()));
    await expect(dial(closer)).rejects.toThrow(/does not speak TLS/);
    const half = await serve(
      net.createServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => socket.end(Buffer.from([0x16, 3, 3, 0, 100])));
      }),
    );
    await expect(dial(half)).rejects.toMatchObject({ code: 'dialFailed' });
    const old = await listen({ maxVersion: 'TLSv1.2' });
    await expect(dial(old.address, { ca: [authority.cert], minVersion: 'TLSv1.3' })).rejects.toThrow(
      /too old|TLS with/,
    );
  });

  test('does not wait for ever', async () => {
    const silent = await serve(net.createServer((socket) => socket.on('error', () => undefined)));
    await expect(dial(silent, {}, { handshakeTimeoutMs: 30 })).rejects.toMatchObject({ code: 'dialTimeout' });
    const controller = new AbortController();
    const server = net.createServer((socket) => {
      socket.on('error', () => undefined).once('data', () => controller.abort());
    });
    const to = await serve(server);
    const dialling = tls.wrap(base, { metadata: {} }).dial(to, { signal: controller.signal });
    await expect(dialling).rejects.toMatchObject({ code: 'clientClosed' });
  });

  test('settings that cannot be used say so', async () => {
    const { address } = await listen();
    await expect(dial(address, { ciphers: 'NONSENSE' })).rejects.toMatchObject({
      code: 'dialFailed',
      at: 'self',
    });
  });
});

describe('a TLS listener', () => {
  test('lets in whom its CA knows, and says who that is; nobody else', async () => {
    const { address, next, problem } = await listen({ ca: [authority.cert] });
    const known = authority.issue({ names: ['alice', 'alice.test'] });
    const arriving = next();
    await dial(address, { ca: [authority.cert], ...known });
    const { tls: seen } = await arriving;
    expect(seen).toMatchObject({
      verified: true,
      commonName: 'alice',
      subjectAltNames: ['alice', 'alice.test'],
      fingerprint: new (await import('node:crypto')).X509Certificate(known.cert).fingerprint256
        .replaceAll(':', '')
        .toLowerCase(),
    });
    for (const [options, message] of [
      [{}, /showed no certificate/],
      [stranger.issue({ names: ['alice'] }), /not accepted/],
      [authority.issue({ names: ['alice'], expired: true }), /not accepted/],
      [authority.issue({ names: ['alice'], selfSigned: true }), /not accepted/],
    ] as const) {
      const told = problem();
      const socket = connect(address, options);
      expect(await told).toMatchObject({ code: 'wrongCredentials', at: 'client', message });
      if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
    }
  });

  test('a session that is taken up again still knows whose it is', async () => {
    const { address, next } = await listen({ ca: [authority.cert] });
    const known = authority.issue({ names: ['alice'] });
    const first = next();
    const socket = connect(address, known);
    const [session] = (await once(socket, 'session')) as [Buffer];
    await first;
    const again = next();
    const resumed = connect(address, { ...known, session });
    await once(resumed, 'secureConnect');
    expect(resumed.isSessionReused()).toBe(true);
    expect((await again).tls).toMatchObject({ verified: true, commonName: 'alice' });
  });

  test('shows its certificate only to those who name it, where that is asked for', async () => {
    const { address, next, problem } = await listen({
      rejectUnknownSNI: true,
      serverNames: ['more.test', '*.star.test'],
    });
    for (const servername of ['proxy.test', 'a.wild.test', 'More.test', 'a.star.test']) {
      const arriving = next();
      const socket = connect(address, { servername, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      expect((await arriving).tls!.serverName?.toLowerCase()).toBe(servername.toLowerCase());
    }
    for (const servername of ['other.test', 'star.test', 'a.b.star.test', '']) {
      const told = problem();
      const socket = connect(address, { servername, rejectUnauthorized: false });
      expect(await told).toMatchObject({ code: 'forbidden', at: 'client' });
      expect(socket.getPeerCertificate()).toEqual({});
    }
  });

  test('chooses protocol, version and ciphers as it is told', async () => {
    const { address, problem } = await listen({
      alpn: ['h2', 'http/1.1'],
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.2',
      ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384',
    });
    const socket = connect(address, { ALPNProtocols: ['http/1.1'] });
    await once(socket, 'secureConnect');
    expect(socket.alpnProtocol).toBe('http/1.1');
    expect(socket.getProtocol()).toBe('TLSv1.2');
    expect(socket.getCipher().name).toBe('ECDHE-ECDSA-AES256-GCM-SHA384');
    for (const options of [
      { minVersion: 'TLSv1.3' },
      { ALPNProtocols: ['smtp'] },
      { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
    ] as const) {
      const told = problem();
      connect(address, options);
      expect(await told).toMatchObject({ code: 'unsupported', at: 'client' });
    }
  });

  test('does not wait for ever, and closing waits for handshakes under way', async () => {
    const { address, listening, problem } = await listen({}, { handshakeTimeoutMs: 60 });
    const told = problem();
    const socket = net.connect(address).on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(Buffer.from([0x16, 3, 1]));
    const closed = listening.close();
    expect(await told).toMatchObject({ code: 'handshakeTimeout', at: 'client' });
    await closed;
    socket.destroy();
  });

  test('a certificate that cannot be used is said before anything listens', async () => {
    await expect(listen({ key: stranger.key })).rejects.toMatchObject({ code: 'listenFailed' });
    await expect(listen({ cert: 'nonsense' })).rejects.toMatchObject({ code: 'listenFailed' });
    const without = tls.wrap(base, { metadata: {} });
    await expect(
      without.listen!(
        { host: '127.0.0.1', port: 0 },
        () => undefined,
        () => undefined,
      ),
    ).rejects.toMatchObject({ code: 'listenFailed' });
  });

  test('any bytes at all end in an error of that client alone', async () => {
    const { address, problem, next } = await listen();
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 600 }),
        fc.boolean(),
        async (bytes, looksRight) => {
          const told = problem();
          const socket = net.connect(address).on('error', () => undefined);
          socket.end(looksRight ? Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0, 1]), bytes]) : bytes);
          const error = await told;
          socket.destroy();
          return error.at === 'client';
        },
      ),
      { numRuns: 40 },
    );
    const arriving = next();
    await dial(address, { ca: [authority.cert] });
    await arriving;
  });

  test('a peer that breaks TLS in the middle ends in an error, not in silence', async () => {
    const { address, next } = await listen();
    const arriving = next();
    let inner: net.Socket | undefined;
    const middle = await serve(
      net.createServer((outer) => {
        const onward = (inner = net.connect(address));
        closing.push(() => onward.destroy());
        outer.on('error', () => undefined).pipe(onward);
        onward.on('error', () => undefined).pipe(outer);
      }),
    );
    const socket = connect(middle);
    await once(socket, 'secureConnect');
    const conn = await arriving;
    socket.write('fine');
    expect(String(await conn.read())).toBe('fine');
    inner!.write('these bytes are no record of TLS');
    await expect(conn.read()).rejects.toMatchObject({ code: 'clientClosed', at: 'client' });
    await conn.closed;
  });

  test('TLS within TLS that is reset has closed, on both sides', async () => {
    const { address, next } = await listen();
    const arriving = next();
    const outer = await dial(address, { ca: [authority.cert], serverName: 'proxy.test' });
    const settings = { verify: false };
    const [near, far] = await Promise.all([
      connectTls(outer, address, settings),
      arriving.then((conn) => serveTls(conn, identity)),
    ]);
    const reading = near.read();
    await far.write(Buffer.from('within'));
    expect(String(await reading)).toBe('within');
    near.reset();
    await near.closed;
    await far.closed;
  });
});

describe('alternative names', () => {
  test('are those of Node, without addresses', () => {
    expect(parseAltNames('DNS:a.test, IP Address:10.0.0.1, email:a@b.test, URI:spiffe://x/y')).toEqual([
      'a.test',
      'a@b.test',
      'spiffe://x/y',
    ]);
    expect(parseAltNames('')).toEqual([]);
    // One name that wants to be two.
    expect(parseAltNames(String.raw`DNS:"a.test, DNS:b.test", URI:"http://\"q\""`)).toEqual([
      'a.test, DNS:b.test',
      'http://"q"',
    ]);
  });
});
