import { createHash } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { ProxyError } from '../../core/errors.ts';
import { manualWheel, settled } from '../../core/manual-clock.fixture.ts';
import { Cleanup } from '../../core/peer.fixture.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { TestParts } from '../../core/http/proxy.fixture.ts';
import {
  ask,
  heard,
  ids,
  memorySd,
  refused,
  register,
  requestOf,
  startNode,
  visits,
} from './node.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const hashOf = (tunnel: string) => createHash('md5').update(tunnel).digest('hex').slice(0, 16);
const direct = { tunnelDirect: true };

/** Whose password is their name; tags as given. */
function auth(tags: Readonly<Record<string, readonly string[]>> = {}): NonNullable<TestParts['auth']> {
  return {
    authenticate({ username, password }, { meta }) {
      meta.tags = tags[username] ?? [];
      return { ok: username !== '' && username === password, user: `id-${username}` };
    },
  };
}

/** An ingress in memory, and what it was asked and told. */
function memoryIngress(rules: Record<string, string> = {}) {
  const calls: string[] = [];
  const policy: PolicyOf<'ingress'> = {
    getRule({ host, service }) {
      calls.push(`get ${host} ${service}`);
      return rules[host];
    },
    setRule({ host, endpoint, service }) {
      calls.push(`set ${host} ${endpoint} ${service}`);
      rules[host] = endpoint;
      return true;
    },
  };
  return { policy, rules, calls };
}

describe('a client that registers', () => {
  test('is told a name that follows from the tunnel, its port, and a connector of its own', async () => {
    const { port, proxy } = await startNode(cleanup);
    const { answer } = await register(cleanup, port, { port: 8080, weight: 7, host: 'my.test' });
    const [addr, connector] = answer.features;
    // Without an ingress nobody would find another name.
    expect(addr).toEqual({ type: 'addr', address: { host: hashOf(ids.one), port: 8080 } });
    expect(connector).toMatchObject({ type: 'tunnel', flags: 0, weight: 7 });
    const again = await register(cleanup, port, { network: 'udp' });
    const [, other] = again.answer.features;
    expect(other).toMatchObject({ type: 'tunnel', flags: 1, weight: 0 });
    if (connector?.type !== 'tunnel' || other?.type !== 'tunnel') throw new Error('no tunnel');
    expect(connector.id).toMatch(/^[\da-f]{8}-[\da-f]{4}-4/);
    expect(other.id).not.toBe(connector.id);
    expect(await proxy.event('served')).toMatchObject({
      ...{ what: `BIND ${hashOf(ids.one)}:8080`, status: 0, error: undefined },
      details: { tunnel: ids.one, connector: connector.id, weight: 7 },
    });
  });

  test('is reached by visitors, and told who they are and what they want', async () => {
    const { port } = await startNode(cleanup, { metadata: direct });
    const connector = await register(cleanup, port);
    const visitor = await visits(cleanup, port);
    const { stream, head } = await connector.visitor();
    expect(head).toEqual({
      status: 0,
      features: [
        { type: 'addr', address: { host: '192.0.2.7', port: 7777 } },
        { type: 'addr', address: { host: 'web.test', port: 80 } },
      ],
    });
    await visitor.write(Buffer.from('question'));
    expect(await heard(stream)).toBe('question');
    await stream.write(Buffer.from('answer'));
    expect(await heard(visitor)).toBe('answer');
    await stream.end();
    expect(await visitor.read()).toBeNull();
  });

  test('by datagrams as well', async () => {
    const { port } = await startNode(cleanup, { metadata: direct });
    const connector = await register(cleanup, port, { network: 'udp' });
    const visitor = await visits(cleanup, port, { network: 'udp', port: 53 });
    await visitor.write(Buffer.from('\0\x03one\0\0\0\x03two', 'latin1'));
    const { stream } = await connector.visitor();
    let got = '';
    while (got.length < 12) got += (await heard(stream)) ?? '';
    expect(got).toBe('\0\x03one\0\0\0\x03two');
    await stream.write(Buffer.from('\0\x05three', 'latin1'));
    expect(await heard(visitor)).toBe('\0\x05three');
  });

  test('is no longer reached once it has gone, and leaves nothing', async () => {
    const { port, proxy } = await startNode(cleanup, { metadata: direct });
    const connector = await register(cleanup, port);
    connector.session.reset();
    await proxy.event('closed');
    expect(await refused(cleanup, port, requestOf('connect', { host: 'web.test', port: 80 }))).toBe(5);
  });
});

