import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { freePort, nextFrame, sockets } from '../../core/bind/bind.fixture.ts';
import type { TestParts } from '../../core/http/proxy.fixture.ts';
import { smuxFrame } from '../../core/mux/mux-raw.fixture.ts';
import { Cleanup, connectPeer, startOrigin } from '../../core/peer.fixture.ts';
import type { Peer } from '../../core/peer.fixture.ts';
import { parseRelayResponse, formatRelayResponse } from '../../wire/relay.ts';
import { formatSocks5Frame } from '../../wire/socks5-udp.ts';
import type { SmuxCommand } from '../../wire/smux.ts';
import { openUdp } from '../socks5/scene.fixture.ts';
import { answer, asks, auth, connects, connectsUdp, ok, startRelay, userAuth } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const binds = (host: string, port: number) =>
  asks({ command: 2, features: [{ type: 'addr', address: { host, port } }] });
const start = (parts: TestParts = {}) =>
  startRelay(cleanup, { sockets, metadata: { bind: true, ...parts.metadata }, ...parts });
const frame = (command: SmuxCommand, stream: number, data = '') =>
  smuxFrame(1, command, stream, Buffer.from(data)).toString('latin1');
const headOf = (host: string, port: number) =>
  formatRelayResponse(0, [{ type: 'addr', address: { host, port } }]).toString('latin1');
/** Reads an answer that says where is listened. */
const takeBound = async (client: Peer) => {
  const head = await client.take(/^.{4}/s);
  const said =
    head +
    (await client.take(new RegExp(`^.{${String(head.charCodeAt(2) * 256 + head.charCodeAt(3))}}`, 's')));
  const { status, features } = parseRelayResponse(Buffer.from(said, 'latin1'))!.message;
  expect(status).toBe(0);
  const [addr] = features;
  if (addr?.type !== 'addr') throw new Error('no address');
  return addr.address;
};

/** A client that has asked, and where is listened for it. */
async function bound(servicePort: number, host = '127.0.0.1') {
  const client = await connectPeer(cleanup, servicePort);
  client.say(binds(host, 0));
  const address = await takeBound(client);
  // Ours says hello.
  expect(await nextFrame(client)).toMatchObject({ command: 'nop' });
  return { client, address };
}

/** The next frame that is about a stream. */
async function next(client: Peer) {
  for (;;) {
    const got = await nextFrame(client);
    if (got.command !== 'nop' || got.stream % 2 === 1) return got;
  }
}

const portOf = ({ socket }: Peer) => socket.localPort!;

/** How somebody is turned away who comes to a port. */
async function refuses(port: number) {
  const socket = cleanup.add(net.connect({ port, host: '127.0.0.1' }), (open) => open.destroy());
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code;
}

