import { describe, expect, test } from 'vitest';
import { createDatagramInbox } from '../core/datagrams.ts';
import type { Datagrams } from '../core/datagrams.ts';
import { ProxyError } from '../core/errors.ts';
import { createChain, createForwarder } from './chain.ts';
import { context, decider, pretendNode, pretendWay, request } from './chain.fixture.ts';
import { createHop } from './hop.ts';
import type { Hop, HopSpec } from './hop.ts';
import { createMark } from './marks.ts';
import { createNode } from './node.ts';
import { createStrategy, defaultSelector } from './selector.ts';
import type { SelectorSpec } from './selector.ts';

const selector = (more: Partial<SelectorSpec> = {}): SelectorSpec => ({ ...defaultSelector, ...more });
const hopOf = (nodes: HopSpec['nodes'], more: Partial<HopSpec> = {}): Hop =>
  createHop({ name: 'h', nodes, selector: selector(), ...more });
const target = { host: 'target.test', port: 443 };
const passes = (yes: boolean) => ({ bypass: () => yes });
const silent = {
  bypass: () => {
    throw new Error('gone');
  },
};

async function through(
  hops: readonly Hop[],
  direct = pretendWay(),
  onNoNode: 'refuse' | 'direct' = 'refuse',
) {
  const chain = createChain({ name: 'c', hops, direct: direct.way, onNoNode });
  const { way, path } = await chain.route(request(), context, decider);
  await way.dial(target, context);
  return path;
}