describe('who may register', () => {
  test('nobody who is not known, and who is known is told by nothing else', async () => {
    const { port, proxy } = await startNode(cleanup, { auth: auth() });
    expect(await refused(cleanup, port, requestOf('bind'))).toBe(2);
    await register(cleanup, port, { user: 'ada' });
    expect(await proxy.event('served', ({ status }) => status === 2)).toMatchObject({
      error: { code: 'wrongCredentials' },
    });
  });

  test('a tunnel is its user’s, and for its time after the last connector has gone', async () => {
    const { port, proxy, clock } = await startNode(cleanup, { auth: auth() });
    const first = await register(cleanup, port, { user: 'ada' });
    const second = await register(cleanup, port, { user: 'ada' });
    const bob = () => refused(cleanup, port, requestOf('bind', { user: 'bob' }));
    expect(await bob()).toBe(3);
    expect(await proxy.event('served', ({ status }) => status === 3)).toMatchObject({
      error: {
        code: 'forbidden',
        message: `the tunnel ${ids.one} is another user's, and not user "id-bob"'s`,
      },
    });
    for (const { session } of [first, second]) session.reset();
    await proxy.event('closed', () => proxy.events.filter(({ kind }) => kind === 'closed').length >= 3);
    clock.advance(14_999);
    expect(await bob()).toBe(3);
    clock.advance(1);
    await register(cleanup, port, { user: 'bob' });
  });

  test('where the auther says which tunnels, exactly those', async () => {
    const { port } = await startNode(cleanup, {
      auth: auth({ ada: [`tunnel=${ids.one}`], bob: [`tunnel=${ids.one}`, `tunnel=${ids.two}`] }),
    });
    await register(cleanup, port, { user: 'ada' });
    await register(cleanup, port, { user: 'bob' });
    expect(await refused(cleanup, port, requestOf('bind', { user: 'ada', tunnel: ids.two }))).toBe(3);
    await register(cleanup, port, { user: 'bob', tunnel: ids.two });
    await register(cleanup, port, { user: 'eve', tunnel: crypto.randomUUID() });
    expect(await refused(cleanup, port, requestOf('bind', { user: 'eve', tunnel: ids.two }))).toBe(3);
  });

  test('without an auther everybody', async () => {
    const { port } = await startNode(cleanup);
    await register(cleanup, port, { user: 'ada' });
    await register(cleanup, port, { user: 'bob' });
  });

  test('so often and no more', async () => {
    let left = 1;
    const { port } = await startNode(cleanup, { rate: { allow: () => left-- > 0 } });
    await register(cleanup, port);
    expect(await refused(cleanup, port, requestOf('bind'))).toBe(3);
  });
});

