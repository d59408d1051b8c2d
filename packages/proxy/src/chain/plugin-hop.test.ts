import type { HopNode } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { decider, pretendNode, request } from './chain.fixture.ts';
import { createPluginHop } from './plugin-hop.ts';
import type { PluginHopSpec } from './plugin-hop.ts';

function scene(more: Partial<PluginHopSpec> = {}) {
  const asks: unknown[] = [];
  const made: HopNode[] = [];
  const nodes: ReturnType<typeof pretendNode>[] = [];
  let answer: HopNode | undefined = { addr: 'n.test:1', name: 'n' };
  let clock = 0;
  const hop = createPluginHop({
    name: 'h',
    policy: {
      select(ask) {
        asks.push(ask);
        return answer;
      },
    },
    nodeOf(json) {
      made.push(json);
      const node = pretendNode(json.addr.split('.')[0]!);
      nodes.push(node);
      return Promise.resolve({ spec: node.spec, server: json.addr });
    },
    now: () => clock,
    ...more,
  });
  const select = async () => {
    const selected = await hop.select(request({ user: 'ada' }), decider);
    if (selected.kind !== 'node') throw new Error('expected a node');
    return selected.node;
  };
  return {
    ...{ hop, asks, made, nodes, select },
    say: (node: HopNode | undefined) => (answer = node),
    at: (ms: number) => (clock = ms),
  };
}

describe('a hop that asks a plugin', () => {
  test('asks once for each connection, with all that is known', async () => {
    const { select, asks } = scene();
    await select();
    await select();
    expect(asks).toHaveLength(2);
    expect(asks[0]).toEqual({
      network: 'tcp',
      target: 'target.test:443',
      host: 'target.test:443',
      path: '',
      user: 'ada',
      client: '192.0.2.1:1000',
    });
  });

  test('the same node in other words is the same node', async () => {
    const { select, say, made } = scene();
    const first = await select();
    say({ name: 'n', addr: 'n.test:1' });
    expect(await select()).toBe(first);
    say({ name: 'n', addr: 'n.test:1', metadata: { weight: '2' } });
    expect(await select()).not.toBe(first);
    expect(made).toHaveLength(2);
  });

  test('no node, and a plugin that is gone, are no way directly', async () => {
    const { hop, say } = scene();
    say(undefined);
    await expect(hop.select(request(), decider)).rejects.toMatchObject({ code: 'noRoute', status: 503 });
    const gone = scene({
      policy: {
        select: () => {
          throw new Error('gone');
        },
      },
    });
    await expect(gone.hop.select(request(), decider)).rejects.toMatchObject({ code: 'couldNotAsk' });
  });

  test('a new password does not hide that the server is dead', async () => {
    const { select, say } = scene();
    say({ addr: 'n.test:1', connector: { auth: { password: '1' } } });
    (await select()).mark.failed();
    say({ addr: 'n.test:1', connector: { auth: { password: '2' } } });
    expect((await select()).mark.fails).toBe(1);
    say({ addr: 'other.test:1' });
    expect((await select()).mark.fails).toBe(0);
  });

  test('nodes that nobody uses are closed, and so is one too many, the least used first', async () => {
    const { select, say, at, made } = scene({ maxNodes: 2, idleMs: 1000 });
    for (const name of ['a', 'b', 'a', 'c']) {
      say({ addr: `${name}.test:1` });
      await select();
    }
    expect(made).toHaveLength(3);
    // `b` was the least used and is gone.
    say({ addr: 'a.test:1' });
    await select();
    expect(made).toHaveLength(3);
    say({ addr: 'b.test:1' });
    await select();
    expect(made).toHaveLength(4);
    at(2000);
    say({ addr: 'a.test:1' });
    await select();
    say({ addr: 'b.test:1' });
    await select();
    expect(made.length).toBeGreaterThan(4);
  });
});
