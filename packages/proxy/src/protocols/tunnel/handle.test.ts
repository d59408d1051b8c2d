import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { Cleanup } from '../../core/peer.fixture.ts';
import { formatRelayRequest, maxRelayMessageBytes, relayUdpFlag } from '../../wire/relay.ts';
import { relayNetworks } from '../../wire/relay-features.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import { ask, dial, ids, refused, register, requestOf, startNode, visits } from './node.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const direct = { metadata: { tunnelDirect: true } };
const target: RelayFeature = { type: 'addr', address: { host: 'web.test', port: 80 } };
const tunnel: RelayFeature = { type: 'tunnel', id: ids.one, flags: 0, weight: 0 };
const network = (which: keyof typeof relayNetworks): RelayFeature => ({
  type: 'network',
  network: relayNetworks[which],
});
const asks = (command: number, features: readonly RelayFeature[], flags = 0) =>
  formatRelayRequest({ command, flags, features });

describe('what cannot be meant is refused', () => {
  const user: RelayFeature = { type: 'userAuth', username: 'a', password: 'b' };
  const both = [target, target];
  const cases: readonly [name: string, request: Buffer, status: number][] = [
    ['no tunnel', asks(1, both), 1],
    ['the tunnel of zeros', asks(2, [...both, { ...tunnel, id: '00000000-0000-0000-0000-000000000000' }]), 1],
    ['two tunnels', asks(2, [...both, tunnel, tunnel]), 1],
    ['three addresses', asks(1, [...both, target, tunnel]), 1],
    ['a visit of nothing', asks(1, [target, tunnel]), 1],
    ['a visit of no port', asks(1, [target, { type: 'addr', address: { host: 'a', port: 0 } }, tunnel]), 1],
    [
      'a visit of no host',
      asks(1, [target, { type: 'addr', address: { host: '127.2', port: 1 } }, tunnel]),
      1,
    ],
    [
      'a name that is none',
      asks(2, [target, { type: 'addr', address: { host: '0x7f000001', port: 1 } }, tunnel]),
      1,
    ],
    ['two users', asks(2, [user, user, tunnel]), 1],
    ['two networks', asks(2, [network('udp'), network('tcp'), tunnel]), 1],
    ['datagrams in connections', asks(2, [network('tcp'), tunnel], relayUdpFlag), 1],
    ['no command', asks(0, [...both, tunnel]), 1],
    ['another command', asks(3, [...both, tunnel]), 1],
    ['a command that nobody has', asks(15, [...both, tunnel]), 1],
    ['serial lines', asks(2, [network('serial'), tunnel]), 5],
    ['a feature that is cut off', Buffer.from('\x01\x02\0\x02\x03\0', 'latin1'), 1],
    ['a tunnel of the wrong length', Buffer.from('\x01\x02\0\x04\x03\0\x01\x01', 'latin1'), 1],
  ];
  test.each(cases)('%s', async (_, request, status) => {
    const { port, proxy } = await startNode(cleanup, direct);
    expect(await refused(cleanup, port, request)).toBe(status);
    const { error } = await proxy.event('served');
    expect(['malformedRequest', 'unsupported']).toContain(error?.code);
    // Others are none the wiser.
    await register(cleanup, port);
  });

  test('what GOST says beside that, and what nobody knows, says nothing', async () => {
    const { port } = await startNode(cleanup, direct);
    const more: RelayFeature[] = [
      { type: 'metadata', pairs: [['record.mode', 'off']] },
      { type: 'unknown', code: 200, data: Buffer.from('later') },
    ];
    await register(cleanup, port, { more });
    await visits(cleanup, port, { more });
    // A client that wants to be known by nothing need not say so.
    expect((await ask(cleanup, port, asks(2, [tunnel]))).status).toBe(0);
  });

  test('another protocol is told nothing', async () => {
    const { port } = await startNode(cleanup, direct);
    const conn = await dial(cleanup, port);
    await conn.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await expect(conn.read()).rejects.toMatchObject({ code: 'upstreamClosed' });
  });

  test('who says nothing is not waited for', async () => {
    const { port, proxy } = await startNode(cleanup, { metadata: { readTimeoutMs: 30 } });
    const conn = await dial(cleanup, port);
    await conn.write(requestOf('bind').subarray(0, 20));
    await expect(conn.read()).rejects.toMatchObject({ code: 'upstreamClosed' });
    expect(await proxy.event('closed')).toMatchObject({ error: { code: 'handshakeTimeout' } });
  });
});

