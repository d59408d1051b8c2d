import { formatAddress } from '../../core/address.ts';
import type { Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { credentialsOf } from '../../core/relay-messages/request.ts';
import { serveRelayRequest } from '../../core/relay-messages/serve-request.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { nodeOf } from './entrypoint-visit.ts';
import type { Visitor } from './entrypoint-visit.ts';
import { serveVisit } from './visit.ts';
import type { VisitExchange } from './visit.ts';
import { tunnelWishOf } from './wish.ts';
import type { TunnelWish } from './wish.ts';

/** One visitor's request, as far as it has come. */
interface Exchange extends Visitor, VisitExchange {
  readonly session: Visitor['session'];
  wish?: TunnelWish;
}

/**
 * Serves a visitor that speaks the relay protocol at an entrypoint: another node, or a client of GOST's. Unlike in GOST it has to
 * say who it is where the service has an auther, and gets where a visitor at the handler gets; where nobody is asked who they
 * are, a private tunnel is for nobody. Only CONNECT is served. Refused requests are answered and noted; rejects with ProxyError
 * where the connection broke.
 */
export async function serveEntrypointRelay(conn: Conn, visitor: Visitor): Promise<void> {
  const exchange: Exchange = { ...visitor, conn };
  await serveRelayRequest(exchange, {
    timeoutMs: visitor.options.readTimeoutMs,
    serve: (request) => serve(exchange, request),
    note: (error, ms) => {
      note(exchange, error, ms);
    },
  });
}

async function serve(exchange: Exchange, request: RelayRequest): Promise<ProxyError | undefined> {
  const { session, laps, tunnels, options } = exchange;
  await session.authenticate(credentialsOf(request));
  const wish = (exchange.wish = tunnelWishOf(request));
  if (wish.command !== 'connect') {
    const message = 'clients of tunnels register at the service itself; an entrypoint is for visitors';
    throw new ProxyError('unsupported', 'client', message);
  }
  return serveVisit(exchange, wish, request, {
    ...options,
    tunnels,
    isStranger: !session.authenticates,
    laps: laps.relay,
  });
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
