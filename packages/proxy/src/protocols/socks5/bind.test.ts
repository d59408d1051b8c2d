import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { createAuthority } from '@sallyport/plugin/testing';
import { Arrivals, dial, freePort, nextFrame, sockets } from '../../core/bind/bind.fixture.ts';
import { startHandler } from '../../core/http/proxy.fixture.ts';
import type { TestParts } from '../../core/http/proxy.fixture.ts';
import { smuxFrame } from '../../core/mux/mux-raw.fixture.ts';
import { Cleanup, connectPeer, startOrigin } from '../../core/peer.fixture.ts';
import type { Peer } from '../../core/peer.fixture.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import type { BindRequest } from '../../core/way.ts';
import { readAll } from '../../core/mux/mux-pair.fixture.ts';
import { formatSocks5Reply, formatSocks5Request, parseSocks5Reply } from '../../wire/socks5.ts';
import { formatSocks5Frame } from '../../wire/socks5-udp.ts';
import type { SmuxCommand } from '../../wire/smux.ts';
import { socks5 } from './index.ts';
import { openUdp, startHandler as startWithTls, testContext } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const bind = 0x02;
const muxBind = 0xf2;
const udpTunnel = 0xf3;
const request = (command: number, host: string, port: number) =>
  formatSocks5Request({ command, address: { host, port } }).toString('latin1');
const reply = (host: string, port: number, code = 0) =>
  formatSocks5Reply(code, { host, port }).toString('latin1');
const frame = (command: SmuxCommand, stream: number, data = '') =>
  smuxFrame(1, command, stream, Buffer.from(data, 'latin1')).toString('latin1');
const framed = (port: number, data: string) =>
  formatSocks5Frame({ address: { host: '127.0.0.1', port }, data: Buffer.from(data) }).toString('latin1');
const start = ({ metadata, ...parts }: TestParts = {}) =>
  startHandler(cleanup, socks5.handler!, { sockets, metadata: { bind: true, ...metadata }, ...parts });
const portOf = ({ socket }: Peer) => socket.localPort!;

/** A client that has asked for something. */
async function asking(port: number, bytes: string) {
  const client = await connectPeer(cleanup, port);
  client.say(`\x05\x01\0${bytes}`);
  await client.take('\x05\0');
  return client;
}

/** Reads a reply with an IPv4 address. */
async function takeReply(client: Peer) {
  const { code, bound } = parseSocks5Reply(Buffer.from(await client.take(/^.{10}/s), 'latin1'))!.message;
  expect(code).toBe(0);
  return bound;
}

async function refuses(port: number) {
  const socket = cleanup.add(net.connect({ port, host: '127.0.0.1' }), (open) => open.destroy());
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code;
}

describe('BIND', () => {
  test('one visitor is told of, and then it is the connection', async () => {
    const service = await start();
    const client = await asking(service.port, request(bind, '0.0.0.0', 0));
    const { host, port } = await takeReply(client);
    // Where the client has reached us others reach us as well.
    expect(host).toBe('127.0.0.1');
    client.say('early');
    const visitor = await connectPeer(cleanup, port);
    visitor.say('hello');
    expect(await takeReply(client)).toEqual({ host: '127.0.0.1', port: portOf(visitor) });
    await client.take('hello');
    await visitor.take('early');
    expect(await refuses(port)).toBe('ECONNREFUSED');
    client.say('answer').socket.end();
    expect(await visitor.all()).toBe('answer');
    visitor.say('late').socket.end();
    expect(await client.all()).toBe('late');
    const { traffic } = await service.event(
      'closed',
      (event) => event.traffic.received === 'hellolate'.length,
    );
    expect(traffic.sent).toBe('earlyanswer'.length);
    const { what, status } = await service.event('served', (served) => served.what.startsWith('BIND'));
    expect([what, status]).toEqual(['BIND 0.0.0.0:0', 0]);
  });

  test('at an address of this machine, as GOST has it, and where the file says what it is to others', async () => {
    const port = await freePort('tcp');
    const service = await start({ metadata: { publicAddr: '203.0.113.1' } });
    const client = await asking(service.port, request(bind, '127.0.0.1', port));
    expect(await takeReply(client)).toEqual({ host: '203.0.113.1', port });
    await connectPeer(cleanup, port);
    await takeReply(client);
  });

  test('for one host, as RFC 1928 has it, nobody else is let in', async () => {
    const service = await start();
    const client = await asking(service.port, request(bind, '192.0.2.1', 21));
    const { port } = await takeReply(client);
    expect(port).not.toBe(21);
    expect(await refuses(port)).toBe('ECONNRESET');
    expect(await refuses(port)).toBe('ECONNRESET');
    expect(client.text).toBe('');
    const { error } = await service.event('served');
    expect(error).toMatchObject({ code: 'forbidden', at: 'client' });
  });

  test.each(['ends', 'is cut', 'speaks and is cut'])(
    'a client that %s is waited for no longer',
    async (how) => {
      const service = await start();
      const client = await asking(service.port, request(bind, '127.0.0.1', 0));
      const { port } = await takeReply(client);
      if (how === 'speaks and is cut') client.say('early');
      if (how === 'ends') client.socket.end();
      else client.socket.resetAndDestroy();
      expect((await service.event('closed')).error?.code).toBe('clientClosed');
      expect(await refuses(port)).toBe('ECONNREFUSED');
    },
  );

  test('a service that stops waits no longer', async () => {
    const service = await start();
    const client = await asking(service.port, request(bind, '127.0.0.1', 0));
    const { port } = await takeReply(client);
    await service.service.stop();
    expect(await refuses(port)).toBe('ECONNREFUSED');
    await client.all();
  });

  test('what cannot be done is said', async () => {
    const service = await start();
    const said = async (bytes: string) => {
      const client = await asking(service.port, bytes);
      const text = await client.all();
      client.socket.end();
      return text;
    };
    const failure = (code: number) => reply('0.0.0.0', 0, code);
    for (const command of [bind, muxBind])
      expect(await said(request(command, '127.0.0.1', service.port))).toBe(failure(1));
    expect(await said(request(bind, 'ftp.example', 21))).toBe(failure(8));
    expect(await said(request(muxBind, '127.2', 0))).toBe(failure(1));
    const udp = cleanup.add(await openUdp(), (socket) => socket.close());
    expect(await said(request(udpTunnel, '127.0.0.1', udp.address().port))).toBe(failure(1));
  });

  test('a visitor that admission refuses is none', async () => {
    let admits = true;
    const service = await start({ admission: { admit: () => admits } });
    const client = await asking(service.port, request(bind, '127.0.0.1', 0));
    const { port } = await takeReply(client);
    admits = false;
    expect(await refuses(port)).toBe('ECONNRESET');
    admits = true;
    const visitor = await connectPeer(cleanup, port);
    expect((await takeReply(client)).port).toBe(portOf(visitor));
  });
});

