import { performance } from 'node:perf_hooks';
import { formatAddress } from '../../core/address.ts';
import type { End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { Handshake } from '../../core/handshake.ts';
import { lingeringClose } from '../../core/linger.ts';
import { statusOf } from '../../core/relay-messages/replies.ts';
import { credentialsOf } from '../../core/relay-messages/request.ts';
import type { Session } from '../../core/session.ts';
import { formatRelayResponse, parseRelayRequest, relayStatus } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import type { Exchange, TunnelNode } from './exchange.ts';
import { defaultReadTimeoutMs } from './options.ts';
import { serveConnector } from './register.ts';
import { serveVisitor } from './visit.ts';
import { tunnelWishOf } from './wish.ts';

/**
 * Serves a client of a tunnel's node: one that registers as a connector (BIND), or a visitor (CONNECT). Refused requests are
 * answered and noted; rejects with ProxyError where the connection broke.
 */
export async function handleTunnel(client: End, session: Session, node: TunnelNode): Promise<void> {
  if (client.kind !== 'stream')
    throw new ProxyError('unsupported', 'self', "a tunnel's node needs a connection");
  const exchange: Exchange = { node, session, conn: client, startedMs: performance.now(), begun: false };
  let error: ProxyError | undefined;
  try {
    error = await serve(exchange, await readRequest(exchange));
  } catch (cause) {
    error = ProxyError.from(cause);
    await tell(exchange, error);
  }
  note(exchange, error);
  if (error === undefined) return;
  if (exchange.status === undefined || exchange.status === relayStatus.ok) throw error;
  await lingeringClose(client);
}

async function readRequest(exchange: Exchange): Promise<RelayRequest> {
  const { conn, node } = exchange;
  const handshake = new Handshake(conn, {
    side: 'client',
    timeoutMs: node.metadata.readTimeoutMs || defaultReadTimeoutMs,
  });
  try {
    return await handshake.read((bytes) => {
      exchange.begun ||= bytes[0] === 1;
      return parseRelayRequest(bytes);
    });
  } finally {
    handshake.done();
  }
}

async function serve(exchange: Exchange, request: RelayRequest): Promise<ProxyError | undefined> {
  await exchange.session.authenticate(credentialsOf(request));
  const wish = (exchange.wish = tunnelWishOf(request));
  return wish.command === 'bind' ? serveConnector(exchange, wish) : serveVisitor(exchange, wish, request);
}

/** Tells the client what went wrong, where it can still be told. */
async function tell(exchange: Exchange, error: ProxyError): Promise<void> {
  const said = statusOf(error);
  const status = said === undefined ? undefined : (exchange.refusal ?? said);
  if (!exchange.begun || exchange.redirect !== undefined || exchange.status !== undefined) return;
  if (status === undefined) return;
  try {
    await exchange.conn.write(formatRelayResponse(status));
    exchange.status = status;
  } catch {
    // The client has gone; the error that it was to be told is on its way to the log.
  }
}

function note(exchange: Exchange, error: ProxyError | undefined): void {
  const { session, node, wish, target, status, isNoted, redirect } = exchange;
  // A peer that leaves before it has asked for anything is no fact worth telling.
  if (isNoted === true || (wish === undefined && error?.code === 'clientClosed')) return;
  session.note({
    what: nameOf(exchange),
    target,
    user: session.user,
    status,
    ms: performance.now() - exchange.startedMs,
    error,
    details: { node: node.kept.node, ...(redirect !== undefined && { redirect }) },
  });
}

function nameOf({ wish, target }: Exchange): string {
  if (wish === undefined) return 'tunnel';
  const udp = wish.network === 'udp' ? ' udp' : '';
  return `${wish.command.toUpperCase()}${udp} ${target === undefined ? wish.tunnel : formatAddress(target)}`;
}
