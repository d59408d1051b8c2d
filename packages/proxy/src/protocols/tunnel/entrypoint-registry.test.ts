import net from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { Cleanup, connectPeer } from '../../core/peer.fixture.ts';
import { listIngress } from '../../policies/ingress/list.ts';
import { clientHello, get, ok } from './entrypoint.fixture.ts';
import { heard, ids, register, startNode } from './node.fixture.ts';
import type { NodeParts, TestConnector } from './node.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const anywhere = { host: '127.0.0.1', port: 0, written: '127.0.0.1:0' };

const rules = [
  { hostname: 'one.test', endpoint: ids.one },
  { hostname: '.two.test', endpoint: ids.two },
  { hostname: 'hidden.test', endpoint: `$${ids.one}` },
];

function start(metadata: Readonly<Record<string, unknown>> = {}, parts: NodeParts = {}) {
  return startNode(cleanup, { metadata: { entrypoint: anywhere, tunnel: rules, ...metadata }, ...parts });
}

/** Every visitor of a client gets this as the answer to each of its requests. */
function answering(connector: TestConnector, body: string): void {
  void (async () => {
    for (;;) {
      const { stream } = await connector.visitor();
      void (async () => {
        while ((await stream.read()) !== null) await stream.write(Buffer.from(ok(body)));
        await stream.end();
      })().catch(() => stream.reset());
    }
  })();
}

test('each request reaches the clients of its own tunnel, who are told who visits and what for', async () => {
  const node = await start();
  const [one, two] = [
    await register(cleanup, node.port),
    await register(cleanup, node.port, { tunnel: ids.two }),
  ];
  const visitor = await connectPeer(cleanup, node.entrypoint);
  const source = { host: '127.0.0.1', port: visitor.socket.localPort };
  for (const [host, connector] of [
    ['one.test', one],
    ['www.two.test:81', two],
    ['one.test', one],
  ] as const) {
    visitor.say(get(host));
    const { stream, head } = await connector.visitor();
    const port = host.endsWith(':81') ? 81 : 80;
    expect(head).toEqual({
      status: 0,
      features: [
        { type: 'addr', address: source },
        { type: 'addr', address: { host: host.replace(':81', ''), port } },
      ],
    });
    expect(await heard(stream)).toContain(`Host: ${host}\r\n`);
    await stream.write(Buffer.from(ok('answer')));
    await visitor.take('answer');
  }
  visitor.say(get('hidden.test'));
  expect(await visitor.head()).toMatch(/^HTTP\/1\.1 502 /);
  const secret = await connectPeer(cleanup, node.entrypoint);
  secret.say(clientHello('a.two.test').toString('latin1'));
  const { stream, head } = await two.visitor();
  expect(head.features[1]).toEqual({ type: 'addr', address: { host: 'a.two.test', port: 443 } });
  expect(await stream.read()).toEqual(clientHello('a.two.test'));
});

test('each entrypoint has the rules that it is given', async () => {
  const other = listIngress({ rules: [{ hostname: 'one.test', endpoint: ids.two }] });
  const node = await start(
    { entrypoints: [{ addr: anywhere, ingress: 'other' }, { addr: anywhere }] },
    { ingress: { other } },
  );
  answering(await register(cleanup, node.port), 'of one');
  answering(await register(cleanup, node.port, { tunnel: ids.two }), 'of two');
  const ports = node.told.flatMap((line) =>
    [...line.matchAll(/entrypoint at .*:(\d+)$/g)].map((found) => found[1]),
  );
  const answers: string[] = [];
  for (const port of ports) {
    const visitor = await connectPeer(cleanup, Number(port));
    visitor.say(get('one.test'));
    answers.push((await visitor.take(/of \w+$/)).slice(-6));
  }
  expect(answers).toEqual(['of one', 'of two', 'of one']);
});

test('a stream that is reset, and a client that goes', async () => {
  const node = await start({ entrypointKeepalive: true });
  const connector = await register(cleanup, node.port);
  const visitor = await connectPeer(cleanup, node.entrypoint);
  visitor.say('POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 1\r\n\r\nx');
  const { stream } = await connector.visitor();
  await stream.read();
  stream.reset();
  expect(await visitor.head()).toMatch(/^HTTP\/1\.1 502 /);
  await visitor.take(')\n');
  connector.session.reset();
  await node.proxy.event('closed');
  visitor.say(get('one.test'));
  expect(await visitor.head()).toMatch(/^HTTP\/1\.1 503 /);
});

test('visitors take places of the service, and are let in as its clients are', async () => {
  const places = new Set<string>();
  const connections = {
    enter(host: string) {
      if (places.size >= 2) return undefined;
      const place = `${host} ${String(places.size)}`;
      places.add(place);
      return () => void places.delete(place);
    },
  };
  const node = await start({}, { connections });
  answering(await register(cleanup, node.port), 'in');
  const first = await connectPeer(cleanup, node.entrypoint);
  first.say(get('one.test'));
  await first.take('in');
  const second = net.connect(node.entrypoint, '127.0.0.1').on('error', () => undefined);
  await new Promise((resolve) => second.once('close', resolve));
  expect(node.problems.at(-1)).toContain('too many connections');
});

test('many visitors share the connection of one client, and leave nothing behind', async () => {
  const node = await start();
  answering(await register(cleanup, node.port), 'yes');
  const visitor = async () => {
    const peer = await connectPeer(cleanup, node.entrypoint);
    for (let asked = 0; asked < 3; asked++) {
      peer.say(get('one.test'));
      await peer.take('yes');
    }
    peer.socket.end();
    await peer.all();
  };
  await Promise.all(Array.from({ length: 100 }, visitor));
  const isLast = () => node.proxy.events.filter(({ kind }) => kind === 'closed').length === 100;
  await node.proxy.event('closed', isLast);
  // The client itself.
  expect(node.proxy.service.open).toBe(1);
});