describe('MUX-BIND', () => {
  test('each visitor is a stream, which begins with who it is', async () => {
    const service = await start();
    const client = await asking(service.port, request(muxBind, '127.0.0.1', 0));
    const { port } = await takeReply(client);
    expect((await nextFrame(client)).command).toBe('nop');
    const visitor = await connectPeer(cleanup, port);
    visitor.say('hello');
    expect(await nextFrame(client)).toEqual({ command: 'syn', stream: 3, data: '' });
    expect((await nextFrame(client)).data).toBe(reply('127.0.0.1', portOf(visitor)));
    expect((await nextFrame(client)).data).toBe('hello');
    client.say(frame('psh', 3, 'answer'));
    await visitor.take('answer');
    client.socket.destroy();
    await visitor.all();
    await service.event('served', ({ what }) => what === 'MUX-BIND 127.0.0.1:0');
    expect(await refuses(port)).toBe('ECONNREFUSED');
  });

  test('for a client of GOST 2 without a word of who it is', async () => {
    const service = await start({ metadata: { comp: true } });
    const client = await asking(service.port, request(muxBind, '127.0.0.1', 0));
    const { port } = await takeReply(client);
    const visitor = await connectPeer(cleanup, port);
    visitor.say('hello');
    const frames = [await nextFrame(client), await nextFrame(client), await nextFrame(client)];
    expect(frames.slice(1)).toEqual([
      { command: 'syn', stream: 3, data: '' },
      { command: 'psh', stream: 3, data: 'hello' },
    ]);
  });
});

test('UDP-TUN at a port listens there', async () => {
  const port = await freePort('udp');
  const service = await start();
  const client = await asking(service.port, request(udpTunnel, '127.0.0.1', port));
  expect(await takeReply(client)).toEqual({ host: '127.0.0.1', port });
  const peer = cleanup.add(await openUdp(), (socket) => socket.close());
  peer.send('ping', port, '127.0.0.1');
  await client.take(framed(peer.address().port, 'ping'));
  const got = once(peer, 'message');
  client.say(framed(1, 'nobody') + framed(peer.address().port, 'pong'));
  expect(String(((await got) as [Buffer])[0])).toBe('pong');
  client.socket.end();
  const { traffic } = await service.event('closed', ({ network }) => network === 'tcp');
  expect(traffic.dropped).toBe(1);
  const { what } = await service.event('served', (served) => served.what.startsWith('UDP-TUN'));
  expect(what).toBe(`UDP-TUN 127.0.0.1:${String(port)}`);
});

