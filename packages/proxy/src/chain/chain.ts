import type { Chain, Forwarder } from '../core/route.ts';
import { ProxyError } from '../core/errors.ts';
import type { Way } from '../core/way.ts';
import type { Hop } from './hop.ts';
import { noNode } from './hop.ts';
import { nodeLabel, wayThrough } from './node.ts';

/** What a chain is made of. The hops may serve other chains, too: whoever made them closes them. */
export interface ChainSpec {
  readonly name: string;
  readonly hops: readonly Hop[];
  /** The way to the first node. */
  readonly direct: Way;
  /** `direct`: as in GOST a hop without a node, or that could not be asked, ends the chain there. Default `refuse`. */
  readonly onNoNode: 'refuse' | 'direct';
}

/** Makes a chain: each hop is a layer over the one before. */
export function createChain({ name, hops, direct, onNoNode }: ChainSpec): Chain {
  return {
    name,
    async route(request, _context, decider) {
      let way = direct;
      const path: string[] = [];
      for (const hop of hops) {
        try {
          const selected = await hop.select(request, decider);
          if (selected.kind === 'direct') break;
          way = await wayThrough(selected.node, way, request.user, decider);
          path.push(nodeLabel(selected.node));
        } catch (error) {
          const { code } = ProxyError.from(error);
          if (onNoNode === 'direct' && (code === 'noRoute' || code === 'couldNotAsk')) break;
          throw error;
        }
      }
      return { way, path };
    },
    close: () => Promise.resolve(),
  };
}

/** Makes a forwarder of a hop. Whoever made the hop closes it. */
export function createForwarder(hop: Hop): Forwarder {
  return {
    async select(request, _context, decider) {
      const selected = await hop.select({ ...request, forwards: true }, decider);
      // A forwarder has nowhere else to go.
      if (selected.kind === 'direct') throw noNode(hop.name, request);
      const { spec, mark } = selected.node;
      return {
        name: spec.name,
        address: spec.address,
        http: spec.http,
        tls: spec.tls,
        failed: () => {
          mark.failed();
        },
        succeeded: () => {
          mark.succeeded();
        },
      };
    },
    close: () => Promise.resolve(),
  };
}