describe('what a tunnel is known by', () => {
  test('is told to the ingress, in GOST’s order', async () => {
    const { policy, calls } = memoryIngress();
    const { port } = await startNode(cleanup, { metadata: { ingress: 'i' }, ingress: { i: policy } });
    const { answer } = await register(cleanup, port, { host: 'My.Test.', port: 80 });
    expect(answer.features[0]).toEqual({ type: 'addr', address: { host: 'my.test', port: 80 } });
    await settled();
    expect(calls[0]).toBe('get my.test test');
    expect(calls.filter((call) => call.startsWith('set'))).toEqual([
      `set ${hashOf(ids.one)} ${ids.one} test`,
      `set my.test ${ids.one} test`,
    ]);
  });

  test('is not what another tunnel is known by', async () => {
    const { policy, rules } = memoryIngress({ 'my.test': ids.two, 'odd.test': 'no uuid' });
    const { port } = await startNode(cleanup, { metadata: { ingress: 'i' }, ingress: { i: policy } });
    for (const host of ['my.test', 'odd.test']) {
      const { answer } = await register(cleanup, port, { host, port: 80 });
      expect(answer.features[0]).toMatchObject({ address: { host: hashOf(ids.one) } });
    }
    await settled();
    expect(rules).toEqual({ 'my.test': ids.two, 'odd.test': 'no uuid', [hashOf(ids.one)]: ids.one });
  });

  test('nor what another one here wants to be known by, before the ingress knows', async () => {
    const policy: PolicyOf<'ingress'> = { getRule: () => undefined, setRule: () => false };
    const { port, proxy } = await startNode(cleanup, { metadata: { ingress: 'i' }, ingress: { i: policy } });
    const nameOf = async (tunnel: string) => {
      const { answer, session } = await register(cleanup, port, { tunnel, host: 'my.test' });
      const [addr] = answer.features;
      return { name: addr?.type === 'addr' ? addr.address.host : undefined, session };
    };
    const first = await nameOf(ids.one);
    expect(first.name).toBe('my.test');
    expect((await nameOf(ids.two)).name).toBe(hashOf(ids.two));
    first.session.reset();
    await proxy.event('closed');
    expect((await nameOf(ids.two)).name).toBe('my.test');
  });

  // GOST takes the mark away.
  test('stays private where it was', async () => {
    const before = { 'my.test': `$${ids.one}`, [hashOf(ids.one)]: `$${ids.one.toUpperCase()}` };
    const { policy, rules, calls } = memoryIngress({ ...before });
    const { port } = await startNode(cleanup, { metadata: { ingress: 'i' }, ingress: { i: policy } });
    const { answer } = await register(cleanup, port, { host: 'my.test' });
    expect(answer.features[0]).toMatchObject({ address: { host: 'my.test' } });
    await settled();
    expect(rules).toEqual(before);
    expect(calls).toHaveLength(3);
  });

  test('is the name that nobody else can have, where the ingress cannot be asked', async () => {
    const policy: PolicyOf<'ingress'> = {
      getRule: () => Promise.reject(new ProxyError('couldNotAsk', 'plugin', 'away')),
      setRule: () => false,
    };
    const { port, proxy } = await startNode(cleanup, { metadata: { ingress: 'i' }, ingress: { i: policy } });
    const { answer } = await register(cleanup, port, { host: 'my.test' });
    expect(answer.features[0]).toMatchObject({ address: { host: hashOf(ids.one) } });
    expect(await proxy.event('decided')).toMatchObject({ module: 'ingress', outcome: 'couldNotAsk' });
  });

  test('is told again until the ingress has heard it', async () => {
    const { policy, rules } = memoryIngress();
    let fails = 3;
    const setRule: typeof policy.setRule = (ask, call) => {
      if (fails-- > 0) throw new Error('away');
      return policy.setRule(ask, call);
    };
    const wheel = manualWheel();
    const { port } = await startNode(cleanup, {
      ...{ metadata: { ingress: 'i' }, ingress: { i: { ...policy, setRule } }, clock: wheel },
    });
    await register(cleanup, port);
    await wheel.clock.runUntil(() => rules[hashOf(ids.one)] === ids.one);
  });
});

