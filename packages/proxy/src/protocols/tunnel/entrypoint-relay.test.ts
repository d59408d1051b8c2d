import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { Cleanup, connectPeer } from '../../core/peer.fixture.ts';
import type { TrafficLimits } from '../../core/traffic-limits.ts';
import { formatRelayRequest, formatRelayResponse, relayUdpFlag } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import { cut } from '../../wire/splits.fixture.ts';
import { auth } from '../relay/scene.fixture.ts';
import type { EntrypointScene, SceneParts } from './entrypoint.fixture.ts';
import { elsewhere, here, ids, startEntrypoint, visited } from './entrypoint.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const text = (bytes: Buffer) => bytes.toString('latin1');
const answer = (status: number) => text(formatRelayResponse(status));
const source = { host: '192.0.2.9', port: 4711 };

/** A visitor's request, with its features in GOST's order. */
function visit(
  id: string,
  host: string,
  { port = 80, more = [], ...request }: Partial<RelayRequest> & { port?: number; more?: RelayFeature[] } = {},
): string {
  const features: RelayFeature[] = [
    ...more,
    { type: 'addr', address: source },
    { type: 'addr', address: { host, port } },
    { type: 'tunnel', id, flags: 0, weight: 0 },
  ];
  return text(formatRelayRequest({ command: 1, flags: 0, features, ...request }));
}

const as = (username: string, password = username): RelayFeature => ({
  type: 'userAuth',
  username,
  password,
});

async function visitorOf(scene: EntrypointScene, says: string) {
  return (await connectPeer(cleanup, scene.proxy.port)).say(says);
}

