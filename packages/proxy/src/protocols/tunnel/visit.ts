import { canonicalTarget, formatAddress } from '../../core/address.ts';
import type { Address, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { createRelayDatagrams } from '../../core/relay-messages/datagrams.ts';
import type { RelayExchange } from '../../core/relay-messages/serve-request.ts';
import type { Decider } from '../../core/route.ts';
import type { Session } from '../../core/session.ts';
import { formatRelayResponse, relayStatus } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import type { Laps } from './laps.ts';
import type { EntrypointOptions, Tunnels, Visited } from './tunnels.ts';
import { passedOnAs, visitorOf } from './visit-request.ts';
import { ruleOnVisit } from './visit-rules.ts';
import { hostOf } from './wish.ts';
import type { TunnelWish } from './wish.ts';

/** A visitor that speaks the relay protocol, at the handler or at an entrypoint. */
export interface VisitExchange extends RelayExchange {
  readonly session: Session;
  /** Canonical. */
  target?: Address;
  /** Where it got. */
  visited?: Visited;
}

/** By what a visitor is taken to a tunnel. */
export interface VisitWays extends Pick<EntrypointOptions, 'ingress' | 'publicId' | 'direct'> {
  readonly tunnels: Tunnels;
  /** True: the visitor has proved nothing, so that no private tunnel is for it. Default false. */
  readonly isStranger?: boolean;
  /** Present: visitors come from other nodes as well, and may have been here before. */
  readonly laps?: Laps;
}

/**
 * Serves a visitor's request (CONNECT): the service's rules are asked for it as who it has proved to be; from then on it counts as
 * the tunnel, as in GOST. Resolves with what broke the relay; rejects with ProxyError where nothing was relayed, and has said in
 * the exchange what the visitor is told then.
 */
export async function serveVisit(
  exchange: VisitExchange,
  wish: TunnelWish,
  request: RelayRequest,
  ways: VisitWays,
): Promise<ProxyError | undefined> {
  const { session, conn } = exchange;
  if (wish.target === undefined)
    throw new ProxyError('malformedRequest', 'client', 'the request names no target');
  const target = (exchange.target = canonicalTarget(wish.target));
  const { network } = wish;
  const source = visitorOf(wish, session.client);
  let passedOn: Buffer | undefined;
  const end: End = await session.openBy(target, { network }, async (context, decider) => {
    const id = await tunnelFor(exchange, wish, target, ways, decider);
    session.identify(id, true);
    passedOn = passedOnAs(request, id);
    delete exchange.refusal;
    ways.laps?.check(passedOn);
    // Whatever keeps it from being reached, GOST says that.
    exchange.refusal = relayStatus.serviceUnavailable;
    const visit = { network, source, target, request: passedOn };
    const visited = (exchange.visited = await ways.tunnels.visit(id, visit, context, decider));
    exchange.isPassedOn = visited.where === 'elsewhere';
    delete exchange.refusal;
    return visited;
  });
  if (exchange.isPassedOn === true) {
    ways.laps?.depart(passedOn!, end.closed);
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
  exchange: VisitExchange,
  { tunnel: id }: TunnelWish,
  target: Address,
  { tunnels, ingress, publicId, direct, isStranger = false }: VisitWays,
  decider: Decider,
): Promise<string> {
  // An ingress that could not be asked leads nowhere.
  exchange.refusal = id === publicId ? relayStatus.networkUnreachable : relayStatus.hostUnreachable;
  const rule = await tunnels.tunnelOf(hostOf(target) ?? target.host, decider, ingress);
  const ruling = ruleOnVisit({ id, wanted: formatAddress(target), rule, publicId, direct, isStranger });
  if ('id' in ruling) return ruling.id;
  exchange.refusal = ruling.status;
  throw ruling.error;
}