describe('BIND', () => {
  test('each visitor is a stream, which begins with who it is', async () => {
    const service = await start();
    const { client, address } = await bound(service.port);
    expect(address.host).toBe('127.0.0.1');
    const visitor = await connectPeer(cleanup, address.port);
    visitor.say('hello');
    expect(await next(client)).toEqual({ command: 'syn', stream: 3, data: '' });
    expect(await next(client)).toEqual({
      command: 'psh',
      stream: 3,
      data: headOf('127.0.0.1', portOf(visitor)),
    });
    expect(await next(client)).toEqual({ command: 'psh', stream: 3, data: 'hello' });
    const second = await connectPeer(cleanup, address.port);
    expect(await next(client)).toEqual({ command: 'syn', stream: 5, data: '' });
    expect((await next(client)).data).toBe(headOf('127.0.0.1', portOf(second)));
    client.say(`${frame('psh', 3, 'one')}${frame('psh', 5, 'two')}${frame('fin', 3)}`);
    expect(await visitor.all()).toBe('one');
    visitor.socket.end();
    expect(await next(client)).toMatchObject({ command: 'fin', stream: 3 });
    await second.take('two');
    second.say('three').socket.end();
    expect(await next(client)).toMatchObject({ command: 'psh', stream: 5, data: 'three' });
    client.say(frame('fin', 5));
    const gone = await service.event('closed', ({ traffic }) => traffic.sent === 'two'.length);
    expect(gone).toMatchObject({ user: '', error: undefined, traffic: { received: 5, sent: 3 } });
    const { what } = await service.event('served', (served) => served.what.startsWith('visitor'));
    expect(what).toBe(`visitor of 127.0.0.1:${String(address.port)}`);
    client.socket.end();
    const served = await service.event('served', (one) => one.what.startsWith('BIND'));
    expect(served).toMatchObject({ what: 'BIND 127.0.0.1:0', status: 0, error: undefined });
    expect(await refuses(address.port)).toBe('ECONNREFUSED');
  });

  test.each(['0.0.0.0', '::', 'localhost', '::ffff:127.0.0.1'])('at %s', async (host) => {
    const service = await start();
    const { client, address } = await bound(service.port, host);
    const visitor = await connectPeer(cleanup, address.port).catch(() => undefined);
    // A machine may have `localhost` for its IPv6 address.
    if (visitor === undefined) return;
    await next(client);
    expect((await next(client)).data).toBe(headOf('127.0.0.1', portOf(visitor)));
  });

  test('the client decides nothing of who else gets in', async () => {
    const { address, client } = await bound((await start()).port);
    client.say(frame('syn', 2));
    expect(await next(client)).toMatchObject({ command: 'fin', stream: 2 });
    // Those are not its to open.
    client.say(frame('syn', 3));
    await client.all();
    expect(await refuses(address.port)).toBe('ECONNREFUSED');
  });

  test('what cannot be done is said, and the connection ends', async () => {
    const service = await start();
    const origin = await startOrigin(cleanup);
    const told = async (bytes: string) => {
      const client = await connectPeer(cleanup, service.port);
      client.say(bytes);
      const said = await client.all();
      client.socket.end();
      return said;
    };
    expect(await told(binds('127.0.0.1', origin.port))).toBe(answer(5));
    expect(await service.event('served')).toMatchObject({ status: 5, error: { code: 'addressInUse' } });
    // An address that this machine has not.
    expect(await told(binds('192.0.2.1', 0))).toBe(answer(5));
    // GOST's client, whose file says `:2222`.
    expect(await told(binds('0.0.0.0::2222', 0))).toBe(answer(1));
    expect(await told(binds('127.2', 0))).toBe(answer(1));
    expect(
      await told(
        asks({ command: 3, features: [{ type: 'addr', address: { host: '127.0.0.1', port: 53 } }] }),
      ),
    ).toBe(answer(1));
    const udp = cleanup.add(await openUdp(), (socket) => socket.close());
    expect(await told(connectsUdp({ host: '127.0.0.1', port: udp.address().port }, 2))).toBe(answer(5));
    const nowhere = await startRelay(cleanup, { metadata: { bind: true } });
    const client = await connectPeer(cleanup, nowhere.port);
    client.say(binds('127.0.0.1', 0));
    expect(await client.all()).toBe(answer(5));
  });

  test('who asks has to be let in, and not too often', async () => {
    const left = [1, 1, 1];
    const service = await start({ auth, rate: { allow: () => left.pop() !== undefined } });
    const stranger = await connectPeer(cleanup, service.port);
    stranger.say(binds('127.0.0.1', 0));
    expect(await stranger.all()).toBe(answer(2));
    const client = await connectPeer(cleanup, service.port);
    const address = { type: 'addr', address: { host: '127.0.0.1', port: 0 } } as const;
    client.say(asks({ command: 2, features: [userAuth('ada', 'ada'), address] }));
    const { port } = await takeBound(client);
    for (const which of [1, 2]) {
      const visitor = await connectPeer(cleanup, port);
      visitor.say(`hello ${String(which)}`);
      await client.take(`hello ${String(which)}`);
    }
    expect(await refuses(port)).toBe('ECONNRESET');
    const { error } = await service.event('closed', ({ error: one }) => one?.code === 'tooManyRequests');
    expect(error?.at).toBe('client');
    client.socket.end();
    const { user } = await service.event('served', ({ what }) => what.startsWith('BIND'));
    expect(user).toBe('id-ada');
  });

  test('visitors are held to what the service says of everybody', async () => {
    let admits = true;
    const attached: string[] = [];
    let places = 3;
    const service = await start({
      admission: { admit: () => admits },
      connections: { enter: () => (places-- > 0 ? () => places++ : undefined) },
      limits: {
        attach({ client, network, user }) {
          attached.push(`${network} ${String(client.port)} ${user}`);
          return Promise.resolve({ detach: () => undefined });
        },
        unanswered: 0,
        entries: 0,
        close: () => undefined,
      },
      problem: () => undefined,
    });
    const { client, address } = await bound(service.port);
    const first = await connectPeer(cleanup, address.port);
    first.say('first');
    await client.take('first');
    expect(attached).toEqual([`tcp ${String(portOf(client))} `, `tcp ${String(portOf(first))} `]);
    admits = false;
    expect(await refuses(address.port)).toBe('ECONNRESET');
    admits = true;
    const second = await connectPeer(cleanup, address.port);
    second.say('second');
    await client.take('second');
    expect(await refuses(address.port)).toBe('ECONNRESET');
    expect(attached).toHaveLength(3);
  });

  test('an idle visitor ends, and the client stays', async () => {
    const service = await start({ idleMs: 30 });
    const { client, address } = await bound(service.port);
    const visitor = await connectPeer(cleanup, address.port);
    await visitor.all();
    expect(await service.event('served')).toMatchObject({ error: { code: 'idleTimeout' } });
    const other = await connectPeer(cleanup, address.port);
    other.say('hello');
    await client.take('hello');
  });

  test.each(['cut', 'broken'])('visitors end with a client that is %s', async (how) => {
    const service = await start();
    const { client, address } = await bound(service.port);
    const visitors = await Promise.all([1, 2].map(() => connectPeer(cleanup, address.port)));
    for (const visitor of visitors) {
      visitor.say('hello');
      await client.take('hello');
    }
    if (how === 'cut') client.socket.resetAndDestroy();
    else client.say('no frame of any mux');
    await Promise.all(visitors.map((visitor) => visitor.all()));
    await client.all();
    await service.event('served', ({ what }) => what.startsWith('BIND'));
    expect(await refuses(address.port)).toBe('ECONNREFUSED');
    const code = how === 'cut' ? 'clientClosed' : 'malformedRequest';
    await service.event('closed', ({ error }) => error?.code === code);
    await service.service.stop();
    expect(service.service.open).toBe(0);
  });

  test('a service that stops lets nobody new in, and those who are there finish', async () => {
    const service = await start();
    const { client, address } = await bound(service.port);
    const visitor = await connectPeer(cleanup, address.port);
    visitor.say('hello');
    await client.take('hello');
    const stopped = service.service.stop();
    expect(await refuses(address.port)).toBe('ECONNREFUSED');
    client.say(frame('psh', 3, 'bye'));
    await visitor.take('bye');
    visitor.socket.end();
    client.say(frame('fin', 3));
    await visitor.all();
    await client.all();
    client.socket.end();
    await stopped;
  });

  test('a client that neither reads nor says anything is given up, whatever comes to it', async () => {
    const service = await start({
      metadata: { bind: true, muxKeepAliveMs: 100, muxKeepAliveTimeoutMs: 400 },
    });
    const { client, address } = await bound(service.port);
    client.socket.pause();
    const chunk = 'x'.repeat(64 * 1024);
    const visitors = await Promise.all(
      Array.from({ length: 100 }, async () => (await connectPeer(cleanup, address.port)).say(chunk)),
    );
    const { error } = await service.event('served', ({ what }) => what.startsWith('BIND'));
    expect(error).toMatchObject({ code: 'clientClosed', at: 'client' });
    await Promise.all(visitors.map((visitor) => visitor.all()));
    const origin = await startOrigin(cleanup);
    const other = await connectPeer(cleanup, service.port);
    other.say(connects('127.0.0.1', origin.port));
    await other.take(ok);
  });
});

