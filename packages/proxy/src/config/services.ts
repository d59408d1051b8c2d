import type { Transport } from '../core/way.ts';
import type { Report } from '../schema/report.ts';
import type { Config } from './merge.ts';
import { modules } from '../modules.ts';
import { protocolOf } from './sections/blocks.ts';
import { dialAddressForm } from './sections/common.ts';
import type { NodeConfig } from './sections/nodes.ts';
import { warnUnused } from './unused.ts';

/** What of a service does not fit together, and circles that can be seen before anybody connects. */
export function checkServices(config: Config, report: Report): void {
  const forwarding = modules.protocols.flatMap(({ type, handler }) =>
    handler?.forwards === undefined ? [] : [type],
  );
  warnUnused(config, report);
  for (const service of config.services) {
    // Gaps are there only beside errors that are already reported.
    const type = service.handler?.type ?? 'auto';
    const handler = protocolOf(type)?.handler;
    const listener = service.listener?.type ?? 'tcp';
    if (handler === undefined || !(listener in modules.stacks)) continue;
    const place = service.has('handler') ? service.at('handler') : service.at();
    const path = `${service.path()}.handler`;
    const datagrams = lowestLayer(listener)?.accepts === 'datagrams';
    if (handler.serves !== 'both' && (handler.serves === 'datagrams') !== datagrams) {
      const fits = datagrams
        ? 'datagrams, and this handler serves connections'
        : 'connections, and this handler serves datagrams';
      report.error(
        place,
        path,
        `handler \`${type}\` does not fit listener \`${listener}\`, which accepts ${fits}`,
      );
    }
    const nodes = service.forwarder?.nodes?.length ?? 0;
    if (handler.forwards === 'always' && nodes === 0 && service.forwarder?.hop === undefined) {
      report.error(
        place,
        path,
        `handler \`${type}\` needs a \`forwarder\` with at least one node, or a \`hop\``,
      );
    }
    if (handler.forwards === undefined && service.has('forwarder')) {
      report.error(
        service.keyAt('forwarder'),
        `${service.path()}.forwarder`,
        `is not used by handler \`${type}\`; handlers that forward: ${forwarding.join(', ')}`,
      );
    }
    const asks = ['auther', 'authers', 'auth'].some((key) => service.handler?.has(key) === true);
    if (handler.openWithoutAuther !== undefined && !asks)
      report.warn(place, path, `has no auther: ${handler.openWithoutAuther}`);
    checkListenerChain(config, service, report);
    checkGateways(config, service, report);
    refuseCircle(config, service, report);
  }
}

/** A listener's chain is for listeners at the far end of one, and there its last node has to listen for us. */
function checkListenerChain(config: Config, service: Config['services'][number], report: Report): void {
  const { listener } = service;
  if (listener?.chain === undefined) return;
  const type = listener.type ?? 'tcp';
  const path = `${listener.path()}.chain`;
  if (lowestLayer(type)?.overChain !== true) {
    const far = Object.keys(modules.stacks).filter((stack) => lowestLayer(stack)?.overChain === true);
    const message = `is not used by listener \`${type}\`; listeners at the far end of a chain: ${far.join(', ')}`;
    report.error(listener.keyAt('chain'), path, message);
    return;
  }
  for (const node of lastNodes(config, listener.chain) ?? []) {
    const connector = node.connector?.type ?? 'http';
    if (protocolOf(connector)?.connector?.bind !== undefined) continue;
    const can = modules.protocols.flatMap(({ type: one, connector: spoken }) =>
      spoken?.bind === undefined ? [] : [one],
    );
    const message = `leads to node \`${node.name ?? ''}\`, whose connector \`${connector}\` cannot listen; connectors that can: ${can.join(', ')}`;
    report.error(listener.at('chain'), path, message);
  }
}

/**
 * A service whose handler joins a router's network goes to gateways, which have no port, along a chain that ends in a router; for
 * all others the nodes of a forwarder have one.
 */
