import { afterEach, describe, expect, test } from 'vitest';
import { ProxyError } from '../../core/errors.ts';
import type { TestParts } from '../../core/http/proxy.fixture.ts';
import { Cleanup } from '../../core/peer.fixture.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { TrafficLimits } from '../../core/traffic-limits.ts';
import {
  answerOf,
  ask,
  dial,
  heard,
  ids,
  memorySd,
  refused,
  register,
  requestOf,
  startNode,
  visits,
} from './node.fixture.ts';
import type { NodeParts, TestConnector } from './node.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const inline = [
  { hostname: 'web.test', endpoint: ids.one },
  { hostname: 'hidden.test', endpoint: `$${ids.two}` },
  { hostname: '*.below.test', endpoint: ids.one },
];

const auth: TestParts['auth'] = {
  authenticate: ({ username, password }) => ({
    ok: username !== '' && username === password,
    user: `id-${username}`,
  }),
};

const at = (host: string, tunnel: string) => requestOf('connect', { tunnel, host, port: 80 });

describe('GOST’s rules', () => {
  const node = (more: NodeParts = {}) =>
    startNode(cleanup, { metadata: { tunnel: inline, entrypointId: ids.public }, ...more });

  test('who comes from outside goes where the ingress says, to no private tunnel', async () => {
    const { port } = await node();
    const connector = await register(cleanup, port);
    for (const host of ['web.test', 'a.below.test', 'WEB.test.']) {
      const { status } = await ask(cleanup, port, at(host, ids.public));
      expect(status).toBe(0);
      const { head } = await connector.visitor();
      const wanted = host === 'WEB.test.' ? 'web.test' : host;
      expect(head.features[1]).toEqual({ type: 'addr', address: { host: wanted, port: 80 } });
    }
    expect(await refused(cleanup, port, at('hidden.test', ids.public))).toBe(6);
    expect(await refused(cleanup, port, at('nowhere.test', ids.public))).toBe(7);
  });

  test('who says a tunnel has to say the one of the host; it may be private', async () => {
    const { port } = await node();
    await register(cleanup, port);
    await register(cleanup, port, { tunnel: ids.two });
    expect((await ask(cleanup, port, at('web.test', ids.one))).status).toBe(0);
    expect((await ask(cleanup, port, at('hidden.test', ids.two))).status).toBe(0);
    expect(await refused(cleanup, port, at('web.test', ids.two))).toBe(6);
    expect(await refused(cleanup, port, at('nowhere.test', ids.one))).toBe(6);
    // An ingress asked for an address is asked for it as for a name.
    expect(await refused(cleanup, port, at('192.0.2.1', ids.one))).toBe(6);
  });

  test('with `tunnel.direct` any', async () => {
    const { port } = await node({
      metadata: { tunnel: inline, tunnelDirect: true, entrypointId: ids.public },
    });
    await register(cleanup, port, { tunnel: ids.two });
    expect((await ask(cleanup, port, at('nowhere.test', ids.two))).status).toBe(0);
    expect(await refused(cleanup, port, at('hidden.test', ids.public))).toBe(6);
  });

  test('without a connector there is none, and none of the other network', async () => {
    const { port, proxy } = await node();
    expect(await refused(cleanup, port, at('web.test', ids.one))).toBe(5);
    expect(await proxy.event('served')).toMatchObject({
      what: 'CONNECT web.test:80',
      error: { code: 'noRoute', message: `tunnel not available: ${ids.one} has no connector` },
    });
    await register(cleanup, port, { network: 'udp' });
    expect(await refused(cleanup, port, at('web.test', ids.one))).toBe(5);
  });

  test('without any rule nobody gets anywhere, and with a name that nobody has', async () => {
    const { port } = await startNode(cleanup, { metadata: { entrypointId: ids.public } });
    await register(cleanup, port);
    expect(await refused(cleanup, port, at('web.test', ids.one))).toBe(6);
    expect(await refused(cleanup, port, at('web.test', ids.public))).toBe(7);
    const missing = await startNode(cleanup, { metadata: { ingress: 'gone', tunnel: inline } });
    expect(missing.problems).toContain('there is no ingress gone, so no host leads to a tunnel');
    await register(cleanup, missing.port);
    expect(await refused(cleanup, missing.port, at('web.test', ids.one))).toBe(6);
  });

  test('an ingress that could not be asked, or says what is no tunnel, leads nowhere', async () => {
    const replies: (() => string | Promise<string>)[] = [
      () => Promise.reject(new ProxyError('couldNotAsk', 'plugin', 'away')),
      () => 'no uuid',
      () => '00000000-0000-0000-0000-000000000000',
    ];
    for (const getRule of replies) {
      const policy: PolicyOf<'ingress'> = { getRule, setRule: () => true };
      const { port, proxy } = await node({
        metadata: { ingress: 'i', entrypointId: ids.public },
        ingress: { i: policy },
      });
      expect(await refused(cleanup, port, at('web.test', ids.public))).toBe(7);
      expect(await refused(cleanup, port, at('web.test', ids.one))).toBe(6);
      expect((await proxy.event('decided')).module).toBe('ingress');
    }
  });
});

