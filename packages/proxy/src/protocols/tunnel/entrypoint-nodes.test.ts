import { afterEach, describe, expect, test } from 'vitest';
import { Cleanup, connectPeer } from '../../core/peer.fixture.ts';
import { tcp } from '../../transports/tcp/index.ts';
import { formatRelayRequest, formatRelayResponse } from '../../wire/relay.ts';
import { clientHello, elsewhere, get, here, ids, ok, startEntrypoint } from './entrypoint.fixture.ts';
import type { EntrypointScene } from './entrypoint.fixture.ts';
import type { Tunnels } from './tunnels.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const way = tcp.wrap(undefined, { metadata: {} });

/** Two nodes of which the first has no connector of {@link ids.far} and takes the other for the one that has. */
async function twoNodes(does: 'serves' | 'passesOn'): Promise<{ a: EntrypointScene; b: EntrypointScene }> {
  const ports = { a: 0, b: 0 };
  const to =
    (node: keyof typeof ports, name: string): Tunnels['visit'] =>
    async (_id, { request }, context) => {
      const port = ports[node];
      const end = await way.dial({ host: '127.0.0.1', port }, context);
      if (request !== undefined) await end.write(request);
      return { end, where: 'elsewhere', path: [`${name}@127.0.0.1:${String(port)}`] };
    };
  const a = await startEntrypoint(cleanup, { tunnels: { node: here, visit: to('b', elsewhere) } });
  const b = await startEntrypoint(cleanup, {
    tunnels: {
      node: elsewhere,
      visit:
        does === 'passesOn'
          ? to('a', here)
          : async (id, visit, context) => {
              const end = await way.dial({ host: '127.0.0.1', port: b.far.port }, context);
              b.visits.push({ id, visit });
              return { end, where: 'here', path: ['connector@c'] };
            },
    },
  });
  ports.a = a.proxy.port;
  ports.b = b.proxy.port;
  return { a, b };
}

const source = { host: '192.0.2.9', port: 4711 };
const relay = formatRelayRequest({
  command: 1,
  flags: 0,
  features: [
    { type: 'addr', address: source },
    { type: 'addr', address: { host: 'far.test', port: 80 } },
    { type: 'tunnel', id: ids.far, flags: 0, weight: 0 },
  ],
}).toString('latin1');
const hello = clientHello('far.test').toString('latin1');

describe('a tunnel of another node', () => {
  test('serves requests, each with both nodes on its way', async () => {
    const { a, b } = await twoNodes('serves');
    const client = await connectPeer(cleanup, a.proxy.port);
    for (const path of ['/1', '/2']) {
      client.say(get('far.test', path));
      const stream = b.far.peers[0] ?? (await b.far.next());
      expect(await stream.head()).toContain(`Gost-Forwarded-Node: ${here}, ${elsewhere}\r\n`);
      stream.say(ok(`answer to ${path}`));
      await client.take(`answer to ${path}`);
    }
    expect(b.far.peers).toHaveLength(1);
    const sid = (scene: EntrypointScene) => scene.proxy.event('served');
    expect((await sid(a)).details).toMatchObject({ node: here, redirect: elsewhere });
    expect((await sid(b)).details).toMatchObject({ node: elsewhere });
  });

  test('serves TLS and relay visitors', async () => {
    const { a, b } = await twoNodes('serves');
    const secret = await connectPeer(cleanup, a.proxy.port);
    secret.say(hello);
    const first = await b.far.next();
    await first.take(hello);
    first.say('hello back');
    await secret.take('hello back');
    const visitor = await connectPeer(cleanup, a.proxy.port);
    visitor.say(`${relay}ping`);
    const second = await b.far.next();
    await second.take('ping');
    second.say('pong');
    expect(await visitor.take('pong')).toBe(`${formatRelayResponse(0).toString('latin1')}pong`);
    // The source is the visitor's own, however many nodes there are.
    expect(b.visits.at(-1)!.visit.source).toEqual(source);
  });
});

describe('nodes that take each other for the one that has it', () => {
  test.each([
    ['HTTP', get('far.test', '/', 'Connection: close'), 'HTTP/1.1 503 ', 2],
    ['TLS', hello, '', 6],
    ['relay', relay, formatRelayResponse(8).toString('latin1'), 70],
  ])('%s goes round a few times at most', async (_, says, end, most) => {
    const { a, b } = await twoNodes('passesOn');
    const client = await connectPeer(cleanup, a.proxy.port);
    client.say(says);
    expect((await client.all()).slice(0, 13)).toBe(end);
    const connections = [a, b].flatMap(({ proxy }) => proxy.events.filter(({ kind }) => kind === 'opened'));
    expect(connections.length).toBeGreaterThan(1);
    expect(connections.length).toBeLessThanOrEqual(most + 1);
  });
});
