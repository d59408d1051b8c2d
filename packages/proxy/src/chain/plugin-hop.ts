import { createHash } from 'node:crypto';
import type { HopNode } from '@sallyport/plugin';
import { formatAddress } from '../core/address.ts';
import type { PolicyOf } from '../core/policies.ts';
import type { Decider, RouteRequest } from '../core/route.ts';
import type { Hop, Selected } from './hop.ts';
import { noNode } from './hop.ts';
import { createMarks } from './marks.ts';
import { closeNode, createNode } from './node.ts';
import type { Node, NodeSpec } from './node.ts';

/** What a hop whose nodes a plugin names is made of. */
export interface PluginHopSpec {
  readonly name: string;
  readonly policy: PolicyOf<'hop'>;
  /** Reads a node that a plugin named. Rejects with ProxyError that says what is wrong with it. */
  readonly nodeOf: (json: HopNode) => Promise<BoundNode>;
  /** Default 4,096: a plugin that gives each user a password of its own has so many users at once. */
  readonly maxNodes?: number;
  /** A node that nobody used for so long is dropped. Default 10 minutes. */
  readonly idleMs?: number;
  readonly now?: () => number;
}

/** A plugin's node that has been read. */
export interface BoundNode {
  readonly spec: NodeSpec;
  /** What kind of server it is: address, connector, dialer. Its failures are kept by that. */
  readonly server: string;
}

interface Kept {
  readonly node: Node;
  usedMs: number;
}

/**
 * Makes a hop that asks a plugin for a node, once for each connection. A node that a plugin has named before, word for
 * word, is the same node again, with what its dialer keeps open. Where the plugin names none there is no route; the
 * connection is never made directly instead.
 */
export function createPluginHop(spec: PluginHopSpec): Hop {
  const { name, policy, nodeOf, maxNodes = 4096, idleMs = 600_000, now = () => performance.now() } = spec;
  const kept = new Map<string, Kept>();
  const marks = createMarks(maxNodes);
  const drop = (key: string) => {
    const old = kept.get(key);
    kept.delete(key);
    // What it carries lives on; only what it kept for later is closed.
    if (old !== undefined) void closeNode(old.node);
  };
  /** The map is in the order of use, so that the idle ones are in front. */
  const sweep = () => {
    for (const [key, { usedMs }] of kept) {
      if (kept.size <= maxNodes && now() - usedMs < idleMs) return;
      drop(key);
    }
  };
  const bind = async (json: HopNode): Promise<Node> => {
    const key = createHash('sha256').update(canonical(json)).digest('base64');
    const found = kept.get(key);
    if (found !== undefined) {
      kept.delete(key);
      kept.set(key, found);
      found.usedMs = now();
      sweep();
      return found.node;
    }
    const { spec: node, server } = await nodeOf(json);
    // Another connection may have been quicker.
    const made = kept.get(key) ?? { node: createNode(node, marks.of(server)), usedMs: 0 };
    made.usedMs = now();
    kept.set(key, made);
    sweep();
    return made.node;
  };
  return {
    name,
    async select(request, decider): Promise<Selected> {
      const json = await askPlugin(policy, request, decider);
      if (json === undefined) throw noNode(name, request);
      return { kind: 'node', node: await bind(json) };
    },
    async close() {
      const nodes = [...kept.values()];
      kept.clear();
      await Promise.all(nodes.map(({ node }) => closeNode(node)));
    },
  };
}

async function askPlugin(
  policy: PolicyOf<'hop'>,
  { network, target, host, seen, forwards = false, user, client }: RouteRequest,
  decider: Decider,
): Promise<HopNode | undefined> {
  const written = (address: typeof target) => (address === undefined ? '' : formatAddress(address));
  const ask = {
    // A forwarder tells what was seen of a request, and nothing else, as in GOST.
    network: forwards ? '' : network,
    target: forwards ? '' : written(target),
    host: forwards ? (seen?.authority ?? '') : written(host),
    path: forwards ? (seen?.path ?? '') : '',
    user,
    client: formatAddress(client),
  };
  return decider.decide({
    module: 'hop',
    about: ask.host === '' ? ask.target : ask.host,
    ask: (call) => policy.select(ask, call),
    tell: (node) =>
      node === undefined ? { outcome: 'no', answer: 'no node' } : { outcome: 'yes', answer: node.addr },
  });
}

/** The same text for the same node, whatever the order of its keys. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`).join(',')}}`;
}