describe('what sd is told', () => {
  const sdNode = async (more: Parameters<typeof startNode>[1] = {}) => {
    const sd = memorySd();
    const node = await startNode(cleanup, {
      metadata: { sd: 's', entrypoint: { host: '127.0.0.1', port: 0, written: '127.0.0.1:0' }, ...direct },
      ...{ sd: { s: sd.policy }, ...more },
    });
    return { sd, node };
  };

  test('a connector that comes, stays and goes, each time with all fields', async () => {
    const { sd, node } = await sdNode();
    const connector = await register(cleanup, node.port, { network: 'udp' });
    await sd.until(1);
    await settled();
    node.clock.advance(14_000);
    await settled();
    expect(sd.said).toHaveLength(1);
    node.clock.advance(1_100);
    await sd.until(2);
    node.clock.advance(15_100);
    await sd.until(3);
    connector.session.reset();
    await sd.until(4);
    expect(sd.said.map(({ verb }) => verb)).toEqual(['register', 'renew', 'renew', 'deregister']);
    const [, named] = connector.answer.features;
    const id = named?.type === 'tunnel' ? named.id : '';
    const [{ service }] = sd.said as [(typeof sd.said)[number]];
    expect(service).toMatchObject({ id, name: ids.one, network: 'udp' });
    expect(service.address).toBe(`127.0.0.1:${String(node.entrypoint)}`);
    expect(service.node).toMatch(/^[\da-f]{8}-/);
    for (const one of sd.said) expect(one.service).toEqual(service);
    node.clock.advance(60_000);
    await settled();
    expect(sd.said).toHaveLength(4);
    expect(node.clock.nextAlarmMs).toBe(Infinity);
  });

  test('is told where nobody waits: one that hangs delays neither clients nor visitors', async () => {
    const sd = memorySd(() => new Promise(() => undefined));
    const { node } = await sdNode({ sd: { s: sd.policy } });
    const connectors = [];
    for (let n = 0; n < 40; n++) connectors.push(await register(cleanup, node.port));
    await visits(cleanup, node.port);
    node.clock.advance(100_000);
    await visits(cleanup, node.port);
    expect(sd.said.length).toBeLessThanOrEqual(16);
    for (const { session } of connectors) session.reset();
  });

  test('again what it may have forgotten', async () => {
    let fails = false;
    const sd = memorySd(() => (fails ? Promise.reject(new Error('away')) : Promise.resolve()));
    const { node } = await sdNode({ sd: { s: sd.policy } });
    await register(cleanup, node.port);
    await sd.until(1);
    fails = true;
    await settled();
    node.clock.advance(15_100);
    await sd.until(2);
    fails = false;
    await node.clock.runUntil(() => sd.said.length >= 3);
    expect(sd.said.map(({ verb }) => verb)).toEqual(['register', 'renew', 'register']);
    expect(node.problems.at(-1)).toMatch(/^sd s cannot be told, .*away/);
    expect(node.told.at(-1)).toBe('sd s can be told again');
  });

  test('what has gone before its turn is never spoken of', async () => {
    const open: (() => void)[] = [];
    const sd = memorySd(() => new Promise((done) => open.push(done)));
    const { node } = await sdNode({ sd: { s: sd.policy } });
    const connectors = [];
    for (let n = 0; n < 20; n++) connectors.push(await register(cleanup, node.port));
    expect(sd.said).toHaveLength(16);
    const { session } = connectors.at(-1)!;
    session.reset();
    await node.proxy.event('closed');
    for (const done of open.splice(0)) done();
    await sd.until(19);
    for (const done of open.splice(0)) done();
    await settled();
    expect(sd.said.map(({ verb }) => verb)).toEqual(Array.from({ length: 19 }, () => 'register'));
  });

  test('and it is said where the others could not come here', async () => {
    const told = async (metadata: object) => (await sdNode({ metadata: { sd: 's', ...metadata } })).node.told;
    expect(await told({})).toEqual([
      'sd is told of tunnels that other nodes cannot reach: there is no `entrypoint`',
    ]);
    const anywhere = { entrypoint: { host: '0.0.0.0', port: 0, written: '0.0.0.0:0' } };
    expect((await told(anywhere))[0]).toMatch(/names no host/);
  });
});

test('a client is asked once: what follows its request is the mux', async () => {
  const { port, proxy } = await startNode(cleanup);
  const { conn } = await ask(cleanup, port, Buffer.concat([requestOf('bind'), requestOf('bind')]));
  expect(await proxy.event('closed')).toMatchObject({ error: { code: 'malformedRequest' } });
  await conn.closed;
});
