// relay as files have it: both ends of it, in chains of several nodes, beside other protocols.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { Cleanup, connectPeer, startOrigin } from '../../core/peer.fixture.ts';
import type { Peer } from '../../core/peer.fixture.ts';
import { createLog } from '../../log/log.ts';
import { startUdpEcho } from '../../protocols/socks5/scene.fixture.ts';
import { formatFindings } from '../../schema/report.ts';
import { formatSocks5Frame } from '../../wire/socks5-udp.ts';
import { loadText } from '../load.ts';
import { readTlsFiles } from '../tls-files.ts';
import { buildGraph } from './graph.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** Runs these services with these chains, and answers the ports of the services. */
async function run(config: object): Promise<number[]> {
  const { config: read, report } = loadText('file', JSON.stringify(config));
  expect(formatFindings(report.errors)).toEqual([]);
  const log = createLog('fatal', true, { write: () => undefined });
  const graph = await buildGraph(read!, readTlsFiles(read!, report), log);
  cleanup.add(graph, () => graph.close());
  return graph.listening.map(({ address }) => address.port);
}

const auth = { username: 'ada', password: 'lovelace' };
const service = (handler: object, more: object = {}) => ({ addr: '127.0.0.1:0', handler, ...more });
const node = (port: number, connector: object = {}, dialer = 'tcp') => ({
  addr: `127.0.0.1:${String(port)}`,
  connector: { type: 'relay', ...connector },
  dialer: { type: dialer },
});
/** One chain of these nodes, one hop each. */
const chainOf = (...nodes: object[]) => ({
  chains: [
    { name: 'out', hops: nodes.map((one, index) => ({ name: `hop-${String(index)}`, nodes: [one] })) },
  ],
});
const through = { chain: 'out' };

/** Two services of relay, of which the first wants a user and is spoken to in WebSockets. */
async function twoNodes(metadata: object, connector: object): Promise<object[]> {
  const [first, second] = await run({
    services: [
      service({ type: 'relay', auth, metadata }, { listener: { type: 'ws' } }),
      service({ type: 'relay', metadata }),
    ],
  });
  return [node(first!, { auth, ...connector }, 'ws'), node(second!, connector)];
}

/** A tunnel through an HTTP proxy. */
async function tunnel(proxy: number, port: number): Promise<{ client: Peer; status: string }> {
  const client = await connectPeer(cleanup, proxy);
  client.say(`CONNECT 127.0.0.1:${String(port)} HTTP/1.1\r\n\r\n`);
  const head = await client.take('\r\n\r\n');
  return { client, status: head.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length) };
}

describe.each([{}, { nodelay: true }])('a chain of two nodes (%j)', (nodelay) => {
  test('carries connections, whoever speaks first', async () => {
    const nodes = await twoNodes(nodelay, { metadata: nodelay });
    const [front] = await run({ services: [service({ type: 'http', ...through })], ...chainOf(...nodes) });
    const origin = await startOrigin(cleanup);
    for (const isClientFirst of [true, false]) {
      const { client, status } = await tunnel(front!, origin.port);
      expect(status).toBe('200');
      const peer = await origin.next();
      const [speaker, listener] = isClientFirst ? [client, peer] : [peer, client];
      speaker.say('hello');
      await listener.take('hello');
      listener.say('hello yourself').socket.end();
      await speaker.take('hello yourself');
      speaker.say('bye').socket.end();
      await listener.take('bye');
      expect(await listener.all()).toBe('');
    }
  });

  test('carries the datagrams of a forwarder, and those of SOCKS5 to any peer', async () => {
    const nodes = await twoNodes({ bind: true, ...nodelay }, { metadata: nodelay });
    const echo = await startUdpEcho(cleanup);
    const to = { host: '127.0.0.1', port: echo.port };
    const addr = `${to.host}:${String(to.port)}`;
    const [forwarding, socks] = await run({
      services: [
        service(
          { type: 'udp', ...through },
          { listener: { type: 'udp' }, forwarder: { nodes: [{ name: 'echo', addr }] } },
        ),
        service({ type: 'socks5', ...through, metadata: { udp: true, notls: true } }),
      ],
      ...chainOf(...nodes),
    });
    const user = cleanup.add(createSocket('udp4'), (open) => open.close());
    for (const word of ['one', 'two']) {
      const answered = once(user, 'message') as Promise<[Buffer]>;
      user.send(word, forwarding!, '127.0.0.1');
      expect((await answered)[0].toString()).toBe(`echo:${word}`);
    }
    const client = await connectPeer(cleanup, socks!);
    const frame = (data: string) =>
      formatSocks5Frame({ address: to, data: Buffer.from(data) }).toString('latin1');
    client.say(`\x05\x01\0\x05\xf3\0\x01\0\0\0\0\0\0${frame('three')}`);
    await client.take(frame('echo:three'));
    expect(echo.got).toEqual(['one', 'two', 'three']);
  });
});

test('a no of a node is an answer with `nodelay`, and a reset without', async () => {
  const [port] = await run({ services: [service({ type: 'relay', auth })] });
  const wrong = { auth: { ...auth, password: 'x' } };
  const [late, early] = await Promise.all(
    [false, true].map(async (nodelay) => {
      const [front] = await run({
        services: [service({ type: 'http', ...through })],
        ...chainOf(node(port!, { ...wrong, metadata: { nodelay } })),
      });
      return tunnel(front!, 1);
    }),
  );
  expect(early!.status).toBe('502');
  expect(late!.status).toBe('200');
  expect(await late!.client.all()).toBe('');
  expect(late!.client.error).toBe('ECONNRESET');
});

test('with a forwarder, it goes there whatever it is asked for', async () => {
  const origin = await startOrigin(cleanup);
  const nodes = [{ name: 'origin', addr: `127.0.0.1:${String(origin.port)}` }];
  const [port] = await run({ services: [service({ type: 'relay' }, { forwarder: { nodes } })] });
  const [front] = await run({
    services: [service({ type: 'http', ...through })],
    ...chainOf(node(port!)),
  });
  const { client } = await tunnel(front!, 1);
  client.say('hello');
  await (await origin.next()).take('hello');
});

test('a service that forwards to itself is found', () => {
  const forwarder = { nodes: [{ name: 'self', addr: '127.0.0.1:8421' }] };
  const { report } = loadText(
    'file',
    JSON.stringify({ services: [{ addr: ':8421', handler: { type: 'relay' }, forwarder }] }),
  );
  expect(formatFindings(report.errors)).toEqual([expect.stringContaining('forwards to itself')]);
});
