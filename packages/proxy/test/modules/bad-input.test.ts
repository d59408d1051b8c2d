// What nobody should send, at every port of the real binary: others are served, nothing is left open, and the log says why.
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLinkFiles } from '../../../../interop/common/links.ts';
import { runningProxy } from '../../../../interop/gost/programs.ts';
import type { Proxy } from '../../../../interop/gost/programs.ts';
import { startOrigin } from '../../../../interop/gost/traffic.ts';
import { startProgram } from '../program.ts';
import { blockOf } from './plugins.ts';
import { splitTarget, visit } from './visits.ts';
import type { Way } from './visits.ts';

const launcher = fileURLToPath(new URL('../../bin/sallyport.js', import.meta.url));
const shortMs = 400;
const closing: (() => unknown)[] = [];
let proxy: Proxy;
let pid = 0;
let target = '';
/** Connections that the plugin that never answers has at the moment. */
const hanging = new Set<net.Socket>();

/** Services, and how a good user asks there; absent: they are only thrown at. */
const services: readonly (readonly [name: string, way: Way | undefined])[] = [
  ['http', 'CONNECT'],
  ['socks5', 'socks5'],
  ['socks4', 'socks4'],
  ['auto', 'socks5'],
  ['tcp', 'tcp'],
  ['sniffing', 'tcp'],
  ['sni', undefined],
  ['tls', undefined],
  ['ws', undefined],
];

beforeAll(async () => {
  const files = createLinkFiles();
  closing.push(() => files.remove());
  const origin = await startOrigin();
  closing.push(() => origin.close());
  target = `127.0.0.1:${String(origin.port)}`;
  const hung = net.createServer((socket) => {
    hanging.add(socket);
    socket.on('error', () => undefined).on('close', () => hanging.delete(socket));
    socket.resume();
  });
  hung.listen(0, '127.0.0.1');
  await once(hung, 'listening');
  closing.push(() => {
    hung.close();
    for (const socket of hanging) socket.destroy();
  });
  const hungAt = `127.0.0.1:${String((hung.address() as net.AddressInfo).port)}`;
  const forwarder = { nodes: [{ name: 'origin', addr: target }] };
  const tls = { certFile: files.at('server.pem'), keyFile: files.at('server.key') };
  const metadata = { readTimeout: `${String(shortMs)}ms` };
  const service = (name: string, handler: object, more: object = {}) => ({
    ...{ name, addr: '127.0.0.1:0', handler },
    ...more,
  });
  const authers = (['grpc', 'http'] as const).flatMap((transport) =>
    Object.entries({ patient: '60s', hasty: '1s' }).map(([name, timeout]) => ({
      name: `${name}-${transport}`,
      plugin: { ...blockOf(transport, hungAt, 'auth'), timeout },
    })),
  );
  // Where it leads back to is not seen where the file is read.
  const circle = await freePort();
  const config = {
    services: [
      service('http', { type: 'http' }),
      service('socks5', { type: 'socks5', metadata }),
      service('socks4', { type: 'socks4', metadata }),
      service('calm5', { type: 'socks5' }),
      service('calm4', { type: 'socks4' }),
      service('auto', { type: 'auto' }),
      service('tcp', { type: 'tcp' }, { forwarder }),
      service('sniffing', { type: 'tcp', metadata: { sniffing: true } }, { forwarder }),
      service('sni', { type: 'sni' }),
      service(
        'tls',
        { type: 'http' },
        { listener: { type: 'tls', tls, metadata: { handshakeTimeout: `${String(shortMs)}ms` } } },
      ),
      service(
        'ws',
        { type: 'http' },
        {
          listener: {
            type: 'ws',
            metadata: { handshakeTimeout: `${String(shortMs)}ms`, readHeaderTimeout: `${String(shortMs)}ms` },
          },
        },
      ),
      ...authers.map(({ name }) => service(name, { type: 'http', auther: name })),
      { ...service('circle', { type: 'http', chain: 'circle' }), addr: `127.0.0.1:${String(circle)}` },
    ],
    chains: [
      {
        name: 'circle',
        hops: [{ name: 'hop', nodes: [{ name: 'self', addr: `127.0.0.1:${String(circle)}` }] }],
      },
    ],
    authers,
  };
  const program = startProgram(process.execPath, [launcher, '-C', '-'], { input: JSON.stringify(config) });
  pid = program.process.pid!;
  const addresses = new Map<string, string>();
  for (const { name } of config.services) {
    const line = await program.line(new RegExp(`"${name} listening on \\S`));
    addresses.set(name, / listening on (\S+)/.exec(line)![1]!);
  }
  proxy = runningProxy(program, addresses);
  closing.push(() => proxy.stop());
});
afterAll(async () => {
  for (const close of closing.reverse()) await close();
});

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

