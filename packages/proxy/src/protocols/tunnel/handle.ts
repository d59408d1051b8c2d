import { formatAddress } from '../../core/address.ts';
import type { End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { credentialsOf } from '../../core/relay-messages/request.ts';
import { serveRelayRequest } from '../../core/relay-messages/serve-request.ts';
import type { Session } from '../../core/session.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { nodeOf } from './entrypoint-visit.ts';
import type { Exchange, TunnelNode } from './exchange.ts';
import { serveConnector } from './register.ts';
import { serveVisit } from './visit.ts';
import { tunnelWishOf } from './wish.ts';

/**
 * Serves a client of a tunnel's node: one that registers as a connector (BIND), or a visitor (CONNECT). Refused requests are
 * answered and noted; rejects with ProxyError where the connection broke.
 */
export async function handleTunnel(client: End, session: Session, node: TunnelNode): Promise<void> {
  if (client.kind !== 'stream')
    throw new ProxyError('unsupported', 'self', "a tunnel's node needs a connection");
  const exchange: Exchange = { node, session, conn: client };
  await serveRelayRequest(exchange, {
    timeoutMs: node.metadata.readTimeoutMs,
    serve: (request) => serve(exchange, request),
    note: (error, ms) => {
      note(exchange, error, ms);
    },
  });
}

async function serve(exchange: Exchange, request: RelayRequest): Promise<ProxyError | undefined> {
  const { session, node } = exchange;
  await session.authenticate(credentialsOf(request));
  const wish = (exchange.wish = tunnelWishOf(request));
  if (wish.command === 'bind') return serveConnector(exchange, wish);
  const { entrypointId: publicId, tunnelDirect: direct = false } = node.metadata;
  const { tunnels } = node;
  return serveVisit(exchange, wish, request, {
    ...{ tunnels, direct },
    ...(publicId !== undefined && { publicId }),
  });
}

function note(exchange: Exchange, error: ProxyError | undefined, ms: number): void {
  const { session, node, wish, target, status, isNoted, visited } = exchange;
  // A peer that leaves before it has asked for anything is no fact worth telling.
  if (isNoted === true || (wish === undefined && error?.code === 'clientClosed')) return;
  session.note({
    what: nameOf(exchange),
    target,
    user: session.user,
    status,
    ms,
    error,
    details: {
      node: node.kept.node,
      ...(visited?.where === 'elsewhere' && { redirect: nodeOf(visited) }),
    },
  });
}

function nameOf({ wish, target }: Exchange): string {
  if (wish === undefined) return 'tunnel';
  const udp = wish.network === 'udp' ? ' udp' : '';
  return `${wish.command.toUpperCase()}${udp} ${target === undefined ? wish.tunnel : formatAddress(target)}`;
}
