import { performance } from 'node:perf_hooks';
import { canonicalTarget, formatAddress } from '../../core/address.ts';
import type { Address, Conn, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { Handshake } from '../../core/handshake.ts';
import { lingeringClose } from '../../core/linger.ts';
import { createRelayDatagrams } from '../../core/relay-messages/datagrams.ts';
import { statusOf } from '../../core/relay-messages/replies.ts';
import { credentialsOf } from '../../core/relay-messages/request.ts';
import { formatRelayResponse, parseRelayRequest, relayStatus } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { reachTunnel } from './entrypoint-visit.ts';
import type { Reached, Visitor } from './entrypoint-visit.ts';
import { ruleOnVisit } from './visit-rules.ts';
import { hostOf, tunnelWishOf } from './wish.ts';
import type { TunnelWish } from './wish.ts';

/** One visitor's request, as far as it has come. */
interface Exchange extends Visitor {
  readonly conn: Conn;
  wish?: TunnelWish;
  target?: Address;
  reached?: Reached;
  /** What the visitor has been told; another node's visitors are told by that. */
  status?: number;
}

/** A request as it came. */
interface Asked {
  readonly request: RelayRequest;
  readonly bytes: Buffer;
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
    await tell(exchange, error);
  }
  note(exchange, error, performance.now() - started);
  if (error === undefined) return;
  if (exchange.status === undefined || exchange.status === relayStatus.ok) throw error;
  await lingeringClose(conn);
}

async function readRequest({ conn, options }: Exchange): Promise<Asked> {
  const handshake = new Handshake(conn, { side: 'client', timeoutMs: options.readTimeoutMs });
  try {
    return await handshake.read((bytes) => {
      const parsed = parseRelayRequest(bytes);
      if (parsed === undefined) return undefined;
      const { message: request, length } = parsed;
      return { message: { request, bytes: Buffer.from(bytes.subarray(0, length)) }, length };
    });
  } finally {
    handshake.done();
  }
}

async function serve(exchange: Exchange, { request, bytes }: Asked): Promise<ProxyError | undefined> {
  const { session, conn, laps } = exchange;
  await session.authenticate(credentialsOf(request));
  const wish = (exchange.wish = tunnelWishOf(request));
  if (wish.command !== 'connect') {
    const message = 'clients of tunnels register at the service itself; an entrypoint is for visitors';
    throw new ProxyError('unsupported', 'client', message);
  }
  if (wish.target === undefined)
    throw new ProxyError('malformedRequest', 'client', 'the request names no target');
  const target = (exchange.target = canonicalTarget(wish.target));
  laps.relay.check(bytes);
  const id = await tunnelFor(exchange, wish, target);
  session.identify(id);
  const { network, source = session.client } = wish;
  const reached = await reachTunnel(exchange, id, { network, source, target, request: bytes }, { network });
  exchange.reached = reached;
  const { end } = reached;
  if (reached.redirect !== undefined) {
    laps.relay.depart(bytes, end.closed);
    // The other node answers, and what it says is passed on as it is, whatever the network.
    return session.relay(conn, end);
  }
  await accept(exchange, end);
  return session.relay(end.kind === 'stream' ? conn : createRelayDatagrams(conn, source), end);
}

/** Where a visitor gets by {@link ruleOnVisit}; it is told the status that this says. */
async function tunnelFor(exchange: Exchange, wish: TunnelWish, target: Address): Promise<string> {
  const { session, tunnels, options } = exchange;
  const { tunnel, network } = wish;
  const { publicId, direct } = options;
  const isPublic = tunnel === publicId;
  const nowhere = isPublic ? relayStatus.networkUnreachable : relayStatus.hostUnreachable;
  const host = hostOf(target) ?? target.host;
  const rule = await tunnels.tunnelOf(host, session, options.ingress).catch(async (cause: unknown) => {
    const error = ProxyError.from(cause);
    // An ingress that could not be asked leads nowhere.
    if (error.code === 'couldNotAsk') await tell(exchange, error, nowhere);
    throw error;
  });
  const isStranger = !session.authenticates;
  const wanted = formatAddress(target);
  const ruling = ruleOnVisit({ id: tunnel, wanted, rule, publicId, direct, isStranger });
  if ('id' in ruling) return ruling.id;
  // Whoever tries one after the other is held to the service's rate and rules.
  await session.check(target, { network });
  await tell(exchange, ruling.error, ruling.status);
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
async function tell(exchange: Exchange, error: ProxyError, status = statusOf(error)): Promise<void> {
  if (exchange.status !== undefined || exchange.reached !== undefined || status === undefined) return;
  try {
    await exchange.conn.write(formatRelayResponse(status));
    exchange.status = status;
  } catch {
    // The visitor has gone; the error that it was to be told is on its way to the log.
  }
}

function note(exchange: Exchange, error: ProxyError | undefined, ms: number): void {
  const { session, tunnels, wish, target, status, reached } = exchange;
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
      ...(reached?.redirect !== undefined && { redirect: reached.redirect }),
    },
  });
}