describe('a chain', () => {
  test('goes from node to node, each asked for the next one and the last for the target', async () => {
    const [a, b] = [pretendNode('a'), pretendNode('b')];
    const direct = pretendWay();
    const path = await through([hopOf([a.spec]), hopOf([b.spec])], direct);
    expect(path).toEqual(['a@a.test:8080', 'b@b.test:8080']);
    expect(direct.dialled).toEqual(['a.test:8080']);
    expect(a.asked).toEqual(['b.test:8080']);
    expect(b.asked).toEqual(['target.test:443']);
  });

  test('makes what carries bytes to a node once for each way beneath it', async () => {
    const [a, b] = [pretendNode('a'), pretendNode('b')];
    const hops = [hopOf([a.spec]), hopOf([b.spec])];
    const direct = pretendWay();
    for (let round = 0; round < 5; round++) await through(hops, direct);
    expect([a.stacks, b.stacks]).toEqual([1, 1]);
    await Promise.all(hops.map((hop) => hop.close()));
    expect([a.closed, b.closed]).toEqual([1, 1]);
  });

  test('a bypass means directly from there: of the hop, or of every node that could be chosen', async () => {
    const a = pretendNode('a');
    const direct = pretendWay();
    expect(await through([hopOf([a.spec], { bypass: passes(true) })], direct)).toEqual([]);
    expect(direct.dialled).toEqual(['target.test:443']);
    expect(await through([hopOf([{ ...a.spec, bypass: passes(true) }])])).toEqual([]);
    const other = pretendNode('other');
    expect(await through([hopOf([{ ...a.spec, bypass: passes(true) }, other.spec])])).toEqual([
      'other@other.test:8080',
    ]);
    expect(await through([hopOf([a.spec]), hopOf([other.spec], { bypass: passes(true) })])).toEqual([
      'a@a.test:8080',
    ]);
  });

  test('no node, and a bypass that could not be asked, are no route; directly only where the file says so', async () => {
    const nobody = pretendNode('nobody', { matches: () => false });
    await expect(through([hopOf([nobody.spec])])).rejects.toMatchObject({ code: 'noRoute', status: 503 });
    await expect(through([hopOf([])])).rejects.toMatchObject({ code: 'noRoute' });
    const asking = hopOf([pretendNode('a').spec], { bypass: silent });
    await expect(through([asking])).rejects.toMatchObject({ code: 'couldNotAsk' });
    const direct = pretendWay();
    expect(await through([hopOf([nobody.spec])], direct, 'direct')).toEqual([]);
    expect(direct.dialled).toEqual(['target.test:443']);
  });

  test('a name of a node is looked up by the node’s own hosts', async () => {
    const hosts = { lookup: () => ['192.0.2.5'] };
    const direct = pretendWay();
    await through([hopOf([pretendNode('a', { hosts }).spec])], direct);
    expect(direct.dialled).toEqual(['192.0.2.5:8080']);
  });

  test('a node that cannot be reached says so, is marked, and is left alone for a while', async () => {
    const [dead, alive] = [pretendNode('dead'), pretendNode('alive')];
    const direct = pretendWay(new Set(['dead.test']));
    const hops = [hopOf([dead.spec, alive.spec], { selector: selector({ strategy: 'fifo' }) })];
    await expect(through(hops, direct)).rejects.toMatchObject({
      code: 'dialFailed',
      status: 503,
      message: 'node dead@dead.test:8080: refused',
    });
    expect(await through(hops, direct)).toEqual(['alive@alive.test:8080']);
  });

  test('a node beneath that cannot be reached is the one that has failed', async () => {
    const direct = pretendWay(new Set(['one.test']));
    const fifo = { selector: selector({ strategy: 'fifo' }) };
    const second = hopOf([pretendNode('two').spec, pretendNode('three').spec], fifo);
    const hops = [hopOf([pretendNode('one').spec], fifo), second];
    await expect(through(hops, direct)).rejects.toMatchObject({
      message: 'node one@one.test:8080: refused',
      retryable: true,
      status: 503,
    });
    expect(await through([second])).toEqual(['two@two.test:8080']);
    // What the first node could not reach is the second's.
    const refusing = pretendNode('refusing', {
      connector: {
        metadata: {},
        connect: () => Promise.reject(new ProxyError('dialFailed', 'upstream', 'not from here')),
      },
    });
    await expect(through([hopOf([refusing.spec]), second])).rejects.toMatchObject({
      message: 'node two@two.test:8080: not from here',
    });
    expect(await through([second])).toEqual(['three@three.test:8080']);
  });

  test('datagrams to one peer come from that peer alone', async () => {
    const inbox = createDatagramInbox();
    const carried = {
      ...{ kind: 'datagrams', local: target, remote: target, closed: new Promise<void>(() => undefined) },
      ...{ receive: inbox.receive.bind(inbox), send: () => true, close: () => undefined },
    } as Datagrams;
    const node = pretendNode('a');
    const hop = hopOf([
      { ...node.spec, connector: { ...node.spec.connector, associate: () => Promise.resolve(carried) } },
    ]);
    const chain = createChain({ name: 'c', hops: [hop], direct: pretendWay().way, onNoNode: 'refuse' });
    const { way } = await chain.route(request({ network: 'udp' }), context, decider);
    const one = await way.packets!({ host: '192.0.2.1', port: 53 }, context);
    const heard: unknown[] = [];
    one.receive((data, peer) => heard.push([String(data), peer.host]));
    inbox.deliver(Buffer.from('yes'), { host: '192.0.2.1', port: 53 });
    inbox.deliver(Buffer.from('mapped'), { host: '::ffff:192.0.2.1', port: 53 });
    inbox.deliver(Buffer.from('another port'), { host: '192.0.2.1', port: 54 });
    inbox.deliver(Buffer.from('another host'), { host: '192.0.2.2', port: 53 });
    inbox.deliver(Buffer.from('nobody'), { host: '', port: 53 });
    expect(heard).toEqual([
      ['yes', '192.0.2.1'],
      ['mapped', '192.0.2.1'],
    ]);
  });

  test('datagrams to one peer go through a node that knows no others', async () => {
    const asked: unknown[] = [];
    const carried = {} as Datagrams;
    const node = pretendNode('a');
    const connectDatagrams = (_: unknown, to: unknown) => {
      asked.push(to);
      return Promise.resolve(carried);
    };
    const hop = hopOf([{ ...node.spec, connector: { ...node.spec.connector, connectDatagrams } }]);
    const chain = createChain({ name: 'c', hops: [hop], direct: pretendWay().way, onNoNode: 'refuse' });
    const { way } = await chain.route(request({ network: 'udp' }), context, decider);
    expect(await way.packets!(target, context)).toBe(carried);
    expect(asked).toEqual([target]);
    await expect(way.packets!(undefined, context)).rejects.toMatchObject({ code: 'unsupported', at: 'self' });
  });

  test('a client that leaves is no fault of the node', async () => {
    const left = new AbortController();
    left.abort('left');
    const direct = pretendWay(new Set(['a.test']));
    const hop = hopOf([pretendNode('a').spec, pretendNode('b').spec], {
      selector: selector({ strategy: 'fifo' }),
    });
    const chain = createChain({ name: 'c', hops: [hop], direct: direct.way, onNoNode: 'refuse' });
    const gone = { signal: left.signal };
    const { way } = await chain.route(request(), gone, decider);
    await expect(way.dial(target, gone)).rejects.toThrow();
    expect((await chain.route(request(), context, decider)).path).toEqual(['a@a.test:8080']);
  });
});

