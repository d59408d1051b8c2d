import { crc32 } from 'node:zlib';
import type { RouteRequest } from '../core/route.ts';
import type { Node } from './node.ts';

/** How one of several nodes is chosen. */
export interface SelectorSpec {
  readonly strategy: 'round' | 'random' | 'fifo' | 'hash';
  /** Failures in a row after which a node is left alone. Default 1, as in GOST. */
  readonly maxFails: number;
  /** For how long. Default 10 s, as in GOST. */
  readonly failTimeoutMs: number;
}

export const defaultSelector: SelectorSpec = { strategy: 'round', maxFails: 1, failTimeoutMs: 10_000 };

/** Chooses one of at least one. */
export type Strategy = (nodes: readonly Node[], request: RouteRequest) => Node;

/** Makes the strategy of one hop; `round` counts on from one connection to the next. */
export function createStrategy(strategy: SelectorSpec['strategy'], random = Math.random): Strategy {
  switch (strategy) {
    case 'round': {
      let next = 0;
      return (nodes) => nodes[next++ % nodes.length]!;
    }
    case 'fifo':
      return (nodes) => nodes[0]!;
    case 'hash':
      return (nodes, { user, hash, client }) => {
        // GOST's sum, so that a user stays with the same node when one proxy takes over from the other.
        const key = user !== '' ? user : (hash ?? client.host);
        return nodes[crc32(key) % nodes.length]!;
      };
    case 'random':
      return (nodes) => {
        // As in GOST 0 means: as if it were 1.
        const weights = nodes.map(({ spec }) => Math.max(1, spec.weight ?? 1));
        let left = random() * weights.reduce((sum, weight) => sum + weight, 0);
        for (const [index, weight] of weights.entries()) {
          left -= weight;
          if (left < 0) return nodes[index]!;
        }
        return nodes.at(-1)!;
      };
  }
}

/** True where the node is left alone for now. */
function isDown({ mark, spec }: Node, { maxFails, failTimeoutMs }: SelectorSpec): boolean {
  return mark.isDown(spec.maxFails ?? maxFails, spec.failTimeoutMs ?? failTimeoutMs);
}

/**
 * Of nodes that a request may go through, the one that it goes through: the highest priority first, those that are down
 * and those that stand by only where no other is left, the rest by the strategy.
 */
export function choose(
  nodes: readonly Node[],
  request: RouteRequest,
  selector: SelectorSpec,
  strategy: Strategy,
): Node | undefined {
  if (nodes.length <= 1) return nodes[0];
  const up = nodes.filter((node) => !isDown(node, selector));
  // A node that failed a moment ago is better than none.
  if (up.length === 0) return nodes[0];
  const primary = up.filter(({ spec }) => spec.backup !== true);
  const usable = primary.length > 0 ? primary : up;
  const highest = Math.max(...usable.map(({ spec }) => spec.priority ?? 0));
  return strategy(
    usable.filter(({ spec }) => (spec.priority ?? 0) === highest),
    request,
  );
}
