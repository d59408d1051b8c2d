import { createSource } from '../../schema/source.ts';
import { createReport, formatFindings } from '../../schema/report.ts';
import type { Report } from '../../schema/report.ts';
import { parseTree } from '../../schema/parse.ts';
import { writeJson } from '@sallyport/plugin/wire';
import { combine, contractByKind } from '@sallyport/plugin';
import type { HopNode } from '@sallyport/plugin';
import { createHop } from '../../chain/hop.ts';
import type { Hop } from '../../chain/hop.ts';
import type { NodeSpec } from '../../chain/node.ts';
import { createPluginHop } from '../../chain/plugin-hop.ts';
import type { BoundNode } from '../../chain/plugin-hop.ts';
import { defaultSelector } from '../../chain/selector.ts';
import type { SelectorSpec } from '../../chain/selector.ts';
import { compileMatch } from '../../chain/matching.ts';
import { formatAddress } from '../../core/address.ts';
import { ProxyError } from '../../core/errors.ts';
import { createRuleTests } from '../../core/rules/evaluate.ts';
import type { RuleTest } from '../../core/rules/evaluate.ts';
import type { Rule } from '../../core/rules/parse.ts';
import type { BodyRule, NodeHttp } from '../../core/route.ts';
import type { ClientTls } from '../../core/tls.ts';
import type { LayerOptions, Way } from '../../core/way.ts';
import { modules } from '../../modules.ts';
import { protocolOf } from '../sections/blocks.ts';
import { node as nodeReader } from '../sections/nodes.ts';
import type {
  ForwarderNodeConfig,
  HopConfig,
  NodeConfig,
  NodeHttpConfig,
  SelectorConfig,
} from '../sections/nodes.ts';
import type { ClientTlsConfig } from '../sections/tls.ts';
import type { Policies } from './policies.ts';

/** What nodes are made with. */
export interface NodeWorld {
  readonly policies: Policies;
  /** What a `tls` block comes to. What is wrong with one that a plugin wrote goes to `found`. */
  clientTls(tls: ClientTlsConfig, found?: Report): ClientTls;
}

/** The names that one key and its plural hold. */
export function namesOf(one: string | undefined, several: readonly string[] | undefined): readonly string[] {
  return [...(one === undefined ? [] : [one]), ...(several ?? [])];
}

/** Makes a hop of the file. `prefix` names its nodes that have no name. */
export function hopOf(config: HopConfig, world: NodeWorld, prefix: string): Hop {
  const { policies } = world;
  const name = config.name ?? prefix;
  if (config.plugin !== undefined) {
    const { plugin } = config;
    const asked = policies.plugins.connect('hop', `hop ${name}`, plugin);
    const { onError } = plugin;
    const policy =
      onError === undefined ? asked : combine(contractByKind.hop, [{ name, policy: asked, onError }]);
    return createPluginHop({ name, policy, nodeOf: (json) => pluginNode(json, world) });
  }
  const rules = ruleTests(policies);
  return createHop({
    name,
    selector: selectorOf(config.selector),
    bypass: policies.group('bypass', namesOf(config.bypass, config.bypasses)),
    nodes: (config.nodes ?? []).map((node, index) => {
      const spec = nodeOf(node, world, `node-${String(index)}`, rules);
      // What a hop says counts for its nodes that say nothing.
      return {
        ...spec,
        hosts: spec.hosts ?? policies.group('hosts', namesOf(config.hosts, undefined)),
        resolver: spec.resolver ?? policies.group('resolver', namesOf(config.resolver, undefined)),
      };
    }),
  });
}

/** Makes the hop of a forwarder whose nodes stand at the service. */
export function forwarderHopOf(
  nodes: readonly ForwarderNodeConfig[],
  selector: SelectorConfig | undefined,
  world: NodeWorld,
  name: string,
): Hop {
  const rules = ruleTests(world.policies);
  return createHop({
    name,
    selector: selectorOf(selector),
    nodes: nodes.map((node, index) => nodeOf(node, world, `node-${String(index)}`, rules)),
  });
}

function selectorOf(config: SelectorConfig | undefined): SelectorSpec {
  const strategies = {
    round: 'round',
    rr: 'round',
    random: 'random',
    rand: 'random',
    fifo: 'fifo',
    ha: 'fifo',
    hash: 'hash',
  } as const;
  return {
    strategy: strategies[config?.strategy ?? 'round'],
    maxFails: config?.maxFails ?? defaultSelector.maxFails,
    failTimeoutMs: config?.failTimeoutMs ?? defaultSelector.failTimeoutMs,
  };
}

/** The rules of one hop, which ask a module once about a request. */
function ruleTests(policies: Policies): (rule: Rule) => RuleTest {
  return createRuleTests({
    bypass: (name) => policies.group('bypass', [name]),
    admission: (name) => policies.group('admission', [name]),
  });
}

