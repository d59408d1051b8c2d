/* eslint-disable no-control-regex -- the bytes of the protocol are what is looked at */
import { once } from 'node:events';
import type { Socket as UdpSocket } from 'node:dgram';
import { afterEach, describe, expect, test } from 'vitest';
import type { Datagrams } from '../../core/datagrams.ts';
import type { Address } from '../../core/conn.ts';
import { formatSocks5Request, parseSocks5Reply } from '../../wire/socks5.ts';
import { formatSocks5Datagram, formatSocks5Frame, parseSocks5Datagram } from '../../wire/socks5-udp.ts';
import { Cleanup, connectPeer, startOrigin } from '../../core/peer.fixture.ts';
import type { Peer } from '../../core/peer.fixture.ts';
import { socks5 } from './index.ts';
import { directWay, openUdp, startHandler, startUdpEcho, testContext } from './scene.fixture.ts';
import type { TestServiceOptions } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const text = (bytes: Buffer) => bytes.toString('latin1');
const asks = (command: number, address: Address = { host: '0.0.0.0', port: 0 }) =>
  `\x05\x01\0${text(formatSocks5Request({ command, address }))}`;

/** The next datagram, as SOCKS5 has it. */
async function next(socket: UdpSocket) {
  const [bytes] = (await once(socket, 'message')) as [Buffer];
  const { address, data } = parseSocks5Datagram(bytes, 'upstream');
  return { ...address, data: data.toString() };
}

/** The answer to a request, and the address in it. */
async function bound(client: Peer): Promise<Address> {
  await client.take('\x05\0');
  const reply = await client.take(/^\x05.\0\x01.{6}/s);
  const { code, bound: at } = parseSocks5Reply(Buffer.from(reply, 'latin1'))!.message;
  expect(code).toBe(0);
  return at;
}

async function scene(options: TestServiceOptions = {}, address?: Address) {
  const echo = await startUdpEcho(cleanup);
  const metadata = { udp: true, ...options.metadata };
  const service = await startHandler(cleanup, socks5.handler!, { ...options, metadata });
  const client = await connectPeer(cleanup, service.port);
  client.say(asks(3, address));
  const relay = await bound(client);
  const socket = cleanup.add(await openUdp(), (open) => open.close());
  const send = (data: string, to: Address = { host: '127.0.0.1', port: echo.port }, from = socket) => {
    from.send(formatSocks5Datagram({ address: to, data: Buffer.from(data) }), relay.port, relay.host);
  };
  return { echo, service, client, relay, socket, send };
}

describe('UDP ASSOCIATE', () => {
  test('carries datagrams to any address and back, and ends with its connection', async () => {
    const { echo, client, relay, socket, send, service } = await scene();
    expect(relay.host).toBe('127.0.0.1');
    send('one');
    expect(await next(socket)).toEqual({ host: '127.0.0.1', port: echo.port, data: 'echo:one' });
    send('two', { host: 'localhost', port: echo.port });
    expect(await next(socket)).toMatchObject({ data: 'echo:two' });
    client.socket.end();
    const closed = await service.event('closed');
    expect(closed.error).toBeUndefined();
    // The port is free again.
    const again = await openUdp('127.0.0.1', relay.port);
    again.close();
    expect((await service.event('served')).what).toBe('UDP ASSOCIATE');
  });

  test('keeps going after bad datagrams and fragments, which go nowhere', async () => {
    const { echo, relay, socket, send } = await scene();
    const fragment = formatSocks5Datagram({
      address: { host: '127.0.0.1', port: echo.port },
      data: Buffer.from('piece'),
    });
    fragment[2] = 1;
    const bad = [
      Buffer.alloc(0),
      Buffer.from('garbage'),
      Buffer.from([0, 0, 0, 5]),
      Buffer.from([0, 1, 0, 1, 127, 0, 0, 1, 0, 80, 1]),
      fragment,
      // Names and ports that nothing can be sent to.
      formatSocks5Datagram({ address: { host: '127.0.0.1', port: 0 }, data: Buffer.from('x') }),
      formatSocks5Datagram({ address: { host: '0x7f000001', port: echo.port }, data: Buffer.from('x') }),
    ];
    for (const bytes of bad) socket.send(bytes, relay.port, relay.host);
    send('good');
    expect(await next(socket)).toMatchObject({ data: 'echo:good' });
    expect(echo.got).toEqual(['good']);
  });

  test('is for the client of its connection alone', async () => {
    const { echo, socket, send } = await scene();
    const stranger = cleanup.add(await openUdp('127.0.0.2'), (open) => open.close());
    send('from a stranger', undefined, stranger);
    send('mine');
    expect(await next(socket)).toMatchObject({ data: 'echo:mine' });
    expect(echo.got).toEqual(['mine']);
    // The port of the same host may change.
    const other = cleanup.add(await openUdp(), (open) => open.close());
    send('moved', undefined, other);
    expect(await next(other)).toMatchObject({ data: 'echo:moved' });
  });

  test('refused targets are dropped, the others are not', async () => {
    const { echo, socket, send } = await scene({
      bypass: ({ target }) => target.startsWith('forbidden.example'),
    });
    send('no', { host: 'forbidden.example', port: echo.port });
    send('yes');
    expect(await next(socket)).toMatchObject({ data: 'echo:yes' });
    expect(echo.got).toEqual(['yes']);
  });

  test('uses the ports that the file allows, and says so when there is none left', async () => {
    const free = await openUdp();
    const { port } = free.address();
    free.close();
    const { relay, service } = await scene({ metadata: { udpMinPort: port, udpMaxPort: port } });
    expect(relay.port).toBe(port);
    const other = await connectPeer(cleanup, service.port);
    other.say(asks(3));
    expect(await other.all()).toMatch(/^\x05\0\x05\x01/);
    other.socket.end();
  });

  test('tells the address that the file says', async () => {
    const { relay } = await scene({ metadata: { publicAddr: '192.0.2.7' } });
    expect(relay.host).toBe('192.0.2.7');
  });
});

