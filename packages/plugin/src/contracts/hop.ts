import { defineContract, type Method } from '../contract.ts';
import { PluginError } from '../errors.ts';
import { Hop, type SelectReply, type SelectRequest } from '../gen/hop.ts';
import { parseJson, writeJson, type JsonObject, type JsonValue } from '../wire/go-json.ts';
import { addressKey, keyOf } from './cache-key.ts';

/** A connection, or a request at a forwarder, that needs a node. Everything but `client` may be empty. */
export interface HopAsk {
  /** `tcp` or `udp`. */
  readonly network: string;
  /** The target as it will be dialled. */
  readonly target: string;
  /** The target as the client asked for it. */
  readonly host: string;
  readonly path: string;
  readonly user: string;
  /** The client's source address, `ip:port`. */
  readonly client: string;
}

/** A node with the keys of a configuration file's node. Its integers are exact; `addr` is never empty. */
export type HopNode = JsonObject & { readonly addr: string };

const select: Method<HopAsk, HopNode | undefined, SelectRequest, SelectReply> = {
  ...Hop.methods.Select,
  wire: {
    request: ({ network, target, host, path, user, client }) => {
      return { network, addr: target, host, path, client: user, src: client };
    },
    ask: ({ network, addr, host, path, client, src }) => {
      return { network, target: addr, host, path, user: client, client: src };
    },
    answer: ({ node }) => (node.length === 0 ? undefined : nodeOf(parseJson(node), 'badReply')),
    // A GOST proxy fails on {}; on no bytes it would connect directly.
    reply: (node) => ({
      node: Buffer.from(writeJson(node === undefined ? {} : (nodeOf(node, 'internal') ?? {}))),
    }),
  },
  http: {
    verb: 'POST',
    request: ['network', 'addr', 'host', 'path', 'client', 'src'],
    reply: ['node'],
    replyBody: 'node',
  },
  cacheKey: ({ network, target, host, path, user, client }) =>
    keyOf(network, target, host, path, user, addressKey(client)),
  negative: (node) => node === undefined,
  coalesce: false,
  idempotent: true,
  timeoutMs: 1_000,
  onError: 'refuse',
};

/** No node is: null, an object without `addr`, or one whose `addr` is null or empty. */
function nodeOf(value: JsonValue, code: 'badReply' | 'internal'): HopNode | undefined {
  if (value === null) return undefined;
  if (typeof value !== 'object' || Array.isArray(value))
    throw new PluginError(code, 'a node must be an object');
  const node = value as JsonObject;
  const addr = Object.hasOwn(node, 'addr') ? node['addr'] : undefined;
  if (addr === undefined || addr === null || addr === '') return undefined;
  if (typeof addr !== 'string') throw new PluginError(code, "a node's addr must be a string");
  return node as HopNode;
}

/** Through which node? `undefined` is no node: the connection fails, it is never made directly. */
export const hop = defineContract({
  kind: 'hop',
  section: 'hops',
  service: Hop.typeName,
  methods: { select },
  combine: 'one',
});