describe('one of several nodes', () => {
  const names = async (hop: Hop, count: number, more = {}) => {
    const found: string[] = [];
    for (let i = 0; i < count; i++) {
      const selected = await hop.select(request(more), decider);
      found.push(selected.kind === 'node' ? selected.node.spec.name : 'direct');
    }
    return found;
  };
  const specs = ['a', 'b', 'c'].map((name) => pretendNode(name).spec);

  test('in turn, the first, or by the user', async () => {
    expect(await names(hopOf(specs), 4)).toEqual(['a', 'b', 'c', 'a']);
    expect(await names(hopOf(specs, { selector: selector({ strategy: 'fifo' }) }), 2)).toEqual(['a', 'a']);
    const hashed = hopOf(specs, { selector: selector({ strategy: 'hash' }) });
    const users = Array.from({ length: 30 }, (_, i) => `user-${String(i)}`);
    const chosen = new Set<string>();
    for (const user of users) {
      const [one, again] = await names(hashed, 2, { user });
      expect(again).toBe(one);
      chosen.add(one!);
    }
    expect([...chosen].sort()).toEqual(['a', 'b', 'c']);
    // The check value of CRC-32/IEEE: 0xcbf43926, which leaves 2 when divided by 3.
    expect(await names(hashed, 1, { user: '123456789' })).toEqual(['c']);
  });

  test('a higher priority first, a backup last, a network of its own', async () => {
    const ranked = [specs[0]!, { ...specs[1]!, priority: 5 }, { ...specs[2]!, priority: 9, backup: true }];
    expect(await names(hopOf(ranked), 2)).toEqual(['b', 'b']);
    const standby = [{ ...specs[0]!, backup: true }];
    expect(await names(hopOf(standby), 1)).toEqual(['a']);
    const apart = [{ ...specs[0]!, network: 'udp' as const }, specs[1]!];
    expect(await names(hopOf(apart), 2)).toEqual(['b', 'b']);
    expect(await names(hopOf(apart), 1, { network: 'udp' })).toEqual(['a']);
  });

  test('random follows the weights, and 0 is 1', () => {
    const nodes = [0, 3].map((weight, i) => createNode({ ...specs[i]!, weight }, createMark()));
    const found = [0, 0.24, 0.26, 0.99].map(
      (dice) => createStrategy('random', () => dice)(nodes, request()).spec.name,
    );
    expect(found).toEqual(['a', 'a', 'b', 'b']);
  });

  test('when all have failed one is tried all the same', async () => {
    const hop = hopOf(specs.slice(0, 2), { selector: selector({ strategy: 'fifo' }) });
    for (let i = 0; i < 2; i++) {
      const selected = await hop.select(request(), decider);
      if (selected.kind === 'node') selected.node.mark.failed();
    }
    expect(await names(hop, 1)).toEqual(['a']);
  });
});

test('a forwarder never goes past its nodes', async () => {
  const forwarder = createForwarder(hopOf([{ ...pretendNode('a').spec, bypass: passes(true) }]));
  await expect(forwarder.select(request(), context, decider)).rejects.toMatchObject({ code: 'noRoute' });
});
