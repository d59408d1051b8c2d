import dgram from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Address } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import { udp } from './index.ts';
import { createPeers } from './peers.ts';

const { signal } = new AbortController();
const closing: (() => unknown)[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const close of closing.splice(0).reverse()) await close();
});

async function client(type: 'udp4' | 'udp6' = 'udp4') {
  const socket = dgram.createSocket(type);
  socket.on('error', () => undefined);
  socket.bind(0, type === 'udp4' ? '127.0.0.1' : '::1');
  await once(socket, 'listening');
  closing.push(() => socket.close());
  const next = async () => String(((await once(socket, 'message')) as [Buffer])[0]);
  const address: Address = { host: socket.address().address, port: socket.address().port };
  return { socket, next, address };
}

async function listen(
  metadata: Record<string, unknown> = {},
  each?: (peer: Datagrams) => void,
  host = '127.0.0.1',
) {
  const peers: Datagrams[] = [];
  const problems: ProxyError[] = [];
  let arrived: (() => void) | undefined;
  const listening = await udp.wrap(undefined, { metadata }).listen!(
    { host, port: 0 },
    (end) => {
      if (end.kind !== 'datagrams') throw new Error('not datagrams');
      peers.push(end);
      each?.(end);
      arrived?.();
    },
    (error) => problems.push(error),
  );
  closing.push(() => {
    for (const peer of peers) peer.close();
    return listening.close();
  });
  return { listening, peers, problems, arrival: () => new Promise<void>((resolve) => (arrived = resolve)) };
}

function received(place: Datagrams, count: number): Promise<[string, Address][]> {
  const all: [string, Address][] = [];
  return new Promise((resolve) => {
    place.receive((data, peer) => {
      all.push([String(data), peer]);
      if (all.length === count) resolve(all);
    });
  });
}

async function packets(to?: Address) {
  const place = await udp.wrap(undefined, { metadata: {} }).packets!(to, { signal });
  closing.push(() => place.close());
  return place;
}

describe('a UDP listener', () => {
  test('makes one end of each peer, keeps what came early, and lets many answers pass', async () => {
    const { listening, peers, arrival } = await listen();
    const [one, two] = [await client(), await client()];
    const arriving = arrival();
    one.socket.send('a1', listening.address.port);
    await arriving;
    const second = arrival();
    two.socket.send('b1', listening.address.port);
    await second;
    expect(peers.map(({ remote }) => remote)).toEqual([one.address, two.address]);
    expect(peers[0]!.local).toEqual(listening.address);
    const all = received(peers[0]!, 2);
    one.socket.send('a2', listening.address.port);
    expect(await all).toEqual([
      ['a1', one.address],
      ['a2', one.address],
    ]);
    for (const text of ['first', 'second', 'third']) {
      const coming = one.next();
      expect(peers[0]!.send(Buffer.from(text))).toBe(true);
      expect(await coming).toBe(text);
    }
    expect(peers).toHaveLength(2);
  });

  test('a session ends after its time in silence, and the next datagram begins another', async () => {
    const { listening, peers, arrival } = await listen({ ttlMs: 40 });
    const { socket } = await client();
    const first = arrival();
    socket.send('x', listening.address.port);
    await first;
    await peers[0]!.closed;
    expect(peers[0]!.send(Buffer.from('late'))).toBe(false);
    const second = arrival();
    socket.send('y', listening.address.port);
    await second;
    expect(peers).toHaveLength(2);
  });

  test('what goes to a peer keeps its session, as what comes does', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'] });
    const { listening, peers, arrival } = await listen({ ttlMs: 1000 });
    const { socket } = await client();
    const first = arrival();
    socket.send('x', listening.address.port);
    await first;
    let isClosed = false;
    void peers[0]!.closed.then(() => (isClosed = true));
    for (let i = 0; i < 4; i++) {
      await vi.advanceTimersByTimeAsync(750);
      peers[0]!.send(Buffer.from('y'));
    }
    expect(isClosed).toBe(false);
    await vi.advanceTimersByTimeAsync(1250);
    expect(isClosed).toBe(true);
  });

  test('an empty host takes IPv6 and IPv4, and each peer has its plain address', async () => {
    const { listening, peers, arrival } = await listen({}, undefined, '');
    for (const type of ['udp4', 'udp6'] as const) {
      const one = await client(type);
      const arriving = arrival();
      one.socket.send('x', listening.address.port, type === 'udp4' ? '127.0.0.1' : '::1');
      await arriving;
      expect(peers.at(-1)!.remote).toEqual(one.address);
      const coming = one.next();
      peers.at(-1)!.send(Buffer.from('back'));
      expect(await coming).toBe('back');
    }
  });

  test('what is too long is dropped whole', async () => {
    const { listening, peers, arrival } = await listen({ readBufferSize: 10 });
    const { socket } = await client();
    const first = arrival();
    socket.send('x'.repeat(11), listening.address.port);
    socket.send('short', listening.address.port);
    await first;
    expect(await received(peers[0]!, 1)).toMatchObject([['short', {}]]);
  });

  test('a closed one takes no new peers, and frees its port when the last has ended', async () => {
    const { listening, peers, arrival } = await listen();
    const [one, two] = [await client(), await client()];
    const first = arrival();
    one.socket.send('x', listening.address.port);
    await first;
    const closed = listening.close();
    two.socket.send('new', listening.address.port);
    one.socket.send('old', listening.address.port);
    expect(await received(peers[0]!, 2)).toEqual([
      ['x', one.address],
      ['old', one.address],
    ]);
    expect(peers).toHaveLength(1);
    const coming = one.next();
    peers[0]!.send(Buffer.from('still'));
    expect(await coming).toBe('still');
    peers[0]!.close();
    await closed;
    const again = dgram.createSocket('udp4').bind(listening.address.port, '127.0.0.1');
    await once(again, 'listening');
    again.close();
  });

  test('a port that is taken, and an address of somebody else, say so', async () => {
    const { listening } = await listen();
    const way = udp.wrap(undefined, { metadata: {} });
    const nothing = () => undefined;
    await expect(way.listen!(listening.address, nothing, nothing)).rejects.toMatchObject({
      code: 'addressInUse',
    });
    await expect(way.listen!({ host: '192.0.2.1', port: 0 }, nothing, nothing)).rejects.toMatchObject({
      code: 'listenFailed',
    });
    await expect(way.dial({ host: '127.0.0.1', port: 1 }, { signal })).rejects.toMatchObject({
      code: 'unsupported',
    });
  });
});

