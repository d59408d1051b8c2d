import { afterEach, expect, test } from 'vitest';
import { startHandler } from '../../core/http/proxy.fixture.ts';
import type { End } from '../../core/conn.ts';
import type { Handler } from '../../core/protocol.ts';
import type { Forwarded, Forwarder, Target } from '../../core/route.ts';
import type { Session } from '../../core/session.ts';
import { Cleanup, connectPeer, startOrigin } from './forward.fixture.ts';
import { forward } from './index.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** A session that asks, before it dials, whether a connection to the chosen node is open already. */
function asking(session: Session, nodes: Forwarder): Session {
  type Facts = Parameters<Session['forward']>[0] & { readonly reuse?: (node: Target) => End | undefined };
  const forwarded = async (facts: Facts): Promise<Forwarded> => {
    const node = await nodes.select(undefined as never, undefined as never, session);
    const end = facts.reuse?.(node);
    return end === undefined ? session.forward(facts) : { end, node };
  };
  return new Proxy(session, {
    get(target, key) {
      if (key === 'forward') return forwarded;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}

test('a connection to a node serves the next request for the same node, and a GET is repeated where it was stale', async () => {
  const origins = { a: await startOrigin(cleanup), b: await startOrigin(cleanup) };
  let chosen: keyof typeof origins = 'a';
  const nodes: Forwarder = {
    select: () =>
      Promise.resolve({
        name: chosen,
        address: { host: '127.0.0.1', port: origins[chosen].port },
        http: undefined,
        tls: undefined,
        failed: () => undefined,
        succeeded: () => undefined,
      }),
    close: () => Promise.resolve(),
  };
  const handler: Handler = {
    ...forward.handler!,
    handle: (end, session, options) => forward.handler!.handle(end, asking(session, nodes), options),
  };
  const proxy = await startHandler(cleanup, handler, { forwarder: nodes, metadata: { sniffing: true } });
  const client = await connectPeer(cleanup, proxy.port);
  const ask = (path: string) => client.say(`GET ${path} HTTP/1.1\r\nHost: x.test\r\n\r\n`);
  const ok = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${String(body.length)}\r\n\r\n${body}`;

  ask('/1');
  const first = await origins.a.next();
  await first.head();
  first.say(ok('one'));
  await client.take('one');
  ask('/2');
  expect(await first.head()).toMatch(/^GET \/2 /);
  first.say(ok('two'));
  await client.take('two');
  expect(origins.a.peers).toHaveLength(1);

  // Another node: a connection of its own, and the first one is of no use any more.
  chosen = 'b';
  ask('/3');
  const second = await origins.b.next();
  await second.head();
  await first.all();

  // This one takes the request and closes without a word, as a server does that has just been tired of waiting.
  second.say(ok('three'));
  await client.take('three');
  ask('/4');
  await second.head();
  second.socket.end();
  const third = await origins.b.next();
  expect(await third.head()).toMatch(/^GET \/4 /);
  third.say(ok('four'));
  await client.take('four');
});
