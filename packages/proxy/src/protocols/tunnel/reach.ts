import { isIP } from 'node:net';
import type { Address, Conn } from '../../core/conn.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { createRelayDatagrams } from '../../core/relay-messages/datagrams.ts';
import { formatRelayResponse, relayStatus } from '../../wire/relay.ts';
import { tunnelNotAvailable } from './nodes.ts';
import type { Nodes } from './nodes.ts';
import type { Connector, Registry } from './registry.ts';
import { askEndpoint, parseTunnelRule } from './rules.ts';
import type { Tunnels, Visit, Visited } from './tunnels.ts';

/** Connectors that are tried for one visitor, as in GOST; which tries the same one three times. */
const maxAttempts = 3;

/** What the tunnels of a service are made of. */
export interface TunnelsOptions {
  readonly service: string;
  readonly node: string;
  readonly registry: Registry;
  /** Absent: no host leads anywhere. */
  readonly ingress?: PolicyOf<'ingress'>;
  /** Absent: a tunnel without a connector here is nowhere. */
  readonly nodes?: Nodes;
}

/** Makes what visitors see of the tunnels of a service. */
export function createTunnels({ service, node, registry, ingress: own, nodes }: TunnelsOptions): Tunnels {
  return {
    service,
    node,
    async visit(id, visit, context, decider) {
      const here = visitHere(registry, id, visit);
      if (here !== undefined) return here;
      if (nodes === undefined) throw tunnelNotAvailable(id);
      return nodes.connect(id, visit, context, decider);
    },
    async tunnelOf(host, decider, ingress = own) {
      if (ingress === undefined) return undefined;
      return parseTunnelRule(await askEndpoint({ ingress, service, host }, decider));
    },
  };
}

/** A stream of one of the tunnel's connectors here; undefined: there is none that can be visited. */
function visitHere(registry: Registry, id: string, visit: Visit): Visited | undefined {
  const tried = new Set<Connector>();
  while (tried.size < maxAttempts) {
    const connector = registry.pick(id, visit.network, tried);
    if (connector === undefined) return undefined;
    tried.add(connector);
    let stream: Conn;
    try {
      stream = connector.open();
    } catch {
      // It went just now; perhaps another one did not.
      continue;
    }
    // That the connector is gone is found out by whoever reads.
    stream.write(headOf(visit)).catch(() => undefined);
    return {
      end: visit.network === 'udp' ? createRelayDatagrams(stream, visit.target) : stream,
      where: 'here',
      path: [`connector@${connector.id}`],
    };
  }
  return undefined;
}

/** What a stream begins with: who visits, and what they want. No answer comes to it. */
function headOf({ source, target }: Visit): Buffer {
  return formatRelayResponse(relayStatus.ok, [
    { type: 'addr', address: sayable(source) },
    { type: 'addr', address: target },
  ]);
}

/** A client of a unix socket has no address that could be said. */
function sayable(source: Address): Address {
  return isIP(source.host) === 0 ? { host: '0.0.0.0', port: 0 } : source;
}
