import { canonicalTarget, formatAddress } from '../../core/address.ts';
import type { Address, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { createRelayDatagrams } from '../../core/relay-messages/datagrams.ts';
import type { Decider } from '../../core/route.ts';
import { formatRelayResponse, relayStatus } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { nodeOf } from './entrypoint-visit.ts';
import type { Exchange } from './exchange.ts';
import type { Visited } from './tunnels.ts';
import { passedOnAs, visitorOf } from './visit-request.ts';
import { ruleOnVisit } from './visit-rules.ts';
import { hostOf } from './wish.ts';
import type { TunnelWish } from './wish.ts';

/**
 * Serves a visitor at the handler (CONNECT): the service's rules are asked for it as who it has proved to be; from then on it
 * counts as the tunnel, as in GOST. Resolves with what broke the relay; rejects with ProxyError where nothing was relayed.
 */
export async function serveVisitor(
  exchange: Exchange,
  wish: TunnelWish,
  request: RelayRequest,
): Promise<ProxyError | undefined> {
  const { session, conn, node } = exchange;
  if (wish.target === undefined)
    throw new ProxyError('malformedRequest', 'client', 'the request names no target');
  const target = (exchange.target = canonicalTarget(wish.target));
  const { network } = wish;
  const source = visitorOf(wish, session.client);
  let visited: Visited | undefined;
  const end: End = await session.openBy(target, { network }, async (context, decider) => {
    const tunnel = await tunnelFor(exchange, wish, target, decider);
    session.identify(tunnel, true);
    // Whatever keeps it from being reached, GOST says that.
    exchange.refusal = relayStatus.serviceUnavailable;
    const passedOn = passedOnAs(request, tunnel);
    visited = await node.tunnels.visit(
      tunnel,
      { network, source, target, request: passedOn },
      context,
      decider,
    );
    delete exchange.refusal;
    return visited;
  });
  if (visited?.where === 'elsewhere') {
    exchange.redirect = nodeOf(visited);
    // The other node answers, and what it says is passed on as it is, whatever the network.
    return session.relay(conn, end);
  }
  try {
    await conn.write(formatRelayResponse(relayStatus.ok));
  } catch (error) {
    if (end.kind === 'stream') end.reset();
    else end.close();
    throw error;
  }
  exchange.status = relayStatus.ok;
  return session.relay(end.kind === 'stream' ? conn : createRelayDatagrams(conn, source), end);
}

/** Where the visitor gets by {@link ruleOnVisit}. Rejects with ProxyError, and has said what the visitor is told then. */
async function tunnelFor(
  exchange: Exchange,
  { tunnel: id }: TunnelWish,
  target: Address,
  decider: Decider,
): Promise<string> {
  const { tunnels, metadata } = exchange.node;
  const { entrypointId: publicId, tunnelDirect: direct = false } = metadata;
  // An ingress that could not be asked leads nowhere.
  exchange.refusal = id === publicId ? relayStatus.networkUnreachable : relayStatus.hostUnreachable;
  const rule = await tunnels.tunnelOf(hostOf(target) ?? target.host, decider);
  const ruling = ruleOnVisit({ id, wanted: formatAddress(target), rule, publicId, direct });
  if ('id' in ruling) return ruling.id;
  exchange.refusal = ruling.status;
  throw ruling.error;
}