describe('the table of peers', () => {
  /** Datagrams from made-up addresses, with the socket out of play. */
  function table(options: { backlog?: number } = {}) {
    const accepted: Datagrams[] = [];
    const drops: string[] = [];
    let emptied = 0;
    const peers = createPeers(
      { getSendQueueSize: () => 0, send: () => undefined } as unknown as dgram.Socket,
      {
        ...options,
        local: { host: '127.0.0.1', port: 1 },
        accept: (end) => accepted.push(end as Datagrams),
        dropped: (why) => drops.push(why),
        empty: () => emptied++,
      },
    );
    closing.push(() => accepted.map((peer) => peer.close()));
    const take = (address: string, port: number, data = 'x') => {
      const bytes = Buffer.from(data);
      peers.take(bytes, { address, port, family: 'IPv4', size: bytes.length });
    };
    return { peers, accepted, drops, take, emptied: () => emptied };
  }

  test('those that wait to be served are bounded, and so is what waits for one', () => {
    const { peers, accepted, drops, take } = table({ backlog: 2 });
    for (let port = 1; port <= 4; port++) take('192.0.2.1', port);
    expect(accepted.map(({ remote }) => remote.port)).toEqual([1, 2]);
    expect(drops).toEqual(['2 peers wait to be served', '2 peers wait to be served']);
    for (let i = 0; i < 100; i++) take('192.0.2.1', 1, String(i));
    let count = 0;
    accepted[0]!.receive(() => count++);
    expect(count).toBe(64);
    expect(drops).toHaveLength(2 + 37);
    take('192.0.2.1', 5);
    expect(peers.size).toBe(3);
    // One that ends without having been served makes room as well.
    accepted[1]!.close();
    take('192.0.2.1', 6);
    expect(accepted.map(({ remote }) => remote.port)).toEqual([1, 2, 5, 6]);
  });

  test('forged addresses fill it and no more, and it empties', () => {
    const { peers, drops, take, accepted, emptied } = table({ backlog: 1e6 });
    for (let i = 0; i < 66_000; i++)
      take(`10.${String(i >> 16)}.${String((i >> 8) & 255)}.${String(i & 255)}`, 53);
    expect(peers.size).toBe(65_536);
    expect(drops).toHaveLength(66_000 - 65_536);
    for (const peer of accepted) peer.close();
    expect(peers.size).toBe(0);
    expect(emptied()).toBe(1);
  });
});

