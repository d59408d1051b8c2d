import { formatAddress } from '../core/address.ts';
import { ProxyError } from '../core/errors.ts';
import type { PolicyOf } from '../core/policies.ts';
import type { Decider, RouteRequest } from '../core/route.ts';
import { createMark } from './marks.ts';
import { closeNode, createNode, nodeLabel } from './node.ts';
import type { Node, NodeSpec } from './node.ts';
import { choose, createStrategy } from './selector.ts';
import type { SelectorSpec } from './selector.ts';

/** What a hop says of one connection: go through this node, or past the rest of the chain. */
export type Selected = { readonly kind: 'node'; readonly node: Node } | { readonly kind: 'direct' };

/** One step of a chain, or the nodes of a forwarder. */
export interface Hop {
  readonly name: string;
  /** Rejects with ProxyError `noRoute` where no node is for this request, and `couldNotAsk`. */
  select(request: RouteRequest, decider: Decider): Promise<Selected>;
  close(): Promise<void>;
}

/** What a hop whose nodes stand in the file is made of. */
export interface HopSpec {
  readonly name: string;
  readonly nodes: readonly NodeSpec[];
  readonly selector: SelectorSpec;
  readonly bypass?: PolicyOf<'bypass'> | undefined;
}

/** Makes a hop whose nodes stand in the file. */
export function createHop({ name, nodes: specs, selector, bypass }: HopSpec): Hop {
  const nodes = specs.map((spec) => createNode(spec, createMark()));
  const strategy = createStrategy(selector.strategy);
  return {
    name,
    async select(request, decider) {
      if (bypass !== undefined && (await isPassedBy(bypass, request, decider, `hop ${name}`)))
        return { kind: 'direct' };
      const usable: Node[] = [];
      let passedBy = 0;
      for (const node of nodes) {
        const { spec } = node;
        if (spec.network !== undefined && spec.network !== request.network) continue;
        // Most nodes ask nobody, and there may be many.
        const matches = spec.matches?.(request, decider) ?? true;
        if (!(typeof matches === 'boolean' ? matches : await matches)) continue;
        const isPassed =
          spec.bypass !== undefined &&
          (await isPassedBy(spec.bypass, request, decider, `node ${nodeLabel(node)}`));
        if (isPassed) passedBy++;
        else usable.push(node);
      }
      const node = choose(usable, request, selector, strategy);
      if (node !== undefined) return { kind: 'node', node };
      // Every node that could have been chosen says that this target does not need it.
      if (passedBy > 0) return { kind: 'direct' };
      throw noNode(name, request);
    },
    async close() {
      await Promise.all(nodes.map(closeNode));
    },
  };
}

/** The error of a request that no node of a hop is for. */
export function noNode(hop: string, { host }: RouteRequest): ProxyError {
  const where = host === undefined ? '' : ` for ${formatAddress(host)}`;
  return new ProxyError('noRoute', 'self', `hop ${hop} has no node${where}`, { status: 503 });
}

/** Whether the target goes past a hop or node. Could not ask is not "go past it". */
async function isPassedBy(
  bypass: PolicyOf<'bypass'>,
  { network, target, host, user }: RouteRequest,
  decider: Decider,
  where: string,
): Promise<boolean> {
  if (target === undefined) return false;
  const about = formatAddress(target);
  const asked = host === undefined ? '' : formatAddress(host);
  return decider.decide({
    module: 'bypass',
    about,
    status: 503,
    ask: (call) => bypass.bypass({ target: about, user, network, host: asked, path: '', service: '' }, call),
    // Going past a node is a way like another.
    tell: (passed) => ({ outcome: 'yes', answer: passed ? `not through ${where}` : `through ${where}` }),
  });
}
