import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { acceptBoundStreams } from '../../core/bind/bound-streams.ts';
import { Arrivals, dial, freePort, sockets } from '../../core/bind/bind.fixture.ts';
import type { RemoteListening } from '../../core/conn.ts';
import { memoryConnPair } from '../../core/memory-conn.fixture.ts';
import { muxKinds, readAll } from '../../core/mux/mux-pair.fixture.ts';
import { smuxFrame } from '../../core/mux/mux-raw.fixture.ts';
import { createMuxSession } from '../../core/mux/mux-session.ts';
import type { MuxSettings } from '../../core/mux/settings.ts';
import { Cleanup, connectPeer, startOrigin } from '../../core/peer.fixture.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import type { BindRequest } from '../../core/way.ts';
import { formatRelayResponse } from '../../wire/relay.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import { formatSocks5Frame } from '../../wire/socks5-udp.ts';
import type { SmuxCommand } from '../../wire/smux.ts';
import { openUdp, testContext } from '../socks5/scene.fixture.ts';
import { relay } from './index.ts';
import { answer, asks, auth, connectsUdp, startRelay, userAuth } from './scene.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const node = { host: 'node.example', port: 8421 };
const addr = (host: string, port: number): RelayFeature => ({ type: 'addr', address: { host, port } });
const says = (...features: RelayFeature[]) => formatRelayResponse(0, features).toString('latin1');
const frame = (command: SmuxCommand, stream: number, data = '') =>
  smuxFrame(1, command, stream, Buffer.from(data, 'latin1')).toString('latin1');
const tcp = (host: string, port: number): BindRequest => ({ network: 'tcp', address: { host, port } });

/** Binds at a node that a test plays, or at a service. */
async function bind(port: number, request: BindRequest, options: Partial<ConnectorOptions> = {}) {
  const arrivals = new Arrivals();
  const conn = await dial(port);
  cleanup.add(conn, () => {
    conn.reset();
  });
  const bound = relay.connector!.bind!(
    conn,
    request,
    arrivals.accept,
    { metadata: {}, node, ...options },
    testContext(),
  );
  bound.catch(() => undefined);
  return { arrivals, bound, conn };
}

async function playedNode(request: BindRequest, options: Partial<ConnectorOptions> = {}) {
  const origin = await startOrigin(cleanup);
  const made = await bind(origin.port, request, options);
  return { ...made, peer: await origin.next() };
}

/** A node that has said yes. */
async function granted(request: BindRequest, options: Partial<ConnectorOptions> = {}) {
  const made = await playedNode(request, options);
  await made.peer.take(/^.+$/s);
  made.peer.say(says(addr('203.0.113.1', 2222)));
  return { ...made, listening: await made.bound };
}