describe('a visitor', () => {
  test.each([
    ['of the public id goes where the ingress says', ids.public],
    ['of the tunnel of the host', ids.one],
  ])('%s', async (_, id) => {
    const scene = await startEntrypoint(cleanup, { auth });
    const client = await visitorOf(scene, visit(id, 'One.test', { port: 8080, more: [as('ann')] }));
    expect(await client.take(answer(0))).toBe(answer(0));
    const stream = await scene.one.next();
    client.say('ping');
    await stream.take('ping');
    stream.say('pong').socket.end();
    client.socket.end();
    expect(await client.all()).toBe('pong');
    expect(visited(scene)).toEqual(['one tcp one.test:8080']);
    expect(scene.visits[0]!.visit.source).toEqual(source);
    // As the handler asks: without a port.
    expect(scene.asked).toEqual(['one.test']);
    expect(await scene.proxy.event('served')).toMatchObject({
      what: 'visit one.test:8080',
      user: ids.one,
      status: 0,
      error: undefined,
      details: { node: here },
    });
    expect(scene.proxy.events).toContainEqual(
      expect.objectContaining({ kind: 'decided', module: 'auth', outcome: 'yes', about: 'ann' }),
    );
  });

  test('is asked about as who it is, and counted as the tunnel', async () => {
    const asked: string[] = [];
    const bypass = { bypass: ({ user: who }: { user: string }) => asked.push(who) === 0 };
    const limits = {
      attach: ({ user: who }: { user: string }) =>
        Promise.resolve({ detach: () => void asked.push(`not ${who}`) }),
    } as unknown as TrafficLimits;
    const scene = await startEntrypoint(cleanup, { auth, bypass, limits });
    const client = await visitorOf(scene, visit(ids.public, 'one.test', { more: [as('ann')] }));
    await client.take(answer(0));
    client.socket.destroy();
    (await scene.one.next()).socket.destroy();
    await scene.proxy.event('closed');
    expect(asked).toEqual(['id-ann', `not ${ids.one}`]);
  });

  test('of a private tunnel has to know it, and to prove who it is', async () => {
    const scene = await startEntrypoint(cleanup, { auth });
    const client = await visitorOf(scene, visit(ids.hidden, 'hidden.test', { more: [as('ann')] }));
    await client.take(answer(0));
    expect(visited(scene)).toEqual(['hidden tcp hidden.test:80']);
  });

  test('of any tunnel that it knows, where `tunnel.direct` is on', async () => {
    const scene = await startEntrypoint(cleanup, { entrypoint: { direct: true } });
    const client = await visitorOf(scene, visit(ids.one, 'db.internal', { port: 5432 }));
    await client.take(answer(0));
    expect(visited(scene)).toEqual(['one tcp db.internal:5432']);
  });

  test('sends datagrams, which its connector gets one by one', async () => {
    const scene = await startEntrypoint(cleanup);
    const network: RelayFeature = { type: 'network', network: 1 };
    const client = await visitorOf(
      scene,
      visit(ids.one, 'one.test', { flags: relayUdpFlag, more: [network] }),
    );
    await client.take(answer(0));
    client.say('\0\x03abc\0\x02de');
    const stream = await scene.one.next();
    await stream.take('\0\x03abc\0\x02de');
    stream.say('\0\x01z');
    await client.take('\0\x01z');
    expect(visited(scene)).toEqual(['one udp one.test:80']);
    client.socket.destroy();
    expect(await scene.proxy.event('served')).toMatchObject({ what: 'visit udp one.test:80', user: ids.one });
  });

  test('whose tunnel is at another node is sent there with its request, and hears its answer', async () => {
    const scene = await startEntrypoint(cleanup, { auth });
    const request = visit(ids.far, 'far.test', {
      more: [
        as('ann'),
        { type: 'metadata', pairs: [['a', 'b']] },
        { type: 'unknown', code: 99, data: Buffer.from('?') },
      ],
    });
    const client = await visitorOf(scene, `${request}early`);
    const stream = await scene.far.next();
    expect(await stream.take('early')).toBe(`${request}early`);
    stream.say(`${answer(0)}hello`);
    expect(await client.take('hello')).toBe(`${answer(0)}hello`);
    client.socket.end();
    stream.socket.end();
    await client.all();
    expect(await scene.proxy.event('served')).toMatchObject({
      user: ids.far,
      status: undefined,
      details: { node: here, redirect: elsewhere },
    });
  });

  test('from outside is sent on as a visitor of the tunnel; who is nobody is who connected', async () => {
    const scene = await startEntrypoint(cleanup);
    const rest: RelayFeature[] = [
      { type: 'addr', address: { host: '0.0.0.0', port: 0 } },
      { type: 'addr', address: { host: 'far.test', port: 80 } },
    ];
    const said = (id: string) =>
      text(
        formatRelayRequest({
          command: 1,
          flags: 0,
          features: [...rest, { type: 'tunnel', id, flags: 0, weight: 0 }],
        }),
      );
    const client = await visitorOf(scene, said(ids.public));
    await (await scene.far.next()).take(said(ids.far));
    const { source: visitor } = scene.visits[0]!.visit;
    expect(visitor).toEqual({ host: '127.0.0.1', port: client.socket.localPort });
  });

  test('that comes back from other nodes without an end is ended', async () => {
    const scene = await startEntrypoint(cleanup);
    const request = visit(ids.far, 'far.test');
    for (let lap = 0; lap < 32; lap++) {
      await visitorOf(scene, request);
      await (await scene.far.next()).take(request);
    }
    const last = await visitorOf(scene, request);
    expect(await last.all()).toBe(answer(8));
    expect((await scene.proxy.event('served')).error?.code).toBe('loop');
  });

  test('says it in any pieces', async () => {
    const scene = await startEntrypoint(cleanup);
    const request = Buffer.from(`${visit(ids.one, 'one.test')}tail`, 'latin1');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(request.length), { maxLength: 5 }), async (places) => {
        const client = await connectPeer(cleanup, scene.proxy.port);
        for (const piece of cut(request, places)) {
          client.say(text(piece));
          await new Promise(setImmediate);
        }
        const stream = await scene.one.next();
        expect(await stream.take('tail')).toBe('tail');
        client.socket.destroy();
      }),
      { numRuns: 30 },
    );
  });
});

