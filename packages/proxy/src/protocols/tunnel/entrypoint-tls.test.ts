import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { Cleanup, connectPeer } from '../../core/peer.fixture.ts';
import type { EntrypointScene, SceneParts } from './entrypoint.fixture.ts';
import { clientHello, elsewhere, here, ids, startEntrypoint, visited } from './entrypoint.fixture.ts';
import { cut } from '../../wire/splits.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** A visitor that has said this. */
async function visitorOf(scene: EntrypointScene, hello: Buffer) {
  const client = await connectPeer(cleanup, scene.proxy.port);
  return client.say(hello.toString('latin1'));
}

describe('TLS passes unread', () => {
  test('to the tunnel that its SNI leads to, and back, each half by itself', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await visitorOf(scene, clientHello('Www.Two.test'));
    client.say('more');
    const stream = await scene.two.next();
    expect(await stream.take('more')).toBe(`${clientHello('Www.Two.test').toString('latin1')}more`);
    client.socket.end();
    expect(await stream.all()).toBe('');
    stream.say('an answer after the end').socket.end();
    expect(await client.all()).toBe('an answer after the end');
    expect(visited(scene)).toEqual(['two tcp www.two.test:443']);
    expect(scene.asked).toEqual(['www.two.test:443']);
    expect(await scene.proxy.event('served')).toMatchObject({
      what: 'TLS Www.Two.test:443',
      user: ids.two,
      error: undefined,
      details: { node: here, tls: { serverName: 'Www.Two.test', version: 'tls1.2' } },
    });
  });

  test('however the ClientHello is cut', async () => {
    const scene = await startEntrypoint(cleanup);
    const hello = clientHello('one.test');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(hello.length), { maxLength: 6 }), async (places) => {
        const client = await connectPeer(cleanup, scene.proxy.port);
        for (const piece of cut(hello, places)) {
          client.say(piece.toString('latin1'));
          await new Promise(setImmediate);
        }
        const stream = await scene.one.next();
        await stream.take(hello.toString('latin1'));
        stream.say('answer');
        await client.take('answer');
        client.socket.destroy();
      }),
      { numRuns: 40 },
    );
  });

  test('to another node, which gets the same bytes', async () => {
    const scene = await startEntrypoint(cleanup);
    const client = await visitorOf(scene, clientHello('far.test'));
    const stream = await scene.far.next();
    await stream.take(clientHello('far.test').toString('latin1'));
    client.socket.resetAndDestroy();
    await stream.all();
    const { details } = await scene.proxy.event('served');
    expect(details).toMatchObject({ node: here, redirect: elsewhere });
  });

  test('that comes back from another node time and again is ended', async () => {
    const scene = await startEntrypoint(cleanup);
    for (let lap = 0; lap < 2; lap++) {
      await visitorOf(scene, clientHello('far.test', 9));
      await (await scene.far.next()).take('far.test');
    }
    const third = await visitorOf(scene, clientHello('far.test', 9));
    expect(await third.all()).toBe('');
    expect((await scene.proxy.event('served')).error?.code).toBe('loop');
    await visitorOf(scene, clientHello('far.test', 10));
    await (await scene.far.next()).take('far.test');
  });
});

const cases: readonly [name: string, hello: Buffer, code: string, parts?: SceneParts][] = [
  ['no SNI', clientHello(), 'malformedRequest'],
  ['a host that nobody serves', clientHello('nobody.test'), 'noRoute'],
  ['a host of a private tunnel', clientHello('hidden.test'), 'noRoute'],
  ['an address that is spelled oddly', clientHello('127.2'), 'malformedRequest'],
  ['a tunnel without a connector', clientHello('gone.test'), 'noRoute'],
  ['a host that a rule says no to', clientHello('one.test'), 'forbidden', { bypass: { bypass: () => true } }],
  ['a broken ClientHello', Buffer.from([22, 3, 1, 0, 5, 1, 0, 0, 1, 0]), 'malformedRequest'],
  ['no ClientHello', Buffer.from([22, 3, 1, 0, 1, 2]), 'malformedRequest'],
  [
    'half of one',
    clientHello('one.test').subarray(0, 30),
    'handshakeTimeout',
    { entrypoint: { readTimeoutMs: 40 } },
  ],
];

test.each(cases)('%s ends the connection, and a record says why', async (_, hello, code, parts = {}) => {
  const scene = await startEntrypoint(cleanup, parts);
  const client = await visitorOf(scene, hello);
  expect(await client.all()).toBe('');
  const { error, details } = await scene.proxy.event('served');
  expect(error?.code).toBe(code);
  if (details !== undefined) expect(details).toMatchObject({ node: here });
  await scene.proxy.event('closed', (event) => event.error?.code === code);
  for (const { peers } of [scene.one, scene.hidden]) expect(peers).toEqual([]);
});

test('a private tunnel and none are told apart by nobody outside', async () => {
  const scene = await startEntrypoint(cleanup);
  for (const host of ['hidden.test', 'nobody.test']) await (await visitorOf(scene, clientHello(host))).all();
  await scene.proxy.event(
    'closed',
    () => scene.proxy.events.filter(({ kind }) => kind === 'closed').length === 2,
  );
  const told = scene.proxy.events.flatMap((event) => (event.kind === 'closed' ? [event.error?.message] : []));
  expect(told).toEqual(['no tunnel serves hidden.test:443', 'no tunnel serves nobody.test:443']);
});