describe('at a node', () => {
  const node = { host: 'node.example', port: 1080 };
  const tcp = (host: string, port: number): BindRequest => ({ network: 'tcp', address: { host, port } });
  const udp = (port: number): BindRequest => ({ network: 'udp', address: { host: '127.0.0.1', port } });

  async function bindAt(port: number, wanted: BindRequest, options: Partial<ConnectorOptions> = {}) {
    const arrivals = new Arrivals();
    const conn = await dial(port);
    cleanup.add(conn, () => {
      conn.reset();
    });
    const all = { metadata: { notls: true }, node, ...options };
    const bound = socks5.connector!.bind!(conn, wanted, arrivals.accept, all, testContext());
    bound.catch(() => undefined);
    return { arrivals, bound, conn };
  }

  async function played(wanted: BindRequest) {
    const origin = await startOrigin(cleanup);
    const made = await bindAt(origin.port, wanted);
    const peer = await origin.next();
    await peer.take('\x05\x01\0');
    peer.say('\x05\0');
    return { ...made, peer };
  }

  test('MUX-BIND is asked for, and each stream is the visitor that it says', async () => {
    const { peer, bound, arrivals } = await played(tcp('', 2222));
    await peer.take(request(muxBind, '0.0.0.0', 2222));
    const visitors = [
      frame('syn', 3) + frame('psh', 3, reply('0.0.0.0', 0, 1)),
      frame('syn', 5) + frame('psh', 5, '\x05\0\0\x03\x07example\0\x50'),
      frame('syn', 7) + frame('psh', 7, `${reply('192.0.2.7', 5000)}hello`),
    ];
    peer.say(reply('203.0.113.1', 2222) + visitors.join(''));
    expect((await bound).address).toEqual({ host: '203.0.113.1', port: 2222 });
    const visitor = await arrivals.nextConn();
    expect(visitor.remote).toEqual({ host: '192.0.2.7', port: 5000 });
    expect(String(await visitor.read())).toBe('hello');
    // The bad ones are reset.
    await peer.take(frame('fin', 3));
    await peer.take(frame('fin', 5));
    expect(arrivals.all).toHaveLength(1);
  });

  test('UDP-TUN is asked for, with the port', async () => {
    const { peer, bound, arrivals } = await played(udp(5353));
    await peer.take(request(udpTunnel, '127.0.0.1', 5353));
    peer.say(reply('203.0.113.1', 5353) + framed(1, 'hello'));
    await bound;
    expect((await arrivals.next()).remote).toEqual({ host: '127.0.0.1', port: 1 });
    const without = await bindAt((await startOrigin(cleanup)).port, udp(0));
    await expect(without.bound).rejects.toMatchObject({ code: 'unsupported', at: 'self' });
  });

  test('that says no', async () => {
    for (const [wanted, code, error, what] of [
      [tcp('', 2222), 1, 'dialFailed', 'could not listen for connections at 0.0.0.0:2222'],
      [tcp('', 2222), 2, 'upstreamRefused', 'does not allow connections at 0.0.0.0:2222'],
      [tcp('', 2222), 7, 'upstreamRefused', 'does not serve connections at'],
      [udp(53), 2, 'upstreamRefused', 'does not allow datagrams at 127.0.0.1:53'],
    ] as const) {
      const { peer, bound } = await played(wanted);
      await peer.take(/^.{10}/s);
      peer.say(reply('0.0.0.0', 0, code));
      await expect(bound).rejects.toMatchObject({ code: error, at: 'upstream' });
      await expect(bound).rejects.toThrow(what);
    }
  });

  test('of ours, within TLS', async () => {
    const tls = createAuthority().issue({ names: ['proxy.test'] });
    const metadata = { bind: true };
    const service = await startWithTls(cleanup, socks5.handler!, { sockets, tls, metadata });
    const { arrivals, bound } = await bindAt(service.port, tcp('127.0.0.1', 0), { metadata: {} });
    const { address } = await bound;
    const peer = await connectPeer(cleanup, address.port);
    peer.say('hello').socket.end();
    const visitor = await arrivals.nextConn();
    // What the node has proved is not proved of its visitors.
    expect(visitor.tls).toBeUndefined();
    expect(String(await readAll(visitor))).toBe('hello');
    await visitor.write(Buffer.from('answer'));
    await visitor.end();
    expect(await peer.all()).toBe('answer');
  });

  test('of ours', async () => {
    const auth: TestParts['auth'] = {
      authenticate: ({ username, password }) => ({ ok: username === password, user: username }),
    };
    const mux = { muxVersion: 2 };
    const service = await start({ auth, metadata: mux });
    const options = { metadata: { notls: true, ...mux }, auth: { username: 'ada', password: 'ada' } };
    const { arrivals, bound } = await bindAt(service.port, tcp('127.0.0.1', 0), options);
    const listening = await bound;
    const peer = await connectPeer(cleanup, listening.address.port);
    peer.say('hello').socket.end();
    const visitor = await arrivals.nextConn();
    expect(visitor.remote.port).toBe(portOf(peer));
    expect(String(await readAll(visitor))).toBe('hello');
    await visitor.write(Buffer.from('answer'));
    await visitor.end();
    expect(await peer.all()).toBe('answer');
    await listening.close();
    const port = await freePort('udp');
    const datagrams = await bindAt(service.port, udp(port), options);
    const { lost } = await datagrams.bound;
    const sender = cleanup.add(await openUdp(), (socket) => socket.close());
    sender.send('ping', port, '127.0.0.1');
    const end = await datagrams.arrivals.next();
    if (end.kind !== 'datagrams') throw new Error('no datagrams');
    end.receive((data) => end.send(Buffer.from(`echo:${String(data)}`)));
    expect(String(((await once(sender, 'message')) as [Buffer])[0])).toBe('echo:ping');
    await service.service.close();
    expect((await lost).code).toBe('upstreamClosed');
  });
});