function checkGateways(config: Config, service: Config['services'][number], report: Report): void {
  const type = service.handler?.type ?? 'auto';
  const joins = protocolOf(type)?.handler?.joins === true;
  for (const node of service.forwarder?.nodes ?? []) {
    if (node.addr === undefined) continue;
    const { host, port } = node.addr;
    const isGateway = port === 0 && !/^[/.@]/.test(host);
    if (isGateway === joins) continue;
    const expected = joins
      ? `handler \`${type}\` joins a router’s network as a gateway, which has no port; GOST’s VPN over UDP is not served by this version`
      : `expected ${dialAddressForm}`;
    report.error(node.at('addr'), `${node.path()}.addr`, expected);
  }
  if (!joins) return;
  const nodes = lastNodes(config, service.handler?.chain);
  const routers = modules.protocols.flatMap(({ type: one, connector }) =>
    connector?.joins === true ? [one] : [],
  );
  const path = `${service.path()}.handler`;
  if (nodes === undefined) {
    const message = `handler \`${type}\` needs a \`chain\` whose last node has connector ${routers.join(', ')}`;
    report.error(service.at('handler'), path, message);
  }
  for (const node of nodes ?? []) {
    const connector = node.connector?.type ?? 'http';
    if (protocolOf(connector)?.connector?.joins === true) continue;
    const message = `leads to node \`${node.name ?? ''}\`, whose connector \`${connector}\` joins no network; connectors that do: ${routers.join(', ')}`;
    report.error(service.handler?.at('chain') ?? service.at(), `${path}.chain`, message);
  }
}

/** The nodes at the end of a chain, as far as the file has them; undefined where no chain is named. */
function lastNodes(config: Config, name: string | undefined): readonly NodeConfig[] | undefined {
  if (name === undefined) return undefined;
  const last = config.chains.find((chain) => chain.name === name)?.hops?.at(-1);
  const hop = last?.nodes === undefined ? config.hops.find((one) => one.name === last?.name) : last;
  return hop?.nodes ?? [];
}

/** A service with a node that is the service itself. Other circles are cut when they are run through. */
function refuseCircle(config: Config, service: Config['services'][number], report: Report): void {
  const start = config.services.indexOf(service);
  const seen = new Set<number>();
  const walk = (index: number): boolean => {
    const { forwarder, handler } = config.services[index]!;
    // At the end of a chain the address is another machine's.
    if (handler?.chain !== undefined) return false;
    const named = config.hops.find(({ name }) => name !== undefined && name === forwarder?.hop);
    for (const node of named?.nodes ?? forwarder?.nodes ?? []) {
      const { addr } = node;
      if (addr === undefined) continue;
      const next = config.services.findIndex(
        (other) =>
          other.addr !== undefined &&
          other.addr.port !== 0 &&
          other.addr.port === addr.port &&
          sharesPorts(other, config.services[index]!) &&
          isSameHost(other.addr.host, addr.host),
      );
      if (next === start) return true;
      if (next === -1 || seen.has(next)) continue;
      seen.add(next);
      if (walk(next)) return true;
    }
    return false;
  };
  if (!walk(start)) return;
  report.error(
    service.at('forwarder'),
    `${service.path()}.forwarder`,
    `${service.name} forwards to itself${seen.size > 0 ? ' by way of other services' : ''}; one connection would become as many as there are descriptors`,
  );
}

/** Whether two services listen at ports of the same kind, both on this machine. */
function sharesPorts(...both: readonly Config['services'][number][]): boolean {
  const layers = both.map(({ listener }) => lowestLayer(listener?.type ?? 'tcp'));
  const isHere = layers.every((layer) => layer?.overChain !== true);
  return isHere && new Set(layers.map((layer) => layer?.accepts)).size === 1;
}

function lowestLayer(listener: string): Transport | undefined {
  return listener in modules.stacks ? modules.stacks[listener as keyof typeof modules.stacks][0] : undefined;
}

/** Whether a service that listens at `listens` is reached at `dialled`. */
function isSameHost(listens: string, dialled: string): boolean {
  const local = /^(127\.\d+\.\d+\.\d+|localhost|::1|0\.0\.0\.0|::)$/i;
  if (listens === '' || listens === '0.0.0.0' || listens === '::')
    return local.test(dialled) || dialled === '';
  const named = dialled.toLowerCase();
  if (named === 'localhost' && local.test(listens)) return true;
  return listens.toLowerCase() === named;
}