describe('BIND for datagrams', () => {
  async function boundUdp(servicePort: number) {
    const port = await freePort('udp');
    const client = await connectPeer(cleanup, servicePort);
    client.say(connectsUdp({ host: '127.0.0.1', port }, 2));
    expect(await takeBound(client)).toEqual({ host: '127.0.0.1', port });
    return { client, port };
  }
  const visit = async () => cleanup.add(await openUdp(), (socket) => socket.close());
  const framed = (port: number, data: string) =>
    formatSocks5Frame({ address: { host: '127.0.0.1', port }, data: Buffer.from(data) }).toString('latin1');

  test('each peer has its address in the frames, and gets what is for it', async () => {
    const service = await start();
    const { client, port } = await boundUdp(service.port);
    const [one, two] = [await visit(), await visit()];
    one.send('first', port, '127.0.0.1');
    await client.take(framed(one.address().port, 'first'));
    two.send('second', port, '127.0.0.1');
    await client.take(framed(two.address().port, 'second'));
    const got = once(one, 'message');
    client.say(framed(two.address().port, 'for two') + framed(one.address().port, 'for one'));
    const [bytes, from] = (await got) as [Buffer, { port: number }];
    expect([String(bytes), from.port]).toEqual(['for one', port]);
    // Nobody has come from there.
    const never = await visit();
    never.on('message', () => {
      throw new Error('it got what it never asked for');
    });
    const answered = once(two, 'message');
    client.say(framed(never.address().port, 'unasked') + framed(two.address().port, 'again'));
    while (String(((await answered) as [Buffer])[0]) === '');
    client.socket.end();
    const { traffic, error } = await service.event('closed', ({ network }) => network === 'tcp');
    expect([traffic.dropped, error]).toEqual([1, undefined]);
    const visitors = service.events.filter(({ kind }) => kind === 'served');
    expect(visitors.map((event) => event.kind === 'served' && event.what)).toContain(
      `visitor of 127.0.0.1:${String(port)}`,
    );
    // The port is free.
    cleanup.add(await openUdp('127.0.0.1', port), (socket) => socket.close());
  });

  test('frames that cannot be read end it with the reason', async () => {
    const service = await start();
    const { client, port } = await boundUdp(service.port);
    const peer = await visit();
    peer.send('first', port, '127.0.0.1');
    await client.take('first');
    client.say('\0\x05\x07nonsense');
    await client.all();
    const { error } = await service.event('closed', ({ network }) => network === 'tcp');
    expect(error).toMatchObject({ code: 'malformedRequest', at: 'client' });
    await service.service.stop();
    cleanup.add(await openUdp('127.0.0.1', port), (socket) => socket.close());
  });
});

test('what a client gets is whole, however much comes', async () => {
  const service = await start();
  const { client, address } = await bound(service.port);
  const visitor = await connectPeer(cleanup, address.port);
  await next(client);
  await next(client);
  const sent = Array.from({ length: 200 }, (_, index) => `line ${String(index)}\n`)
    .join('')
    .repeat(50);
  visitor.say(sent).socket.end();
  let got = '';
  while (got.length < sent.length) got += (await next(client)).data;
  expect(got).toBe(sent);
});
