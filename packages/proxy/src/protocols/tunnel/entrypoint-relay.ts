import { performance } from 'node:perf_hooks';
import { canonicalTarget, formatAddress } from '../../core/address.ts';
import type { Address, Conn, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { Handshake } from '../../core/handshake.ts';
import { lingeringClose } from '../../core/linger.ts';
import { createRelayDatagrams } from '../../core/relay-messages/datagrams.ts';
import { statusOf } from '../../core/relay-messages/replies.ts';
import { credentialsOf } from '../../core/relay-messages/request.ts';
import type { Decider } from '../../core/route.ts';
import { formatRelayResponse, parseRelayRequest, relayStatus } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { nodeOf } from './entrypoint-visit.ts';
import type { Visitor } from './entrypoint-visit.ts';
import type { Visited } from './tunnels.ts';
import { passedOnAs, visitorOf } from './visit-request.ts';
import { ruleOnVisit } from './visit-rules.ts';
import { hostOf, tunnelWishOf } from './wish.ts';
import type { TunnelWish } from './wish.ts';

/** One visitor's request, as far as it has come. */
interface Exchange extends Visitor {
  readonly conn: Conn;
  wish?: TunnelWish;
  target?: Address;
  visited?: Visited;
  /** What the visitor is told where it goes wrong now. Absent: what the error says. */
  refusal?: number;
  /** What the visitor has been told; another node's visitors are told by that. */
  status?: number;
}

/**
 * Serves a visitor that speaks the relay protocol at an entrypoint: another node, or a client of GOST's. Unlike in GOST it has to
 * say who it is where the service has an auther, and gets where a visitor at the handler gets; where nobody is asked who they
 * are, a private tunnel is for nobody. Only CONNECT is served. Refused requests are answered and noted; rejects with ProxyError
 * where the connection broke.
 */
export async function serveEntrypointRelay(conn: Conn, visitor: Visitor): Promise<void> {
  const started = performance.now();
  const exchange: Exchange = { ...visitor, conn };
  let error: ProxyError | undefined;
  try {
    error = await serve(exchange, await readRequest(exchange));
  } catch (cause) {
    error = ProxyError.from(cause);
    const status = await tell(exchange, error);
    if (status !== undefined) exchange.status = status;
  }
  note(exchange, error, performance.now() - started);
  if (error === undefined) return;
  if (exchange.status === undefined || exchange.status === relayStatus.ok) throw error;
  await lingeringClose(conn);
}

async function readRequest({ conn, options }: Exchange): Promise<RelayRequest> {
  const handshake = new Handshake(conn, { side: 'client', timeoutMs: options.readTimeoutMs });
  try {
    return await handshake.read(parseRelayRequest);
  } finally {
    handshake.done();
  }
}

async function serve(exchange: Exchange, request: RelayRequest): Promise<ProxyError | undefined> {
  const { session, conn, laps, tunnels } = exchange;
  await session.authenticate(credentialsOf(request));
  const wish = (exchange.wish = tunnelWishOf(request));
  if (wish.command !== 'connect') {
    const message = 'clients of tunnels register at the service itself; an entrypoint is for visitors';
    throw new ProxyError('unsupported', 'client', message);
  }
  if (wish.target === undefined)
    throw new ProxyError('malformedRequest', 'client', 'the request names no target');
  const target = (exchange.target = canonicalTarget(wish.target));
  const { network } = wish;
  const source = visitorOf(wish, session.client);
  let passedOn: Buffer | undefined;
  // The service's rules are asked for whom it has proved to be; from then on it counts as the tunnel, as in GOST.
  const end: End = await session.openBy(target, { network }, async (context, decider) => {
    const id = await tunnelFor(exchange, wish, target, decider);
    session.identify(id, true);
    passedOn = passedOnAs(request, id);
    delete exchange.refusal;
    laps.relay.check(passedOn);
    // Whatever keeps it from being reached, GOST says that.
    exchange.refusal = relayStatus.serviceUnavailable;
    const visit = { network, source, target, request: passedOn };
    exchange.visited = await tunnels.visit(id, visit, context, decider);
    delete exchange.refusal;
    return exchange.visited;
  });
  if (exchange.visited?.where === 'elsewhere') {
    laps.relay.depart(passedOn!, end.closed);
    // The other node answers, and what it says is passed on as it is, whatever the network.
    return session.relay(conn, end);
  }
  await accept(exchange, end);
  return session.relay(end.kind === 'stream' ? conn : createRelayDatagrams(conn, source), end);
}

/** Where a visitor gets by {@link ruleOnVisit}. Rejects with ProxyError, and has said what the visitor is told then. */
async function tunnelFor(
  exchange: Exchange,
  { tunnel: id }: TunnelWish,
  target: Address,
  decider: Decider,
): Promise<string> {
  const { session, tunnels, options } = exchange;
  const { publicId, direct, ingress } = options;
  // An ingress that could not be asked leads nowhere.
  exchange.refusal = id === publicId ? relayStatus.networkUnreachable : relayStatus.hostUnreachable;
  const rule = await tunnels.tunnelOf(hostOf(target) ?? target.host, decider, ingress);
  const isStranger = !session.authenticates;
  const ruling = ruleOnVisit({ id, wanted: formatAddress(target), rule, publicId, direct, isStranger });
  if ('id' in ruling) return ruling.id;
  exchange.refusal = ruling.status;
  throw ruling.error;
}

/** Tells the visitor that it goes on. Where that fails the stream is given up. */
async function accept(exchange: Exchange, end: End): Promise<void> {
  try {
    await exchange.conn.write(formatRelayResponse(relayStatus.ok));
    exchange.status = relayStatus.ok;
  } catch (error) {
    if (end.kind === 'stream') end.reset();
    else end.close();
    throw error;
  }
}

/** Tells the visitor what went wrong, where it can still be told. */
async function tell(
  { conn, status, visited, refusal }: Exchange,
  error: ProxyError,
): Promise<number | undefined> {
  const said = statusOf(error);
  if (status !== undefined || visited?.where === 'elsewhere' || said === undefined) return status;
  try {
    await conn.write(formatRelayResponse(refusal ?? said));
    return refusal ?? said;
  } catch {
    // The visitor has gone; the error that it was to be told is on its way to the log.
    return undefined;
  }
}

function note(exchange: Exchange, error: ProxyError | undefined, ms: number): void {
  const { session, tunnels, wish, target, status, visited } = exchange;
  // A peer that leaves before it has asked for anything is no fact worth telling.
  if (wish === undefined && error?.code === 'clientClosed') return;
  const udp = wish?.network === 'udp' ? ' udp' : '';
  session.note({
    what: target === undefined ? 'relay' : `visit${udp} ${formatAddress(target)}`,
    target,
    user: session.user,
    status,
    ms,
    error,
    details: {
      node: tunnels.node,
      ...(visited?.where === 'elsewhere' && { redirect: nodeOf(visited) }),
    },
  });
}