function nodeOf(
  config: NodeConfig | ForwarderNodeConfig,
  world: NodeWorld,
  unnamed: string,
  rules: (rule: Rule) => RuleTest,
): NodeSpec {
  const { policies } = world;
  // A forwarder's node has none of these.
  const { connector, dialer, hosts, resolver } = config as NodeConfig;
  const spoken = protocolOf(connector?.type ?? 'http').connector!;
  const old = config as ForwarderNodeConfig;
  const older = old.protocol ?? old.host ?? old.pathStart;
  const { host, protocol, pathStart } = config.filter ?? (older === undefined ? {} : old);
  const filter =
    host === undefined && protocol === undefined && pathStart === undefined
      ? undefined
      : { host, protocol, path: pathStart };
  const matched = compileMatch({ filter, matcher: config.matcher }, rules);
  const layers = modules.stacks[(dialer?.type ?? 'tcp') as keyof typeof modules.stacks];
  const options: LayerOptions = {
    metadata: dialer?.metadata ?? {},
    clientTls: dialer?.tls === undefined ? {} : world.clientTls(dialer.tls),
  };
  return {
    name: config.name ?? unnamed,
    address: config.addr,
    network: config.network,
    // The lowest layer of a stack goes over whatever leads to the node; a path is dialled there as well.
    dialer: (under) => layers.slice(1).reduce<Way>((way, layer) => layer.wrap(way, options), under),
    connector: spoken,
    options: {
      metadata: connector?.metadata ?? {},
      ...(connector?.auth !== undefined && { auth: connector.auth }),
      ...(connector?.tls !== undefined && { tls: world.clientTls(connector.tls) }),
      node: config.addr,
    },
    bypass: policies.group('bypass', namesOf(config.bypass, config.bypasses)),
    hosts: policies.group('hosts', namesOf(hosts, undefined)),
    resolver: policies.group('resolver', namesOf(resolver, undefined)),
    ...matched,
    weight: config.metadata?.weight ?? 1,
    backup: config.metadata?.backup ?? false,
    maxFails: config.metadata?.maxFails,
    failTimeoutMs: config.metadata?.failTimeoutMs,
    http: httpOf(config.http, old.auth, world),
    tls: config.tls && world.clientTls(config.tls),
  };
}

function httpOf(
  config: NodeHttpConfig | undefined,
  auth: NodeHttp['auth'],
  { policies }: NodeWorld,
): NodeHttp | undefined {
  if (config === undefined && auth === undefined) return undefined;
  const rules = (list: NodeHttpConfig['rewriteRequestBody']): BodyRule[] =>
    (list ?? []).map(({ type, match, replacement, rewriter, maxChunkBytes }) => ({
      // GOST's defaults: a page, or whatever a rewriter is asked about.
      type: type ?? (rewriter === undefined ? 'text/html' : '*'),
      match,
      replacement: replacement ?? '',
      rewriter: rewriter === undefined ? undefined : policies.group('rewriter', [rewriter]),
      maxChunkBytes: maxChunkBytes ?? 1024 * 1024,
    }));
  return {
    host: config?.host ?? '',
    requestHeader: config?.requestHeader ?? [],
    responseHeader: config?.responseHeader ?? [],
    rewriteUrl: (config?.rewriteUrl ?? []).map(({ match, replacement }) => ({
      match,
      replacement: replacement ?? '',
    })),
    rewriteRequestBody: rules(config?.rewriteRequestBody),
    rewriteResponseBody: rules(config?.rewriteResponseBody),
    failed: config?.failCodes ?? (() => false),
    auth: config?.auth ?? auth,
  };
}

/** A node that a plugin named: read as one of a file would be, strictly. */
function pluginNode(json: HopNode, world: NodeWorld): Promise<BoundNode> {
  const report = createReport();
  const source = createSource('the plugin’s node', writeJson(json));
  const tree = parseTree(source, report, {});
  // What a newer GOST knows of a node and we do not is nothing to fail for; what is wrong is.
  const config = tree && nodeReader(tree, '', { report, lenient: true });
  const unknown = config === undefined ? [] : unknownNames(config, world);
  const readable = config !== undefined && report.errors.length === 0 && unknown.length === 0;
  const own = { ...world, clientTls: (block: ClientTlsConfig) => world.clientTls(block, report) };
  const spec = readable ? nodeOf(config, own, config.name ?? 'node', ruleTests(world.policies)) : undefined;
  // Files that its `tls` blocks name have been read by now.
  if (config === undefined || spec === undefined || report.errors.length > 0) {
    const why = [...formatFindings(report.errors, report.more), ...unknown].join('; ');
    return Promise.reject(
      new ProxyError('noRoute', 'plugin', `the node ${json.addr} of the plugin cannot be used: ${why}`, {
        status: 503,
      }),
    );
  }
  const server = `${formatAddress(config.addr)} ${config.connector?.type ?? 'http'} ${config.dialer?.type ?? 'tcp'}`;
  return Promise.resolve({ spec, server });
}

/** The names of a plugin's node that nothing here has: a rule that is not there would be no rule. */
function unknownNames({ bypass, bypasses, hosts, resolver }: NodeConfig, { policies }: NodeWorld): string[] {
  const missing = (kind: 'bypass' | 'hosts' | 'resolver', names: readonly string[]) =>
    policies.unknown(kind, names).map((name) => `${kind} \`${name}\` is not defined here`);
  return [
    ...missing('bypass', namesOf(bypass, bypasses)),
    ...missing('hosts', namesOf(hosts, undefined)),
    ...missing('resolver', namesOf(resolver, undefined)),
  ];
}
