import * as fs from 'node:fs';
import type * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import * as tls from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { PluginError } from '../errors.ts';
import { createAuthority } from '../testing/certificates.ts';
import { dial } from './dial.ts';
import type { DialOptions } from './dial.ts';
import type { Endpoint, TlsSettings } from './endpoint.ts';
import { closeAll, listen, toClose } from './http-peer.fixture.ts';

afterEach(closeAll);

const authority = createAuthority();
const stranger = createAuthority('Somebody else');
const good = authority.issue({ names: ['plugin.test', '127.0.0.1'] });

/** A TLS server; each connection is told `hello` over TLS. */
async function listenTls(options: tls.TlsOptions): Promise<number> {
  const server = tls.createServer(options, (socket) => {
    socket.on('error', () => {});
    socket.write(`hello ${String(socket.alpnProtocol)} ${String(socket.servername)}`);
  });
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  toClose(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as net.AddressInfo).port;
}

function endpoint(connect: Endpoint['connect'], settings?: TlsSettings): Endpoint {
  return { url: 'grpc://test', connect, authority: 'plugin.test:443', ...(settings && { tls: settings }) };
}

function at(port: number, settings?: TlsSettings): Endpoint {
  return endpoint({ host: '127.0.0.1', port }, settings);
}

async function open(to: Endpoint, options?: DialOptions): Promise<net.Socket> {
  const socket = await dial(to, options);
  toClose(() => socket.destroy());
  return socket;
}

async function failure(to: Endpoint, options?: DialOptions): Promise<PluginError> {
  const error: unknown = await open(to, options).then(
    () => {
      throw new Error('connected');
    },
    (reason: unknown) => reason,
  );
  if (!(error instanceof PluginError)) throw error;
  expect(error).toMatchObject({ unsent: true, endpoint: 'grpc://test' });
  return error;
}

function firstData(socket: net.Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    socket.once('data', (bytes) => resolve(bytes.toString())).once('error', reject);
  });
}

describe('dial', () => {
  it('connects, reads nothing before it is asked to, and leaves no listener but for errors', async () => {
    const peer = await listen((socket) => socket.write('hello'));
    const socket = await open(at(peer.port), { timeoutMs: 5_000, signal: new AbortController().signal });
    expect(socket.isPaused() || socket.readableFlowing === null).toBe(true);
    expect(socket.listenerCount('error')).toBe(1);
    expect(socket.listenerCount('close')).toBe(0);
    expect(await firstData(socket)).toBe('hello');
  });

  it('reads into a buffer of the caller’s where that is asked for', async () => {
    const peer = await listen((socket) => socket.write('hello'));
    const text = await new Promise<string>((resolve) => {
      const buffer = Buffer.alloc(100);
      const callback = (length: number): boolean => {
        resolve(buffer.toString('latin1', 0, length));
        return true;
      };
      void open(at(peer.port), { onread: { buffer, callback } });
    });
    expect(text).toBe('hello');
  });

  it('connects to a unix socket, also with TLS for the authority’s name', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sallyport-'));
    toClose(() => fs.promises.rm(folder, { recursive: true }));
    const file = path.join(folder, 'p.sock');
    const server = tls.createServer(good, (socket) => socket.end('hello').on('error', () => {}));
    await new Promise<void>((resolve) => server.listen(file, resolve));
    toClose(() => new Promise((resolve) => server.close(resolve)));
    const socket = await open(endpoint({ path: file }, { ca: [authority.cert] }));
    expect(await firstData(socket)).toBe('hello');
    expect((await failure(endpoint({ path: `${file}2` }))).message).toBe(
      `there is no socket at unix:${file}2`,
    );
  });

  it('says in words why nothing came of it', async () => {
    const peer = await listen(() => {});
    await peer.close();
    const refused = await failure(at(peer.port));
    expect(refused).toMatchObject({ code: 'unreachable' });
    expect(refused.message).toBe(`nothing listens at 127.0.0.1:${peer.port} (connection refused)`);
    const unknown = await failure(endpoint({ host: 'no-such-name.invalid', port: 1 }));
    expect(unknown.code).toBe('unreachable');
    expect(unknown.message).toMatch(/no such name: no-such-name\.invalid|no DNS server answered/);
  });

  it('gives up at its deadline, and when nobody waits any more', async () => {
    const peer = await listen(() => {});
    const silent = at(peer.port, { ca: [authority.cert] });
    const late = await failure(silent, { timeoutMs: 50 });
    expect(late).toMatchObject({ code: 'timeout' });
    expect(late.message).toContain('did not finish the TLS handshake within 50 ms');

    expect(await failure(silent, { signal: AbortSignal.abort() })).toMatchObject({ code: 'canceled' });
    const controller = new AbortController();
    const left = failure(silent, { signal: controller.signal });
    while (peer.sockets.length < 2) await new Promise((resolve) => setImmediate(resolve));
    const closed = new Promise((resolve) => peer.sockets[1]!.once('close', resolve).resume());
    controller.abort();
    expect(await left).toMatchObject({ code: 'canceled' });
    await closed;
  });
});

