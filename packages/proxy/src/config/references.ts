import { namesInRule } from '../core/rules/parse.ts';
import { didYouMean } from '../schema/nearest.ts';
import type { Located } from '../schema/read.ts';
import type { Report } from '../schema/report.ts';
import { formatPlace } from '../schema/source.ts';
import type { Place } from '../schema/source.ts';
import { mergeConfigs } from './merge.ts';
import type { Config } from './merge.ts';
import type { ForwarderNodeConfig, HopConfig, NodeConfig } from './sections/nodes.ts';
import type { FileConfig } from './sections/services.ts';

/** The lists that something may name an entry of, and what an entry is called. */
const lists = {
  authers: 'auther',
  admissions: 'admission',
  bypasses: 'bypass',
  hosts: 'hosts',
  resolvers: 'resolver',
  limiters: 'limiter',
  climiters: 'climiter',
  rlimiters: 'rlimiter',
  ingresses: 'ingress',
  routers: 'router',
  sds: 'sd',
  recorders: 'recorder',
  observers: 'observer',
  rewriters: 'rewriter',
  chains: 'chain',
  hops: 'hop',
} as const;
type ListName = keyof typeof lists;

/** Something that may have a name, and stands somewhere. */
type Named = Located & { readonly name?: string };

/**
 * Merges the files and looks up every name that one thing calls another by. A name that nobody has is an error (GOST
 * lets everybody in, or goes directly), and so is a name that two have.
 */
export function resolveConfig(files: readonly FileConfig[], report: Report): Config {
  const config = mergeConfigs(files);
  const known = new Map<ListName, readonly string[]>();
  for (const [list, what] of Object.entries(lists) as [ListName, string][]) {
    const named: readonly Named[] = config[list];
    unique(what, named, report);
    known.set(list, [...new Set(named.flatMap(({ name }) => name ?? []))]);
  }
  unique('service', config.services, report);
  const lookUp = new References(known, config.compat.has('missingReferences'), report);
  for (const service of config.services) {
    const at = lookUp.from(service, service.name);
    at('admissions', 'admission', 'admissions');
    at('bypasses', 'bypass', 'bypasses');
    at('resolvers', 'resolver');
    at('hosts', 'hosts');
    at('limiters', 'limiter');
    at('climiters', 'climiter');
    at('rlimiters', 'rlimiter');
    at('observers', 'observer');
    for (const use of service.recorders ?? []) lookUp.from(use, service.name)('recorders', 'name');
    if (service.listener !== undefined) lookUp.from(service.listener, service.name)('chains', 'chain');
    if (service.handler !== undefined) {
      const handler = lookUp.from(service.handler, service.name);
      handler('authers', 'auther', 'authers');
      handler('limiters', 'limiter');
      handler('observers', 'observer');
      handler('chains', 'chain');
      const { metadata } = service.handler;
      if (metadata !== undefined) {
        // Only the handlers of tunnels and private networks have these keys.
        const at = lookUp.from(metadata, service.name);
        at('ingresses', 'ingress');
        at('sds', 'sd');
        at('routers', 'router');
        for (const entrypoint of (metadata['entrypoints'] as readonly Located[] | undefined) ?? [])
          lookUp.from(entrypoint, service.name)('ingresses', 'ingress');
      }
    }
    if (service.forwarder !== undefined) {
      lookUp.from(service.forwarder, service.name)('hops', 'hop');
      for (const node of service.forwarder.nodes ?? []) nodeNames(node, lookUp);
    }
  }
  for (const hop of config.hops) hopNames(hop, lookUp);
  for (const chain of config.chains) {
    for (const hop of chain.hops ?? []) {
      // As in GOST, a hop of a chain without nodes and plugin stands for one of the list.
      if (hop.nodes === undefined && hop.plugin === undefined)
        lookUp.from(hop, chain.name ?? '')('hops', 'name');
      else hopNames(hop, lookUp);
    }
  }
  for (const resolver of config.resolvers) {
    for (const server of resolver.nameservers ?? [])
      lookUp.from(server, resolver.name ?? '')('chains', 'chain');
  }
  return config;
}

function hopNames(hop: HopConfig, lookUp: References): void {
  const at = lookUp.from(hop, hop.name ?? 'a hop');
  at('bypasses', 'bypass', 'bypasses');
  at('resolvers', 'resolver');
  at('hosts', 'hosts');
  for (const node of hop.nodes ?? []) nodeNames(node, lookUp);
}

function nodeNames(node: NodeConfig | ForwarderNodeConfig, lookUp: References): void {
  const at = lookUp.from(node, node.name ?? 'a node');
  at('bypasses', 'bypass', 'bypasses');
  // A forwarder's node has neither of these.
  at('resolvers', 'resolver');
  at('hosts', 'hosts');
  for (const rule of [...(node.http?.rewriteRequestBody ?? []), ...(node.http?.rewriteResponseBody ?? [])])
    lookUp.from(rule, node.name ?? 'a node')('rewriters', 'rewriter');
  const { matcher } = node;
  if (matcher?.rule === undefined) return;
  const asked = namesInRule(matcher.rule);
  const where = { place: matcher.at('rule'), path: `${matcher.path()}.rule`, owner: node.name ?? 'a node' };
  for (const name of asked.bypass) lookUp.look('bypasses', name, where);
  for (const name of asked.admission) lookUp.look('admissions', name, where);
}

/** Looks names up, and says which are not there. */
class References {
  readonly #known: ReadonlyMap<ListName, readonly string[]>;
  readonly #lenient: boolean;
  readonly #report: Report;

  constructor(known: ReadonlyMap<ListName, readonly string[]>, lenient: boolean, report: Report) {
    this.#known = known;
    this.#lenient = lenient;
    this.#report = report;
  }

  /** For the keys of one mapping; `owner` is how a person calls what it belongs to. */
  from(mapping: Located, owner: string): (list: ListName, ...keys: readonly string[]) => void {
    return (list, ...keys) => {
      for (const key of keys) {
        const written = (mapping as unknown as Record<string, unknown>)[key];
        const wanted = written === undefined ? [] : [written].flat();
        for (const name of wanted as string[])
          this.look(list, name, { place: mapping.at(key), path: `${mapping.path()}.${key}`, owner });
      }
    };
  }

  /** For one name that stands somewhere. */
  look(
    list: ListName,
    name: string,
    { place, path, owner }: { place: Place; path: string; owner: string },
  ): void {
    const known = this.#known.get(list)!;
    if (known.includes(name)) return;
    const what = lists[list];
    const defined =
      known.length === 0 ? `no ${what} is defined` : `defined: ${known.slice(0, 20).join(', ')}`;
    const message = `${owner}: ${what} \`${name}\` is not defined; ${defined}${didYouMean(name, known)}`;
    // GOST lets nobody in where an admission is missing; to ignore it would let everybody in.
    if (this.#lenient && list !== 'admissions')
      this.#report.warn(place, path, `${message} (ignored, \`compat.missingReferences\`)`);
    else this.#report.error(place, path, message);
  }
}

function unique(what: string, entries: readonly Named[], report: Report): void {
  const first = new Map<string, Place>();
  for (const entry of entries) {
    const { name } = entry;
    if (name === undefined) continue;
    const taken = first.get(name);
    if (taken === undefined) first.set(name, entry.at('name'));
    else {
      report.error(
        entry.at('name'),
        `${entry.path()}.name`,
        `a second ${what} \`${name}\`; the first is at ${formatPlace(taken)}`,
      );
    }
  }
}