const descriptors = () => readdirSync(`/proc/${String(pid)}/fd`).length;

/** Waits until the program has no more descriptors than this. */
async function untilDescriptors(most: number, ms = 5000): Promise<void> {
  for (const until = Date.now() + ms; descriptors() > most && Date.now() < until;)
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect(descriptors()).toBeLessThanOrEqual(most);
}

/** Everybody who asks well is served. */
async function othersAreServed(): Promise<void> {
  for (const [name, way] of services) {
    if (way === undefined) continue;
    expect((await visit(way, proxy.address(name), { target })).outcome, name).toBe('ok');
  }
}

function dial(name: string): Promise<net.Socket> {
  const [host, port] = splitTarget(proxy.address(name));
  const socket = net.connect(Number(port), host);
  socket.on('error', () => undefined);
  return once(socket, 'connect').then(() => socket);
}

/** Resolves with how long it took until the proxy had ended the connection. */
async function ended(socket: net.Socket, ms: number): Promise<number> {
  const started = performance.now();
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`still open after ${String(ms)} ms`)), ms);
    // Not with `once`, for which an error in front of it is the end.
    socket.resume().on('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
  return performance.now() - started;
}

/** The same on every run. */
const noise = (bytes: number) =>
  Buffer.from(Array.from({ length: bytes }, (_, i) => (i * 197 + (i >> 3) * 31) & 255));

const garbage: readonly (readonly [string, Buffer])[] = [
  ['noise', noise(5000)],
  ['nothing but zeros', Buffer.alloc(5000)],
  ['nothing but line ends', Buffer.alloc(5000, '\n')],
  ['a line of 100 KB', Buffer.alloc(100_000, 'a')],
  ['a head of 100 KB', Buffer.from(`GET http://a/ HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(100_000)}\r\n\r\n`)],
  ['ten thousand fields', Buffer.from(`GET http://a/ HTTP/1.1\r\n${'A: b\r\n'.repeat(10_000)}\r\n`)],
  ['HTTP/2', Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0')],
  ['a request without a version', Buffer.from('GET /\r\n\r\n')],
  [
    'two lengths',
    Buffer.from('POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'),
  ],
  ['SSH', Buffer.from('SSH-2.0-OpenSSH_9\r\n')],
  ['a TLS record that is none', Buffer.from('16030100ffdeadbeef', 'hex')],
  [
    'SOCKS5 with 255 methods that nobody has',
    Buffer.concat([Buffer.from([5, 255]), Buffer.alloc(255, 0x7f)]),
  ],
  ['SOCKS5 with a command that is none', Buffer.from([5, 1, 0, 5, 99, 0, 1, 127, 0, 0, 1, 0, 80])],
  ['SOCKS5 with an address that is none', Buffer.from([5, 1, 0, 5, 1, 0, 9, 127, 0, 0, 1, 0, 80])],
  [
    'SOCKS4 with a user id without end',
    Buffer.concat([Buffer.from([4, 1, 0, 80, 127, 0, 0, 1]), Buffer.alloc(50_000, 'a')]),
  ],
];

describe.each(services)('%s', (name) => {
  test('garbage ends its own connection, and no other', async () => {
    const before = descriptors();
    const bystander = await dial('http');
    await Promise.all(
      garbage.map(async ([, bytes]) => {
        const socket = await dial(name);
        socket.end(bytes);
        await ended(socket, 15_000);
      }),
    );
    bystander.write(`CONNECT ${target} HTTP/1.1\r\nHost: a\r\n\r\n`);
    const [answer] = (await once(bystander, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 /);
    bystander.destroy();
    await othersAreServed();
    await untilDescriptors(before);
  });
});

test('the log says what was wrong, and nothing of it was a mistake of ours', () => {
  const lines = proxy.log().split('\n');
  expect(lines.filter((line) => /"code":"internal"|"level":"(error|fatal)"/.test(line))).toEqual([]);
  for (const name of ['http', 'socks5', 'socks4', 'auto', 'ws', 'tls', 'sni']) {
    const own = lines.filter(
      (line) => line.includes(`"service":"${name}"`) && /"code":"\w+","at":"client"/.test(line),
    );
    expect(own.length, name).toBeGreaterThan(0);
  }
});

describe('who says what he wants byte by byte', () => {
  test.each([
    ['socks5', [5, 255]],
    ['socks4', [4, 1, 0, 80, 127, 0, 0, 1]],
    ['tls', [0x16, 3, 1, 2, 0]],
    ['ws', [...Buffer.from('GET /ws HTTP/1.1\r\nHost: ')]],
  ] as const)('%s: is cut at the deadline, and the log says so', async (name, start) => {
    const socket = await dial(name);
    socket.write(Buffer.from(start));
    const trickle = setInterval(() => socket.write('a'), 50);
    try {
      const ms = await ended(socket, 5000);
      expect(ms).toBeGreaterThan(shortMs / 2);
      expect(ms).toBeLessThan(shortMs + 2000);
    } finally {
      clearInterval(trickle);
      socket.destroy();
    }
    await proxy.line(new RegExp(`"service":"${name}".*"code":"handshakeTimeout"`));
  });

  test('two hundred of them keep nobody waiting', async () => {
    const before = descriptors();
    const slow = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const socket = await dial(services[i % services.length]![0]);
        socket.write('G');
        return socket;
      }),
    );
    const started = performance.now();
    await othersAreServed();
    expect(performance.now() - started).toBeLessThan(5000);
    for (const socket of slow) socket.destroy();
    await untilDescriptors(before);
  });
});