describe('a place to send datagrams from', () => {
  test('reaches anybody, over both families, by address and by name', async () => {
    const [four, six] = [await client('udp4'), await client('udp6')];
    const place = await packets();
    expect(place.local).toEqual({ host: '', port: 0 });
    for (const one of [four, six]) {
      const coming = once(one.socket, 'message');
      expect(place.send(Buffer.from('to you'), one.address)).toBe(true);
      const [data, from] = (await coming) as [Buffer, dgram.RemoteInfo];
      expect(String(data)).toBe('to you');
      one.socket.send('back', from.port, from.address);
    }
    const back = await received(place, 2);
    expect(back.map(([, peer]) => peer)).toEqual(expect.arrayContaining([four.address, six.address]));
    const named = new Promise((resolve) => {
      four.socket.once('message', resolve);
      six.socket.once('message', resolve);
    });
    // Whichever family the name stands for first; both ports have somebody.
    place.send(Buffer.from('by name'), { host: 'localhost', port: four.address.port });
    place.send(Buffer.from('by name'), { host: 'localhost', port: six.address.port });
    expect(String(await named)).toBe('by name');
  });

  test('for one peer hears nobody else, and nobody listening is no end', async () => {
    const peer = await client();
    const stranger = await client();
    const coming = once(peer.socket, 'message');
    const target = await packets(peer.address);
    target.send(Buffer.from('hello'));
    const [, from] = (await coming) as [Buffer, dgram.RemoteInfo];
    expect(target.local).toEqual({ host: '127.0.0.1', port: from.port });
    stranger.socket.send('from a stranger', from.port, '127.0.0.1');
    peer.socket.send('from the peer', from.port, '127.0.0.1');
    expect(await received(target, 1)).toEqual([['from the peer', peer.address]]);
    expect(target.send(Buffer.from('x'), stranger.address)).toBe(false);

    const gone = dgram.createSocket('udp4').bind(0, '127.0.0.1');
    await once(gone, 'listening');
    const { port } = gone.address();
    const lonely = await packets({ host: '127.0.0.1', port });
    await new Promise<void>((resolve) => gone.close(() => resolve()));
    for (let i = 0; i < 3; i++) lonely.send(Buffer.from('anybody?'));
    const again = dgram.createSocket('udp4').bind(port, '127.0.0.1');
    await once(again, 'listening');
    const heard = once(again, 'message');
    // The first may be answered by the system's memory of the closed port.
    const repeat = setInterval(() => lonely.send(Buffer.from('there you are')), 5);
    expect(String(((await heard) as [Buffer])[0])).toBe('there you are');
    clearInterval(repeat);
    again.close();
  });

  test('sends nothing that cannot be sent', async () => {
    const place = await packets();
    expect(place.send(Buffer.alloc(65_508), { host: '127.0.0.1', port: 9 })).toBe(false);
    expect(place.send(Buffer.from('x'))).toBe(false);
    expect(place.send(Buffer.from('x'), { host: '127.0.0.1', port: 0 })).toBe(false);
    place.close();
    place.close();
    await place.closed;
    expect(place.send(Buffer.from('x'), { host: '127.0.0.1', port: 9 })).toBe(false);
  });

  test('a name that does not exist, one whose addresses are refused, and a client that left, say so', async () => {
    const way = udp.wrap(undefined, { metadata: {} });
    await expect(way.packets!({ host: 'no.such.invalid', port: 9 }, { signal })).rejects.toMatchObject({
      code: 'nameNotFound',
    });
    const refused = new ProxyError('forbidden', 'client', 'not there');
    await expect(
      way.packets!({ host: 'localhost', port: 9 }, { signal, refuses: () => refused }),
    ).rejects.toBe(refused);
    await expect(way.packets!(undefined, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'clientClosed',
    });
    const target = await client();
    let heard = 0;
    target.socket.on('message', () => heard++);
    const place = await way.packets!(undefined, { signal, refuses: () => refused });
    closing.push(() => place.close());
    place.send(Buffer.from('x'), { host: 'localhost', port: target.address.port });
    await vi.waitFor(() => {
      expect(place.send(Buffer.from('x'), { host: 'localhost', port: target.address.port })).toBe(false);
    });
    expect(heard).toBe(0);
  });
});
