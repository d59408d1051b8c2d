import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pretendNode, request } from './chain.fixture.ts';
import { createMark } from './marks.ts';
import { createNode } from './node.ts';
import type { Node } from './node.ts';
import { choose, createStrategy, defaultSelector } from './selector.ts';

/** A node of this priority; `!` is down, `~` stands by. */
function nodeOf(written: string, index: number): Node {
  const spec = {
    ...pretendNode(`${String(index)}:${written}`).spec,
    priority: parseInt(written, 10),
    backup: written.includes('~'),
  };
  const node = createNode(spec, createMark());
  if (written.includes('!')) node.mark.failed();
  return node;
}
const nodesOf = (written: string) => written.split(' ').map(nodeOf);
const chosen = (nodes: readonly Node[], times = 6) => {
  const strategy = createStrategy('round');
  const found = new Set<string>();
  for (let i = 0; i < times; i++) {
    const node = choose(nodes, request(), defaultSelector, strategy);
    if (node !== undefined) found.add(node.spec.name.replace(/^\d+:/, ''));
  }
  return [...found];
};

describe('by priority', () => {
  test.each([
    ['0 0 0', ['0', '0', '0']],
    ['0 5 3', ['5']],
    ['5 0 5', ['5', '5']],
    // Negative ones are chosen from only where no other is left.
    ['0 -1', ['0']],
    ['-2 -1', ['-1']],
    ['-1 -1 -2', ['-1', '-1']],
    // Who is down gives way, and what stands by does, whatever its priority.
    ['0 5! 3', ['3']],
    ['0 9~ 3', ['3']],
    ['0 9~ 9', ['9']],
    ['-1 9~', ['-1']],
    ['-1! 2~ 9~', ['9~']],
    ['0! 5~', ['5~']],
    // When all are down one is tried all the same, the first as in GOST.
    ['0! 5! 3!', ['0!']],
    ['0!', ['0!']],
  ])('%s: %s', (written, expected) => {
    const nodes = nodesOf(written);
    const count = expected.filter((one) => one === expected[0]).length;
    const strategy = createStrategy('round');
    const found = new Set(
      Array.from({ length: 12 }, () => choose(nodes, request(), defaultSelector, strategy)),
    );
    expect([...found].map((node) => node!.spec.name.replace(/^\d+:/, ''))).toEqual(expected);
    expect(found.size).toBe(count);
  });

  test('none of none', () => {
    expect(choose([], request(), defaultSelector, createStrategy('round'))).toBeUndefined();
  });

  test('is what GOST’s tiers come to', () => {
    const one = fc
      .tuple(fc.integer({ min: -2, max: 3 }), fc.boolean(), fc.boolean())
      .map(([priority, down, backup]) => `${String(priority)}${down ? '!' : ''}${backup ? '~' : ''}`);
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 6 }), (written) => {
        const nodes = written.map(nodeOf);
        expect(chosen(nodes, 12).sort()).toEqual([...new Set(tiers(written))].sort());
      }),
    );
  });
});

/** Step by step as gost.md has it, the word of each node that may be chosen. */
function tiers(all: readonly string[]): readonly string[] {
  const up = all.filter((node) => !node.includes('!'));
  if (up.length === 0) return all.slice(0, 1);
  const primary = up.some((node) => !node.includes('~'));
  const priorities = [...new Set(up.map((node) => parseInt(node, 10)))].sort((a, b) => b - a);
  for (const priority of priorities) {
    const tier = up.filter((node) => parseInt(node, 10) === priority);
    const ready = tier.filter((node) => !node.includes('~'));
    if (ready.length > 0) return ready;
    if (!primary) return tier;
  }
  return [];
}
