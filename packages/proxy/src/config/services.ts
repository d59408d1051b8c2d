import type { Transport } from '../core/way.ts';
import type { Report } from '../schema/report.ts';
import type { Config } from './merge.ts';
import { modules } from '../modules.ts';
import { protocolOf } from './sections/blocks.ts';
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
    checkListenerChain(config, service, report);
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
  const chain = config.chains.find(({ name }) => name === listener.chain);
  const last = chain?.hops?.at(-1);
  const hop = last?.nodes === undefined ? config.hops.find(({ name }) => name === last?.name) : last;
  for (const node of hop?.nodes ?? []) {
    const connector = node.connector?.type ?? 'http';
    if (protocolOf(connector)?.connector?.bind !== undefined) continue;
    const can = modules.protocols.flatMap(({ type: one, connector: spoken }) =>
      spoken?.bind === undefined ? [] : [one],
    );
    const message = `leads to node \`${node.name ?? ''}\`, whose connector \`${connector}\` cannot listen; connectors that can: ${can.join(', ')}`;
    report.error(listener.at('chain'), path, message);
  }
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