test('a thousand connect at once, and all are served', async () => {
  const before = descriptors();
  const ways = ['CONNECT', 'socks5', 'socks4', 'GET'] as const;
  const names = { CONNECT: 'http', GET: 'http', socks5: 'calm5', socks4: 'calm4' } as const;
  const outcomes = await Promise.all(
    Array.from({ length: 1000 }, async (_, i) => {
      const way = ways[i % ways.length]!;
      return (await visit(way, proxy.address(names[way]), { target, timeoutMs: 30_000 })).outcome;
    }),
  );
  expect(new Set(outcomes)).toEqual(new Set(['ok']));
  await untilDescriptors(before);
}, 60_000);

describe.each(['grpc', 'http'] as const)('users who leave while a plugin over %s hangs', (transport) => {
  // Who ends only the direction in which it speaks may still be waiting for an answer: for those the deadline counts.
  test.each([
    ['and cannot be answered any more', 'patient', (socket: net.Socket) => socket.resetAndDestroy()],
    ['and may still listen', 'hasty', (socket: net.Socket) => socket.destroy()],
  ] as const)('%s: their descriptors come back', async (_how, service, leave) => {
    const before = descriptors();
    const users = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const socket = await dial(`${service}-${transport}`);
        socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic YTpi\r\n\r\n`);
        return socket;
      }),
    );
    for (const until = Date.now() + 5000; hanging.size === 0 && Date.now() < until;)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(hanging.size).toBeGreaterThan(0);
    await othersAreServed();
    for (const socket of users) leave(socket);
    // What is left is a connection with the plugin.
    await untilDescriptors(before + 4);
    await othersAreServed();
  });
});

test('a connection that comes back to its own service is cut, with a line that names the circle', async () => {
  const before = descriptors();
  const { outcome } = await visit('CONNECT', proxy.address('circle'), { target });
  expect(outcome).toMatch(/^HTTP 5\d\d$/);
  await proxy.line(/runs in a circle: circle → circle/);
  await othersAreServed();
  await untilDescriptors(before);
});