describe('what is asked about a visitor', () => {
  test('its credentials, then bypass as whom it proved to be, then the ingress without the port', async () => {
    const asked: string[] = [];
    const policy: PolicyOf<'ingress'> = {
      getRule: ({ host, service }) => {
        asked.push(`ingress ${host} ${service}`);
        return ids.one;
      },
      setRule: () => true,
    };
    const { port } = await startNode(cleanup, {
      metadata: { ingress: 'i' },
      ...{ ingress: { i: policy }, auth },
      bypass: {
        bypass({ target, user, network }) {
          asked.push(`bypass ${target} ${user} ${network}`);
          return target.startsWith('bad.test');
        },
      },
    });
    const says = { user: 'ada', tunnel: ids.one, port: 80 };
    expect(await refused(cleanup, port, requestOf('connect', { ...says, host: 'bad.test' }))).toBe(3);
    expect(await refused(cleanup, port, requestOf('connect', { ...says, user: '' }))).toBe(2);
    expect(await refused(cleanup, port, requestOf('connect', { ...says, host: 'web.test' }))).toBe(5);
    expect(asked).toEqual([
      'bypass bad.test:80 id-ada tcp',
      'bypass web.test:80 id-ada tcp',
      'ingress web.test test',
    ]);
  });

  test('limits, counters and records are the tunnel’s', async () => {
    const held: string[] = [];
    const limits = {
      attach({ user, isFarEnd }: { user: string; isFarEnd?: boolean }) {
        // What comes from the connector is what comes in, as in GOST.
        held.push(`${user} ${String(isFarEnd)}`);
        return Promise.resolve({ detach: () => undefined });
      },
    } as unknown as TrafficLimits;
    const { port, proxy } = await startNode(cleanup, { metadata: { tunnelDirect: true }, auth, limits });
    const connector = await register(cleanup, port, { user: 'ada' });
    const visitor = await visits(cleanup, port, { user: 'ada' });
    await connector.visitor();
    expect(held).toEqual([`${ids.one} true`]);
    await visitor.end();
    connector.session.reset();
    const closed = await proxy.event('closed', ({ target }) => target !== undefined);
    expect(closed).toMatchObject({ user: ids.one, path: [expect.stringMatching(/^connector@/)] });
    expect(await proxy.event('served', ({ what }) => what.startsWith('CONNECT'))).toMatchObject({
      user: ids.one,
    });
  });
});

describe('connectors', () => {
  test('share the visitors, and one that goes leaves them to the others at once', async () => {
    const { port, proxy } = await startNode(cleanup, { metadata: { tunnelDirect: true } });
    const [a, b] = [await register(cleanup, port), await register(cleanup, port)];
    const counts = [0, 0];
    let done!: () => void;
    const all = new Promise<void>((resolve) => (done = resolve));
    const count = async (connector: TestConnector, index: number) => {
      for (;;) {
        await connector.visitor();
        counts[index]!++;
        if (counts[0]! + counts[1]! === 40) done();
      }
    };
    void count(a, 0);
    void count(b, 1);
    for (let n = 0; n < 40; n++) await visits(cleanup, port);
    await all;
    expect(Math.min(...counts)).toBeGreaterThan(3);
    a.session.reset();
    await proxy.event('closed');
    for (let n = 0; n < 10; n++) await visits(cleanup, port);
  });

  test('one of weight 255 has them all, until it is gone', async () => {
    const { port, proxy } = await startNode(cleanup, { metadata: { tunnelDirect: true } });
    const light = await register(cleanup, port, { weight: 10 });
    const heavy = await register(cleanup, port, { weight: 255 });
    for (let n = 0; n < 10; n++) {
      await visits(cleanup, port);
      await heavy.visitor();
    }
    heavy.session.reset();
    await proxy.event('closed');
    await visits(cleanup, port);
    await light.visitor();
  });

  test('one that has taken leave is not asked any more', async () => {
    const { port, proxy } = await startNode(cleanup, { metadata: { tunnelDirect: true } });
    const connector = await register(cleanup, port);
    const visitor = await visits(cleanup, port);
    const { stream } = await connector.visitor();
    void proxy.service.stop();
    // What has begun goes on.
    await stream.write(Buffer.from('still here'));
    expect(await heard(visitor)).toBe('still here');
    await stream.end();
    await visitor.read();
    await visitor.end();
    await connector.conn.closed;
  });

  test('a reset of the stream is one for the visitor', async () => {
    const { port } = await startNode(cleanup, { metadata: { tunnelDirect: true } });
    const connector = await register(cleanup, port);
    const visitor = await visits(cleanup, port);
    const { stream } = await connector.visitor();
    stream.reset();
    await expect(visitor.read()).rejects.toMatchObject({ code: 'upstreamClosed' });
  });
});

