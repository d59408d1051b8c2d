import { isIP } from 'node:net';
import { canonicalTarget, formatAddress } from '../core/address.ts';
import type { Accept, Address } from '../core/conn.ts';
import type { Datagrams } from '../core/datagrams.ts';
import { ProxyError } from '../core/errors.ts';
import { resolveName } from '../core/names.ts';
import type { PolicyOf } from '../core/policies.ts';
import type { Connector, ConnectorOptions } from '../core/protocol.ts';
import type { Decider, NodeHttp, RouteRequest } from '../core/route.ts';
import type { ClientTls } from '../core/tls.ts';
import { withoutRules } from '../core/way.ts';
import type { BindRequest, Context, Way } from '../core/way.ts';
import type { Mark } from './marks.ts';

/** What a node is made of. */
export interface NodeSpec {
  readonly name: string;
  readonly address: Address;
  /** Only connections of this network go through it. Default both. */
  readonly network?: 'tcp' | 'udp' | undefined;
  /** The layers that carry bytes to it, over the way that leads there. */
  readonly dialer: (under: Way) => Way;
  /** What is spoken to it. */
  readonly connector: Connector;
  readonly options: ConnectorOptions;
  readonly bypass?: PolicyOf<'bypass'> | undefined;
  readonly hosts?: PolicyOf<'hosts'> | undefined;
  readonly resolver?: PolicyOf<'resolver'> | undefined;
  /** Which requests it is for; absent: all. */
  readonly matches?: ((request: RouteRequest, decider: Decider) => boolean | Promise<boolean>) | undefined;
  /** Of several that a request matches those with the highest are chosen from; it may be negative. Default 0. */
  readonly priority?: number;
  /** How often it is chosen by selector `random`. Default 1, and what 0 means. */
  readonly weight?: number;
  /** True: chosen only where no other is left. */
  readonly backup?: boolean;
  /** In place of the selector's. */
  readonly maxFails?: number | undefined;
  readonly failTimeoutMs?: number | undefined;
  /** Of a forwarder: how requests are changed on their way to it. */
  readonly http?: NodeHttp | undefined;
  /** Of a forwarder: it is spoken to over TLS. */
  readonly tls?: ClientTls | undefined;
}

/** A node as a hop keeps it: what it is, how it has fared, and the ways that lead to it. */
export interface Node {
  readonly spec: NodeSpec;
  readonly mark: Mark;
  /** What was made for it, by the way beneath. */
  readonly ways: Map<Way, Beneath>;
}

/** A node over one way that leads to it. */
interface Beneath {
  readonly stack: Way;
  /** By the address that the node's name had. Kept, so that what lies above finds the same way beneath it again. */
  readonly through: Map<string, Way>;
}

/** Ways that are kept for one node; of more the one that was used longest ago goes, and what it carries lives on. */
const maxWays = 1024;

/** Addresses that one name may have at a time. */
const maxAddresses = 64;

/** Makes a node of a hop. Whoever drops it calls {@link closeNode}. */
export function createNode(spec: NodeSpec, mark: Mark): Node {
  return { spec, mark, ways: new Map() };
}

/** Ends what its stacks keep open. */
export async function closeNode({ ways }: Node): Promise<void> {
  const open = [...ways.values()];
  ways.clear();
  await Promise.all(open.map(({ stack }) => stack.close()));
}

/** `name@address`, as routes are told. */
export function nodeLabel({ spec }: Node): string {
  return `${spec.name}@${formatAddress(spec.address)}`;
}

/** The way through a node, over the one that leads to it. The node's own name is looked up now. */
export async function wayThrough(node: Node, under: Way, user: string, decider: Decider): Promise<Way> {
  const { spec } = node;
  const { hosts, resolver } = spec;
  const address =
    spec.address.port === 0
      ? spec.address
      : await resolveName(spec.address, { hosts, resolver, user, decider });
  const key = formatAddress(address);
  const beneath = node.ways.get(under) ?? { stack: spec.dialer(under), through: new Map<string, Way>() };
  const way = beneath.through.get(key) ?? through(node, beneath.stack, under, address);
  touch(beneath.through, key, way, maxAddresses);
  const dropped = touch(node.ways, under, beneath, maxWays);
  if (dropped !== undefined) void dropped.stack.close();
  return way;
}

/** Puts an entry last. Answers the first one where there are too many. */
function touch<K, V>(map: Map<K, V>, key: K, value: V, max: number): V | undefined {
  map.delete(key);
  map.set(key, value);
  if (map.size <= max) return undefined;
  const [oldest, dropped] = map.entries().next().value!;
  map.delete(oldest);
  return dropped;
}

function through(node: Node, stack: Way, under: Way, address: Address): Way {
  const { connector, options } = node.spec;
  const reach = async (context: Context) => {
    try {
      const conn = await stack.dial(address, withoutRules(context));
      node.mark.succeeded();
      return conn;
    } catch (error) {
      // A node beneath could not be reached, which says nothing of this one.
      if (error instanceof NodeError) throw error;
      if (!hasLeft(context.signal)) node.mark.failed();
      throw asNode(node, error);
    }
  };
  return {
    async dial(to, context) {
      return connector.connect(await reach(context), to, options, context);
    },
    ...((connector.associate ?? connector.connectDatagrams) !== undefined && {
      async packets(to: Address | undefined, context: Context) {
        const { associate, connectDatagrams } = connector;
        if (to !== undefined && connectDatagrams !== undefined)
          return connectDatagrams.call(connector, await reach(context), to, options, context);
        if (associate === undefined) {
          const message = `the node ${nodeLabel(node)} carries datagrams to one target, and not to any`;
          throw new ProxyError('unsupported', 'self', message, { status: 501 });
        }
        const datagrams = await associate.call(connector, await reach(context), under, options, context);
        return to === undefined ? datagrams : toOnePeer(datagrams, to);
      },
    }),
    ...(connector.bind !== undefined && {
      async bind(request: BindRequest, accept: Accept, context: Context) {
        return connector.bind!(await reach(context), request, accept, options, context);
      },
    }),
    // The stack belongs to the node, which outlives routes.
    close: () => Promise.resolve(),
  };
}

/** True where nobody waits any more because the client left, which says nothing of the node. */
function hasLeft(signal: AbortSignal): boolean {
  return signal.aborted && signal.reason !== 'deadline';
}

/** A node could not be reached. */
class NodeError extends ProxyError {}

/** The error of a node says which node. */
function asNode(node: Node, cause: unknown): ProxyError {
  const error = ProxyError.from(cause);
  if (error.at !== 'upstream') return error;
  return new NodeError(error.code, error.at, `node ${nodeLabel(node)}: ${error.message}`, {
    cause: error,
    retryable: true,
    // To the client the chain is one thing that could not be had.
    status: 503,
  });
}

/** An association that sends to one peer and hears from it alone; who a name is, only the node knows. */
function toOnePeer(under: Datagrams, to: Address): Datagrams {
  const isPeer = (peer: Address) => isIP(to.host) === 0 || isSame(peer, to);
  return {
    kind: 'datagrams',
    local: under.local,
    remote: to,
    closed: under.closed,
    receive: (each) => {
      under.receive((data, peer) => {
        if (isPeer(peer)) each(data, to);
      });
    },
    send: (data) => under.send(data, to),
    close: () => {
      under.close();
    },
  };
}

function isSame(peer: Address, to: Address): boolean {
  if (peer.port !== to.port) return false;
  if (peer.host === to.host) return true;
  try {
    return canonicalTarget(peer).host === to.host;
  } catch {
    // Whoever has no address is not the one that was asked for.
    return false;
  }
}