describe('BIND at a node', () => {
  test('is asked for as GOST asks, and each stream is the visitor that it says', async () => {
    const { peer, bound, arrivals } = await playedNode(tcp('', 2222), {
      auth: { username: 'ada', password: 'secret' },
    });
    const asked = asks({ command: 2, features: [userAuth('ada', 'secret'), addr('0.0.0.0', 2222)] });
    expect(await peer.take(asked)).toBe(asked);
    // All in one piece: the yes, a stream, and what its visitor said.
    const head = says(addr('192.0.2.7', 5000));
    peer.say(
      says(addr('203.0.113.1', 2222)) +
        frame('syn', 3) +
        frame('psh', 3, `${head}hel`) +
        frame('psh', 3, 'lo'),
    );
    const listening = await bound;
    expect(listening.address).toEqual({ host: '203.0.113.1', port: 2222 });
    const visitor = await arrivals.nextConn();
    expect(visitor.remote).toEqual({ host: '192.0.2.7', port: 5000 });
    expect(visitor.local).toEqual(listening.address);
    expect([visitor.tls, visitor.wanted, visitor.via]).toEqual([undefined, undefined, undefined]);
    expect(String(await visitor.read())).toBe('hel');
    expect(String(await visitor.read())).toBe('lo');
    await visitor.write(Buffer.from('welcome'));
    await peer.take('welcome');
  });

  test('a stream may say where its visitor wants to go', async () => {
    const { peer, arrivals } = await granted(tcp('127.0.0.1', 2222));
    const head = says(addr('::ffff:192.0.2.7', 5000), addr('wanted.example', 443));
    peer.say(frame('syn', 3) + frame('psh', 3, head));
    const visitor = await arrivals.nextConn();
    expect(visitor.remote).toEqual({ host: '192.0.2.7', port: 5000 });
    expect(visitor.wanted).toEqual({ host: 'wanted.example', port: 443 });
  });

  test('a node that says no', async () => {
    for (const [status, code] of [
      [1, 'upstreamRefused'],
      [2, 'upstreamRefused'],
      [3, 'upstreamRefused'],
      [5, 'dialFailed'],
    ] as const) {
      const { peer, bound, conn } = await playedNode(tcp('', 2222));
      await peer.take(/^.+$/s);
      peer.say(answer(status));
      await expect(bound).rejects.toMatchObject({ code, at: 'upstream' });
      if (status !== 2) await expect(bound).rejects.toThrow('connections at :2222');
      await conn.closed;
    }
  });

  test('a node that speaks something else, or goes away', async () => {
    const { peer, bound } = await playedNode(tcp('', 2222));
    peer.say('HTTP/1.1 400 Bad Request\r\n\r\n');
    await expect(bound).rejects.toMatchObject({ code: 'badUpstreamReply' });
    const gone = await playedNode(tcp('', 2222));
    gone.peer.socket.end();
    await expect(gone.bound).rejects.toMatchObject({ code: 'upstreamClosed' });
  });

  test.each([
    ['a no', formatRelayResponse(5).toString('latin1')],
    ['nobody', says()],
    ['a name', says(addr('visitor.example', 1))],
    ['something else', 'GET / HTTP/1.1'],
    ['too much', `\x01\0\xff\xff${'x'.repeat(2000)}`],
    ['an end', ''],
  ])('a stream that begins with %s is reset, and the others go on', async (_, bytes) => {
    const { peer, arrivals, listening } = await granted(tcp('', 2222));
    peer.say(frame('syn', 3) + (bytes === '' ? '' : frame('psh', 3, bytes)));
    peer.say(bytes === '' ? frame('fin', 3) : '');
    peer.say(frame('syn', 5) + frame('psh', 5, says(addr('192.0.2.7', 5000))));
    const visitor = await arrivals.nextConn();
    expect(visitor.remote.port).toBe(5000);
    await peer.take(frame('fin', 3));
    expect(arrivals.all).toHaveLength(1);
    await listening.close();
  });

  test('a stream that says nothing for 10 s is reset', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    cleanup.add(vi, () => vi.useRealTimers());
    const [conn, far] = memoryConnPair({ sides: ['upstream', 'client'] });
    const arrivals = new Arrivals();
    const parse = () => undefined;
    const mux = { keepAliveMs: 0 };
    acceptBoundStreams(conn, { address: node, settings: mux, parse, accept: arrivals.accept });
    const session = createMuxSession(far, { role: 'client', side: 'client', settings: mux });
    const stream = session.open();
    await stream.write(Buffer.from('x'));
    await vi.advanceTimersByTimeAsync(9_900);
    expect(session.streams).toBe(1);
    await vi.advanceTimersByTimeAsync(200);
    await stream.closed;
    expect(session.isOpen).toBe(true);
    expect(arrivals.all).toEqual([]);
    conn.reset();
  });

  test('streams begin with the same whatever the split, and no garbage ends the others', async () => {
    const head = formatRelayResponse(0, [addr('192.0.2.7', 5000)]);
    const { peer, arrivals } = await granted(tcp('', 2222));
    let id = 3;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: head.length - 1 }), { maxLength: 5 }),
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        async (cuts, garbage) => {
          const before = arrivals.all.length;
          const [bad, good] = [id, id + 2];
          id += 4;
          // The first byte of a head is 1.
          const bytes = Buffer.from(garbage);
          bytes[0] = bytes[0] === 1 ? 2 : bytes[0]!;
          peer.say(frame('syn', bad) + frame('psh', bad, bytes.toString('latin1')) + frame('syn', good));
          const edges = [0, ...new Set([...cuts].sort((a, b) => a - b)), head.length];
          for (const [index, from] of edges.slice(0, -1).entries())
            peer.say(frame('psh', good, head.subarray(from, edges[index + 1]).toString('latin1')));
          const visitor = await arrivals.nextConn();
          expect(visitor.remote).toEqual({ host: '192.0.2.7', port: 5000 });
          expect(arrivals.all).toHaveLength(before + 1);
          visitor.reset();
        },
      ),
      { numRuns: 50 },
    );
  });

  test('is lost with the reason, and not when it is closed', async () => {
    const { peer, arrivals, listening } = await granted(tcp('', 2222));
    peer.say(frame('syn', 3) + frame('psh', 3, says(addr('192.0.2.7', 5000))));
    const visitor = await arrivals.nextConn();
    peer.socket.end();
    const lost = await listening.lost;
    expect(lost).toMatchObject({ code: 'upstreamClosed', at: 'upstream' });
    expect(lost.message).toContain('does not listen for us any more');
    await expect(visitor.read()).rejects.toMatchObject({ code: 'clientClosed', at: 'client' });
    const other = await granted(tcp('', 2222));
    other.peer.say('no frame of any mux');
    expect(await other.listening.lost).toMatchObject({ code: 'badUpstreamReply' });
    const closed = await granted(tcp('', 2222));
    const isLost = vi.fn();
    void closed.listening.lost.then(isLost);
    await closed.listening.close();
    await closed.peer.all();
    expect(isLost).not.toHaveBeenCalled();
  });
});