describe('a client that has registered', () => {
  test('and opens streams itself is refused them, and cut off in the end', async () => {
    const { port, proxy } = await startNode(cleanup, direct);
    const { conn } = await ask(cleanup, port, requestOf('bind'));
    const frame = (command: number, id: number) => {
      const bytes = Buffer.alloc(8);
      bytes.set([2, command]);
      bytes.writeUInt32LE(id, 4);
      return bytes;
    };
    const flood = (async () => {
      for (let id = 2; id < 40_000_000; id += 2000) {
        const frames = Array.from({ length: 1000 }, (_, n) => frame(0, id + 2 * n));
        await conn.write(Buffer.concat(frames));
      }
    })();
    await expect(flood).rejects.toMatchObject({ code: 'upstreamClosed' });
    expect((await proxy.event('closed')).error?.message).toMatch(/opens and ends streams/);
  });

  test('and does not read holds up its own visitors alone', async () => {
    const { port } = await startNode(cleanup, direct);
    const deaf = await ask(cleanup, port, requestOf('bind'));
    const visitor = await visits(cleanup, port);
    // It is let go when it has not read for so long that the visitor's bytes fill everything on the way.
    const full = (async () => {
      const chunk = Buffer.alloc(65_536);
      for (let sent = 0; sent < 64 * 1024 * 1024; sent += chunk.length) await visitor.write(chunk);
      return 'all was taken';
    })().catch(() => 'ended');
    const other = await register(cleanup, port, { tunnel: ids.two });
    for (let n = 0; n < 20; n++) {
      await visits(cleanup, port, { tunnel: ids.two });
      await other.visitor();
    }
    deaf.conn.reset();
    expect(await full).toBe('ended');
  });

  test('and breaks the mux loses its visitors, and nobody else', async () => {
    const { port, proxy } = await startNode(cleanup, direct);
    const { conn } = await ask(cleanup, port, requestOf('bind'));
    const other = await register(cleanup, port, { tunnel: ids.two });
    const visitor = await visits(cleanup, port);
    const kept = await visits(cleanup, port, { tunnel: ids.two });
    await conn.write(Buffer.from([9, 9, 9, 9, 9, 9, 9, 9]));
    await expect(visitor.read()).rejects.toMatchObject({ code: 'upstreamClosed' });
    expect(await proxy.event('closed', ({ error }) => error !== undefined)).toBeDefined();
    const { stream } = await other.visitor();
    await stream.write(Buffer.from('here'));
    expect((await kept.read())?.toString()).toBe('here');
  });
});

test('whatever comes is answered or ends, and leaves nothing', async () => {
  const node = await startNode(cleanup, { metadata: { tunnelDirect: true, readTimeoutMs: 2000 } });
  const feature = fc.oneof(
    fc.constantFrom(target, tunnel, network('udp'), network('tcp'), { ...tunnel, id: ids.two }),
    fc.record({
      type: fc.constant('addr' as const),
      address: fc.constantFrom({ host: '::', port: 1 }, { host: 'x', port: 0 }),
    }),
    fc.record({
      type: fc.constant('unknown' as const),
      code: fc.integer({ min: 100, max: 255 }),
      data: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    }),
  );
  const request = fc
    .record({
      command: fc.nat(15),
      flags: fc.constantFrom(0, 0x80, 0x70),
      features: fc.array(feature, { maxLength: 6 }),
    })
    .map((one) => formatRelayRequest(one));
  const garbage = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from([1, ...bytes]));
  const mutated = fc.tuple(request, fc.nat(400), fc.nat(255)).map(([bytes, at, value]) => {
    const copy = Buffer.from(bytes);
    copy[at % copy.length] = value;
    return copy;
  });
  await fc.assert(
    fc.asyncProperty(fc.oneof(request, garbage, mutated), fc.nat(300), async (bytes, split) => {
      const conn = await dial(cleanup, node.port);
      // A peer that is cut off while it speaks has been answered.
      await conn.write(bytes.subarray(0, split)).catch(() => undefined);
      await conn.write(bytes.subarray(split)).catch(() => undefined);
      void conn.end();
      try {
        let read = 0;
        for (let got = await conn.read(); got !== null; got = await conn.read()) read += got.length;
        expect(read).toBeLessThan(maxRelayMessageBytes);
      } catch {
        // It was ended without a word.
      }
      conn.reset();
      await conn.closed;
    }),
    { numRuns: 300 },
  );
  await node.proxy.event('closed', () => node.proxy.service.open === 0);
  expect(await refused(cleanup, node.port, requestOf('connect', { host: 'web.test', port: 80 }))).toBe(5);
}, 60_000);