describe('the UDP tunnel', () => {
  async function tunnel() {
    const echo = await startUdpEcho(cleanup);
    const service = await startHandler(cleanup, socks5.handler!, { metadata: { udp: true } });
    const client = await connectPeer(cleanup, service.port);
    const address = { host: '127.0.0.1', port: echo.port };
    const frame = (data: string) => text(formatSocks5Frame({ address, data: Buffer.from(data) }));
    return { echo, service, client, frame };
  }

  test('carries frames, also those that came with the request and in pieces', async () => {
    const { client, frame, service } = await tunnel();
    const cut = frame('three');
    client.say(`${asks(0xf3)}${frame('one')}${frame('two')}${cut.slice(0, 5)}`);
    await bound(client);
    await client.take(frame('echo:one'));
    await client.take(frame('echo:two'));
    client.say(cut.slice(5));
    await client.take(frame('echo:three'));
    client.socket.end();
    await client.all();
    expect((await service.event('closed')).error).toBeUndefined();
  });

  test('an empty datagram is one, and what is no frame ends it', async () => {
    const { client, frame, echo } = await tunnel();
    const empty = `\0\0\xff\x01\x7f\0\0\x01${String.fromCharCode(echo.port >> 8, echo.port & 255)}`;
    client.say(`${asks(0xf3)}${empty}${frame('x')}`);
    await bound(client);
    await client.take(frame('echo:x'));
    expect(echo.got.sort()).toEqual(['', 'x']);
    client.say('GET / HTTP/1.1\r\n\r\n');
    await client.all();
  });
});

describe('a node', () => {
  async function associate(metadata: Readonly<Record<string, unknown>>) {
    const echo = await startUdpEcho(cleanup);
    const service = await startHandler(cleanup, socks5.handler!, { metadata: { udp: true } });
    const node = { host: '127.0.0.1', port: service.port };
    const conn = await directWay.dial(node, testContext());
    const datagrams = await socks5.connector!.associate!(conn, directWay, { metadata, node }, testContext());
    cleanup.add(datagrams, (open) => {
      open.close();
    });
    return { echo, service, datagrams };
  }
  const received = (datagrams: Datagrams) => {
    const waiting: ((got: { data: string; peer: Address }) => void)[] = [];
    datagrams.receive((data, peer) => waiting.shift()?.({ data: data.toString(), peer }));
    return () => new Promise<{ data: string; peer: Address }>((resolve) => waiting.push(resolve));
  };

  test.each([
    ['through the connection', {}],
    ['by UDP', { relay: 'udp' }],
  ])('of ours carries datagrams %s', async (_, metadata) => {
    const { echo, datagrams, service } = await associate(metadata);
    const get = received(datagrams);
    const peer = { host: '127.0.0.1', port: echo.port };
    for (const word of ['one', 'two']) {
      const answer = get();
      expect(datagrams.send(Buffer.from(word), peer)).toBe(true);
      expect(await answer).toEqual({ data: `echo:${word}`, peer });
    }
    expect(datagrams.send(Buffer.from('x'), { host: '', port: 1 })).toBe(false);
    if (!('relay' in metadata)) expect(datagrams.send(Buffer.alloc(0), peer)).toBe(false);
    datagrams.close();
    datagrams.close();
    await datagrams.closed;
    expect(datagrams.send(Buffer.from('x'), peer)).toBe(false);
    expect((await service.event('closed')).error).toBeUndefined();
  });

  test.each([[{}], [{ relay: 'udp' }]])('that goes away ends them (%j)', async (metadata) => {
    const { service, datagrams } = await associate(metadata);
    received(datagrams);
    await service.service.close();
    await datagrams.closed;
  });

  test('that cannot be reached by UDP', async () => {
    const node = await startOrigin(cleanup);
    const at = { host: '127.0.0.1', port: node.port };
    const conn = await directWay.dial(at, testContext());
    const under = { ...directWay, packets: undefined } as unknown as typeof directWay;
    const options = { metadata: { relay: 'udp' }, node: at };
    const failing = socks5.connector!.associate!(conn, under, options, testContext());
    (await node.next()).say('\x05\0\x05\0\0\x01\0\0\0\0\0\x09');
    await expect(failing).rejects.toMatchObject({ code: 'unsupported', at: 'self' });
    await conn.closed;
  });
});