const user = [as('ann')];
const refusals: readonly [name: string, says: string, status: number, parts?: SceneParts][] = [
  ['no credentials', visit(ids.one, 'one.test'), 2, { auth }],
  ['wrong credentials', visit(ids.one, 'one.test', { more: [as('ann', 'x')] }), 2, { auth }],
  ['no credentials for a private tunnel', visit(ids.hidden, 'hidden.test'), 2, { auth }],
  ['a public visitor of a private tunnel', visit(ids.public, 'hidden.test', { more: user }), 6, { auth }],
  ['a private tunnel where nobody proves anything', visit(ids.hidden, 'hidden.test'), 6],
  ['nor directly', visit(ids.hidden, 'hidden.test'), 6, { entrypoint: { direct: true } }],
  ['a public visitor of no tunnel', visit(ids.public, 'nobody.test'), 7],
  ['a tunnel that does not serve the host', visit(ids.two, 'one.test'), 6],
  ['a private tunnel behind another host', visit(ids.hidden, 'one.test'), 6],
  ['a tunnel without a connector', visit(ids.gone, 'gone.test'), 5],
  ['a host that a rule says no to', visit(ids.one, 'one.test'), 3, { bypass: { bypass: () => true } }],
  ['the same for a host without a tunnel', visit(ids.one, 'no.test'), 3, { bypass: { bypass: () => true } }],
  ['to register', visit(ids.one, 'one.test', { command: 2 }), 1],
  ['to associate', visit(ids.one, 'one.test', { command: 3 }), 1],
  ['no tunnel', text(formatRelayRequest({ command: 1, flags: 0, features: [] })), 1],
  ['the tunnel of zeros', visit('00000000-0000-0000-0000-000000000000', 'one.test'), 1],
  [
    'no target',
    text(
      formatRelayRequest({
        command: 1,
        flags: 0,
        features: [{ type: 'tunnel', id: ids.one, flags: 0, weight: 0 }],
      }),
    ),
    1,
  ],
  [
    'two tunnels',
    visit(ids.one, 'one.test', { more: [{ type: 'tunnel', id: ids.two, flags: 0, weight: 0 }] }),
    1,
  ],
  ['an odd target', visit(ids.one, '0x7f.1'), 1],
];

test.each(refusals)('%s is refused', async (_, says, status, parts = {}) => {
  const scene = await startEntrypoint(cleanup, parts);
  const client = await visitorOf(scene, says);
  client.socket.end();
  expect(await client.all()).toBe(answer(status));
  const served = await scene.proxy.event('served');
  expect(served.status).toBe(status);
  expect(served.error).toBeDefined();
  for (const { peers } of [scene.one, scene.two, scene.hidden]) expect(peers).toEqual([]);
});

test('an ingress that cannot be asked leads nowhere', async () => {
  const ingress = { getRule: () => Promise.reject(new Error('down')), setRule: () => false };
  const scene = await startEntrypoint(cleanup, { entrypoint: { ingress } });
  const [a, b] = [
    await visitorOf(scene, visit(ids.one, 'one.test')),
    await visitorOf(scene, visit(ids.public, 'one.test')),
  ];
  expect([await a.take(/^.{4}/s), await b.take(/^.{4}/s)]).toEqual([answer(6), answer(7)]);
  const web = await visitorOf(scene, 'GET / HTTP/1.1\r\nHost: one.test\r\n\r\n');
  expect(await web.head()).toMatch(/^HTTP\/1\.1 502 /);
});

test('an auther that cannot be asked lets nobody in', async () => {
  const scene = await startEntrypoint(cleanup, {
    auth: { authenticate: () => Promise.reject(new Error('down')) },
  });
  const client = await visitorOf(scene, visit(ids.one, 'one.test', { more: user }));
  expect(await client.take(/^.{4}/s)).toBe(answer(2));
  expect(scene.asked).toEqual([]);
});

test('what is not whole in time, or breaks off, ends', async () => {
  const scene = await startEntrypoint(cleanup, { entrypoint: { readTimeoutMs: 40 } });
  const half = visit(ids.one, 'one.test').slice(0, 20);
  expect(await (await visitorOf(scene, half)).all()).toBe('');
  await scene.proxy.event('closed', ({ error }) => error?.code === 'handshakeTimeout');
  const leaver = await visitorOf(scene, half);
  leaver.socket.end();
  expect(await leaver.all()).toBe('');
});