describe('dial with TLS', () => {
  it('trusts a given CA, negotiates ALPN and sends the name', async () => {
    const port = await listenTls({ ...good, ALPNProtocols: ['h2', 'http/1.1'] });
    const socket = await open(at(port, { ca: [authority.cert], serverName: 'plugin.test' }), {
      alpn: ['h2'],
    });
    expect((socket as tls.TLSSocket).alpnProtocol).toBe('h2');
    expect(await firstData(socket)).toBe('hello h2 plugin.test');
    const bare = await open(at(port, { ca: [stranger.cert, authority.cert] }));
    expect(await firstData(bare)).toBe('hello false false');
  });

  it.each([
    [
      'an unknown CA',
      good,
      { ca: [stranger.cert] },
      /comes from an unknown CA; name that CA with tls\.caFile/,
    ],
    ['no CA that is known to the system', good, {}, /comes from an unknown CA|self-signed/],
    [
      'a self-signed certificate',
      authority.issue({ names: ['127.0.0.1'], selfSigned: true }),
      { ca: [authority.cert] },
      /is self-signed and not trusted; name it with tls\.caFile/,
    ],
    [
      'a certificate that is not for servers',
      { cert: authority.cert, key: authority.key },
      { ca: [authority.cert] },
      /is not one for servers \(its key usage does not allow it\)$/,
    ],
    [
      'an expired certificate',
      authority.issue({ names: ['127.0.0.1'], expired: true }),
      { ca: [authority.cert] },
      /has expired$/,
    ],
    [
      'a certificate of tomorrow',
      authority.issue({ names: ['127.0.0.1'], notYetValid: true }),
      { ca: [authority.cert] },
      /is not valid yet/,
    ],
    [
      'another host’s certificate',
      authority.issue({ names: ['other.test', '::1'] }),
      { ca: [authority.cert] },
      /is for other\.test, .*, not for 127\.0\.0\.1; tls\.serverName sets the name to expect$/,
    ],
    [
      'another name than the one to expect',
      good,
      { ca: [authority.cert], serverName: 'else.test' },
      /is for plugin\.test, 127\.0\.0\.1, not for else\.test;/,
    ],
  ] as const)('refuses %s', async (_name, certificate, settings, words) => {
    const port = await listenTls(certificate);
    const error = await failure(at(port, settings));
    expect(error.code).toBe('unreachable');
    expect(error.message).toMatch(words);
    expect(error.message).toContain(`127.0.0.1:${port}`);
  });

  it('asks nothing of a certificate where verification is switched off', async () => {
    const port = await listenTls(authority.issue({ names: ['other.test'], expired: true }));
    expect(await firstData(await open(at(port, { verify: false })))).toMatch(/^hello/);
  });

  it('says that a port does not speak TLS, whether it answers, hangs up or resets', async () => {
    for (const act of [
      (socket: net.Socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
      (socket: net.Socket) => socket.end(),
      (socket: net.Socket) => socket.once('data', () => socket.resetAndDestroy()),
      // The SETTINGS frame of a plaintext gRPC server.
      (socket: net.Socket) => socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])),
    ]) {
      const peer = await listen(act);
      const error = await failure(at(peer.port, { ca: [authority.cert] }), { timeoutMs: 5_000 });
      expect(error.code).toBe('unreachable');
      expect(error.message).toContain(`127.0.0.1:${peer.port} does not speak TLS: remove the tls setting`);
      expect(error.message).toContain('certificate');
      await peer.close();
    }
  });

  it('says that the other end wants another protocol', async () => {
    const port = await listenTls({ ...good, ALPNProtocols: ['http/1.1'] });
    const error = await failure(at(port, { ca: [authority.cert] }), { alpn: ['h2'] });
    expect(error.message).toContain('speaks TLS, but not the protocol that is needed (ALPN)');
  });

  it('shows its own certificate where one is wanted', async () => {
    const wanting = { ...good, ca: [authority.cert], requestCert: true, rejectUnauthorized: true };
    // With TLS 1.2 the refusal is part of the handshake.
    const port = await listenTls({ ...wanting, maxVersion: 'TLSv1.2' });
    const settings = { ca: [authority.cert] };
    const own = authority.issue({ names: ['proxy.test'] });
    expect(await firstData(await open(at(port, { ...settings, ...own })))).toMatch(/^hello/);
    const foreign = await failure(at(port, { ...settings, ...stranger.issue({ names: ['proxy.test'] }) }));
    expect(['unauthenticated', 'unreachable']).toContain(foreign.code);
  });

  it('says which setting cannot be used', async () => {
    const port = await listenTls(good);
    const own = authority.issue({ names: ['proxy.test'] });
    const attempts: [TlsSettings, string][] = [
      [{ ca: ['no certificate'] }, 'tls.caFile holds no PEM certificate'],
      [
        { ca: ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'] },
        'tls.caFile holds a certificate that cannot be read',
      ],
      [{ cert: own.cert }, 'belong together'],
      [{ cert: own.cert, key: 'none' }, 'tls.certFile and tls.keyFile cannot be used'],
      [{ cert: own.cert, key: good.key }, 'tls.certFile and tls.keyFile cannot be used'],
      [{ cert: own.key, key: own.key }, 'tls.certFile holds no PEM certificate'],
    ];
    for (const [settings, words] of attempts) {
      const error = await failure(at(port, settings));
      expect(error.code).toBe('unreachable');
      expect(error.message).toContain(words);
    }
  });
});