describe('BIND of datagrams at a node', () => {
  const udp = (port: number, peerTtlMs?: number): BindRequest => ({
    network: 'udp',
    address: { host: '', port },
    ...(peerTtlMs !== undefined && { peerTtlMs }),
  });
  const framed = (host: string, port: number, data: string) =>
    formatSocks5Frame({ address: { host, port }, data: Buffer.from(data) }).toString('latin1');

  test('each peer is one end', async () => {
    const { peer, bound, arrivals } = await playedNode(udp(5353));
    const asked = connectsUdp({ host: '0.0.0.0', port: 5353 }, 2);
    expect(await peer.take(asked)).toBe(asked);
    peer.say(
      says(addr('203.0.113.1', 5353)) + framed('192.0.2.7', 1, 'one') + framed('nobody.example', 2, 'x'),
    );
    const listening = await bound;
    const one = await arrivals.next();
    if (one.kind !== 'datagrams') throw new Error('no datagrams');
    expect([one.remote, one.local]).toEqual([{ host: '192.0.2.7', port: 1 }, listening.address]);
    const got: string[] = [];
    one.receive((data, from) => got.push(`${String(data)} ${from.host}`));
    peer.say(framed('::ffff:192.0.2.7', 1, 'again') + framed('192.0.2.8', 1, 'two'));
    const two = await arrivals.next();
    expect(two.remote.host).toBe('192.0.2.8');
    expect(got).toEqual(['one 192.0.2.7', 'again 192.0.2.7']);
    expect(one.send(Buffer.from('answer'))).toBe(true);
    await peer.take(framed('192.0.2.7', 1, 'answer'));
    expect(one.send(Buffer.from(''))).toBe(false);
    peer.socket.end();
    expect(await listening.lost).toMatchObject({ code: 'upstreamClosed' });
    await Promise.all([one.closed, two.closed]);
  });

  test('a peer ends in silence, a broken frame ends all, and closing too', async () => {
    const { peer, arrivals } = await granted(udp(5353, 40));
    peer.say(framed('192.0.2.7', 1, 'one'));
    await (
      await arrivals.next()
    ).closed;
    peer.say(framed('192.0.2.7', 1, 'again'));
    expect((await arrivals.next()).remote.port).toBe(1);
    const broken = await granted(udp(5353));
    broken.peer.say(framed('192.0.2.7', 1, 'one') + '\0\x01\x07');
    expect(await broken.listening.lost).toMatchObject({ code: 'badUpstreamReply' });
    await (
      await broken.arrivals.next()
    ).closed;
    const closed = await granted(udp(5353));
    closed.peer.say(framed('192.0.2.7', 1, 'one'));
    const one = await closed.arrivals.next();
    await closed.listening.close();
    await one.closed;
    await closed.peer.all();
  });

  test('needs a port', async () => {
    const { bound, conn } = await playedNode(udp(0));
    await expect(bound).rejects.toMatchObject({ code: 'unsupported', at: 'self' });
    await conn.closed;
  });
});

