import { afterEach, describe, expect, test } from 'vitest';
import { ProxyError } from '../../core/errors.ts';
import { manualWheel, settled } from '../../core/manual-clock.fixture.ts';
import { Cleanup, connectPeer } from '../../core/peer.fixture.ts';
import { listIngress } from '../../policies/ingress/list.ts';
import { tcp } from '../../transports/tcp/index.ts';
import { heard, ids, memorySd, refused, register, requestOf, startNode, visits } from './node.fixture.ts';
import type { NodeParts } from './node.fixture.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const entrypoint = { host: '127.0.0.1', port: 0, written: '127.0.0.1:0' };
const inline = [{ hostname: 'web.test', endpoint: ids.one }];
const portsOf = (told: readonly string[]) =>
  told.flatMap((one) => (one.startsWith('tunnels have') ? [Number(/\d+$/.exec(one)![0])] : []));

describe('entrypoints', () => {
  test('each has its own ingress, or that of the handler', async () => {
    const other = listIngress({ rules: [{ hostname: 'other.test', endpoint: ids.two }] });
    const { port, told, proxy } = await startNode(cleanup, {
      metadata: {
        ...{ entrypoint, tunnel: inline },
        entrypoints: [{ addr: entrypoint, ingress: 'other' }, { addr: entrypoint }],
      },
      ingress: { other },
    });
    const one = await register(cleanup, port);
    const two = await register(cleanup, port, { tunnel: ids.two });
    const ports = portsOf(told);
    expect(ports).toHaveLength(3);
    const get = async (at: number, host: string) => {
      const peer = await connectPeer(cleanup, at);
      peer.say(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      return peer;
    };
    for (const at of [ports[0]!, ports[2]!]) {
      await get(at, 'web.test');
      const { stream, head } = await one.visitor();
      expect(head.features[1]).toMatchObject({ address: { host: 'web.test', port: 80 } });
      expect(await heard(stream)).toMatch(/^GET \/ HTTP\/1.1\r\n/);
    }
    await get(ports[1]!, 'other.test');
    await two.visitor();
    expect(await (await get(ports[1]!, 'web.test')).head()).toMatch(/^HTTP\/1.1 502/);
    // Visitors there are sessions of the service, and close with it.
    expect(proxy.service.open).toBeGreaterThan(2);
    await proxy.service.close();
    for (const at of ports) await expect(connectPeer(cleanup, at)).rejects.toThrow('ECONNREFUSED');
  });

  test('where one cannot be opened nothing is left', async () => {
    const { told } = await startNode(cleanup, { metadata: { entrypoint } });
    const [taken] = portsOf(told) as [number];
    const opened: number[] = [];
    const way = tcp.wrap(undefined, { metadata: {} });
    const sockets: NodeParts['sockets'] = () => ({
      ...way,
      async listen(at, accept, problem) {
        const listening = await way.listen!(at, accept, problem);
        opened.push(listening.address.port);
        return listening;
      },
    });
    const entrypoints = [{ addr: { ...entrypoint, port: taken } }];
    await expect(
      startNode(cleanup, { metadata: { entrypoint, entrypoints }, sockets }),
    ).rejects.toMatchObject({
      code: 'addressInUse',
    });
    expect(opened).toHaveLength(1);
    await expect(connectPeer(cleanup, opened[0]!)).rejects.toThrow('ECONNREFUSED');
  });

  test('one that names an ingress that is not there leads nowhere, and says so', async () => {
    const { told, problems } = await startNode(cleanup, {
      metadata: { tunnel: inline, entrypoints: [{ addr: entrypoint, ingress: 'gone' }] },
    });
    expect(problems).toContain('there is no ingress gone, so no host leads to a tunnel');
    const peer = await connectPeer(cleanup, portsOf(told)[0]!);
    peer.say('GET / HTTP/1.1\r\nHost: web.test\r\n\r\n');
    expect(await peer.head()).toMatch(/^HTTP\/1.1 502/);
  });
});

describe('a new configuration', () => {
  const metadata = { tunnel: inline, entrypoint, sd: 's' };

  /** A node with a connector, and how its successor is started. */
  async function first(more: NodeParts = {}) {
    const [sd, clock] = [memorySd(), manualWheel()];
    const shared: NodeParts = { clock, sd: { s: sd.policy }, metadata, ...more };
    const node = await startNode(cleanup, shared);
    const connector = await register(cleanup, node.port);
    const next = (parts: NodeParts = {}) =>
      startNode(cleanup, { ...shared, before: node.proxy.service.keeps, ...parts });
    return { node, connector, sd, next, clock: clock.clock };
  }

  test('reaches who registered before, and those who come later share the tunnel', async () => {
    const { node, connector, sd, next } = await first();
    const successor = await next();
    let isOver = false;
    const over = node.proxy.service.retire().then(() => (isOver = true));
    const visitor = await visits(cleanup, successor.port);
    const { stream } = await connector.visitor();
    await stream.write(Buffer.from('still here'));
    expect(await heard(visitor)).toBe('still here');
    const later = await register(cleanup, successor.port, { weight: 255 });
    await visits(cleanup, successor.port);
    await later.visitor();
    later.session.reset();
    // The older service is over when its last client is.
    expect(isOver).toBe(false);
    connector.session.reset();
    await over;
    expect(await refused(cleanup, successor.port, requestOf('connect', { host: 'web.test', port: 80 }))).toBe(
      5,
    );
    expect(sd.services.size).toBe(0);
  });

  test('speaks to sd for those who registered before, as it is itself reached', async () => {
    const { node, connector, sd, next, clock } = await first();
    await sd.until(1);
    const mine = memorySd();
    const successor = await next({ sd: { s: mine.policy } });
    expect(mine.said).toEqual([]);
    void node.proxy.service.retire();
    await mine.until(1);
    const [{ service }] = sd.said as [(typeof sd.said)[number]];
    const address = `127.0.0.1:${String(successor.entrypoint)}`;
    expect(mine.said).toEqual([{ verb: 'register', service: { ...service, address } }]);
    clock.advance(15_100);
    await mine.until(2);
    connector.session.reset();
    await mine.until(3);
    expect(mine.said.map(({ verb }) => verb)).toEqual(['register', 'renew', 'deregister']);
    expect(sd.said).toHaveLength(1);
  });

  test('without sd leaves that to the one before', async () => {
    const { node, connector, sd, next } = await first();
    await sd.until(1);
    await next({ metadata: { tunnel: inline } });
    void node.proxy.service.retire();
    connector.session.reset();
    await sd.until(2);
    expect(sd.said.map(({ verb }) => verb)).toEqual(['register', 'deregister']);
  });

  test('that cannot be started changes nothing', async () => {
    const { node, connector, sd, next, clock } = await first();
    await sd.until(1);
    const failing: NodeParts['sockets'] = () => ({
      ...tcp.wrap(undefined, { metadata: {} }),
      listen: () => Promise.reject(new ProxyError('addressInUse', 'self', 'taken')),
    });
    await expect(next({ sockets: failing })).rejects.toMatchObject({ code: 'addressInUse' });
    await visits(cleanup, node.port);
    await connector.visitor();
    clock.advance(15_100);
    await sd.until(2);
    expect(sd.said[1]).toEqual({ verb: 'renew', service: sd.said[0]!.service });
  });

  test('knows whose tunnels were, and who stays when all end at once is told to sd', async () => {
    const auth: NodeParts['auth'] = {
      authenticate: ({ username: user }) => ({ ok: user !== '', user }),
    };
    const [sd, clock] = [memorySd(), manualWheel()];
    const shared: NodeParts = { clock, sd: { s: sd.policy }, metadata, auth };
    const node = await startNode(cleanup, shared);
    const connector = await register(cleanup, node.port, { user: 'ada' });
    const successor = await startNode(cleanup, { ...shared, before: node.proxy.service.keeps });
    const retired = node.proxy.service.retire();
    expect(await refused(cleanup, successor.port, requestOf('bind', { user: 'bob' }))).toBe(3);
    const closed = [successor.proxy.service.close(), node.proxy.service.close()];
    await connector.conn.closed;
    clock.clock.advance(1);
    await Promise.all([...closed, retired]);
    await settled();
    expect(sd.services.size).toBe(0);
  });
});

test('what stops takes leave of its clients, and they go when their visitors have', async () => {
  const { port, proxy } = await startNode(cleanup, { metadata: { tunnelDirect: true } });
  const idle = await register(cleanup, port, { tunnel: ids.two });
  const busy = await register(cleanup, port);
  const visitor = await visits(cleanup, port);
  const { stream } = await busy.visitor();
  const stopped = proxy.service.stop();
  await idle.conn.closed;
  await stream.end();
  await visitor.read();
  await visitor.end();
  await stopped;
});