describe('another node', () => {
  const entrypoint = { host: '127.0.0.1', port: 0, written: '127.0.0.1:0' };

  /** Two nodes that share an sd; the connector is at the second. */
  async function two(more: NodeParts = {}) {
    const sd = memorySd();
    const shared = { sd: { s: sd.policy }, ...more };
    const metadata = { sd: 's', entrypoint, tunnel: inline, entrypointId: ids.public };
    const [a, b] = [
      await startNode(cleanup, { ...shared, metadata }),
      await startNode(cleanup, { ...shared, metadata }),
    ];
    return { sd, a, b };
  }

  test('has the connector: the visitor is passed on, and its no as well', async () => {
    const { sd, a, b } = await two();
    const connector = await register(cleanup, b.port);
    await sd.until(1);
    for (const tunnel of [ids.one, ids.public]) {
      const visitor = await visits(cleanup, a.port, { tunnel });
      const { stream, head } = await connector.visitor();
      expect(head.features).toEqual([
        { type: 'addr', address: { host: '192.0.2.7', port: 7777 } },
        { type: 'addr', address: { host: 'web.test', port: 80 } },
      ]);
      await visitor.write(Buffer.from('question'));
      expect(await heard(stream)).toBe('question');
      await stream.write(Buffer.from('answer'));
      expect(await heard(visitor)).toBe('answer');
    }
    const [service] = [...sd.services.values()];
    connector.session.reset();
    await sd.until(2);
    // What sd has not forgotten yet leads to a node that says no.
    sd.services.set('stale', service!);
    expect(await refused(cleanup, a.port, at('web.test', ids.one))).toBe(5);
    const { details, status } = await a.proxy.event('served', ({ error }) => error === undefined);
    expect({ details, status }).toMatchObject({ details: { redirect: service!.node }, status: undefined });
  });

  test('by datagrams as well', async () => {
    const { sd, a, b } = await two();
    const connector = await register(cleanup, b.port, { network: 'udp' });
    await sd.until(1);
    const visitor = await visits(cleanup, a.port, { network: 'udp' });
    await visitor.write(Buffer.from('\0\x03one', 'latin1'));
    const { stream } = await connector.visitor();
    expect(await heard(stream)).toBe('\0\x03one');
    await stream.write(Buffer.from('\0\x03two', 'latin1'));
    expect(await heard(visitor)).toBe('\0\x03two');
  });

  test('a circle of nodes that each take the other for the one ends', async () => {
    const { sd, a, b } = await two();
    const service = { id: 'c', name: ids.one, network: 'tcp' };
    for (const [node, to] of [a, b].entries())
      sd.services.set(`c${String(node)}`, {
        ...service,
        ...{ node: crypto.randomUUID(), address: `localhost:${String(to.entrypoint)}` },
      });
    expect(await refused(cleanup, a.port, at('web.test', ids.one))).toBeGreaterThan(0);
  });

  test('that cannot be reached is said to be unavailable, and sd that could not be asked too', async () => {
    const dead = {
      id: 'c',
      name: ids.one,
      network: 'tcp',
      node: crypto.randomUUID(),
      address: '127.0.0.1:1',
    };
    for (const get of [() => [dead], () => Promise.reject(new ProxyError('couldNotAsk', 'plugin', 'away'))]) {
      const sd = { ...memorySd().policy, get };
      const { port } = await startNode(cleanup, { metadata: { sd: 's', tunnel: inline }, sd: { s: sd } });
      expect(await refused(cleanup, port, at('web.test', ids.one))).toBe(5);
    }
  });
});

test('a visitor that says more with its request loses nothing of it', async () => {
  const { port } = await startNode(cleanup, { metadata: { tunnelDirect: true } });
  const connector = await register(cleanup, port);
  const conn = await dial(cleanup, port);
  await conn.write(
    Buffer.concat([requestOf('connect', { host: 'web.test', port: 80 }), Buffer.from('early')]),
  );
  const { stream } = await connector.visitor();
  expect(await heard(stream)).toBe('early');
  expect((await answerOf(conn)).status).toBe(0);
});