describe('both ends', () => {
  const start = (metadata: Record<string, unknown> = {}) =>
    startRelay(cleanup, { sockets, auth, metadata: { bind: true, ...metadata } });
  const options = { auth: { username: 'ada', password: 'ada' } };
  const close = (listening: RemoteListening) => cleanup.add(listening, (open) => open.close());

  test.each(muxKinds)(
    '%s: bytes are whole, and each direction ends by itself',
    async (_, settings: MuxSettings) => {
      const metadata = {
        muxType: settings.type,
        ...(settings.version !== undefined && { muxVersion: settings.version }),
      };
      const service = await start(metadata);
      const { arrivals, bound } = await bind(service.port, tcp('127.0.0.1', 0), { ...options, metadata });
      const { address } = close(await bound);
      const peer = await connectPeer(cleanup, address.port);
      const sent = randomBytes(2_000_000);
      peer.socket.end(sent);
      const visitor = await arrivals.nextConn();
      expect(visitor.remote).toEqual({ host: '127.0.0.1', port: peer.socket.localPort });
      const got = await readAll(visitor);
      expect(createHash('sha256').update(got).digest('hex')).toBe(
        createHash('sha256').update(sent).digest('hex'),
      );
      await visitor.write(Buffer.from('after the end'));
      await visitor.end();
      expect(await peer.all()).toBe('after the end');
    },
  );

  test('many visitors at once', async () => {
    const service = await start();
    const { arrivals, bound } = await bind(service.port, tcp('127.0.0.1', 0), options);
    const { address } = close(await bound);
    const peers = await Promise.all(Array.from({ length: 200 }, () => connectPeer(cleanup, address.port)));
    for (const peer of peers) peer.say(`from ${String(peer.socket.localPort)}.`);
    for (const _ of peers) {
      const visitor = await arrivals.nextConn();
      const said = String(await visitor.read());
      expect(said).toBe(`from ${String(visitor.remote.port)}.`);
      await visitor.write(Buffer.from(`to ${String(visitor.remote.port)}.`));
    }
    for (const peer of peers) await peer.take(`to ${String(peer.socket.localPort)}.`);
  });

  test('a listener that is closed frees its port at once, and who is there may finish', async () => {
    const service = await start();
    const first = await bind(service.port, tcp('127.0.0.1', 0), options);
    const listening = await first.bound;
    const peer = await connectPeer(cleanup, listening.address.port);
    const visitor = await first.arrivals.nextConn();
    await listening.close();
    // As a reload does it: the next one is asked for before the last visitor of this one has gone.
    const again = async (): Promise<RemoteListening> => {
      const next = await bind(service.port, tcp('127.0.0.1', listening.address.port), options);
      return next.bound.catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'dialFailed' });
        return again();
      });
    };
    close(await again());
    peer.say('still here').socket.end();
    expect(String(await readAll(visitor))).toBe('still here');
    await visitor.end();
    await peer.all();
    await first.conn.closed;
  });

  test('a wrong password, a port in use, and a name that is none', async () => {
    const service = await start();
    const stranger = await bind(service.port, tcp('', 0), { auth: { username: 'ada', password: 'eve' } });
    await expect(stranger.bound).rejects.toMatchObject({ code: 'upstreamRefused' });
    const taken = await bind(service.port, tcp('127.0.0.1', service.port), options);
    await expect(taken.bound).rejects.toThrow('could not listen for connections at 127.0.0.1');
    const nowhere = await bind(service.port, tcp('127.2', 1), options);
    await expect(nowhere.bound).rejects.toMatchObject({ code: 'upstreamRefused' });
  });

  test('datagrams', async () => {
    const service = await start();
    const port = await freePort('udp');
    const request: BindRequest = { network: 'udp', address: { host: '127.0.0.1', port } };
    const { arrivals, bound } = await bind(service.port, request, options);
    const listening = close(await bound);
    expect(listening.address).toEqual(request.address);
    const peers = [await openUdp(), await openUdp()].map((one) => cleanup.add(one, (open) => open.close()));
    for (const one of peers) {
      one.send('ping', port, '127.0.0.1');
      const end = await arrivals.next();
      if (end.kind !== 'datagrams') throw new Error('no datagrams');
      expect(end.remote.port).toBe(one.address().port);
      end.receive((data) => end.send(Buffer.from(`echo:${String(data)}`)));
    }
    for (const one of peers) {
      one.send('pong', port, '127.0.0.1');
      for (;;) {
        const [data] = (await once(one, 'message')) as [Buffer];
        if (String(data) === 'echo:pong') break;
      }
    }
    service.service.close().catch(() => undefined);
    expect(await listening.lost).toMatchObject({ code: 'upstreamClosed' });
  });
});
