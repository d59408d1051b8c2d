import { isIP } from 'node:net';
import { canonicalTarget, formatAddress } from '../../core/address.ts';
import type { Address, Conn, End } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import type { HandlerOptions } from '../../core/protocol.ts';
import type { Target } from '../../core/route.ts';
import type { Session } from '../../core/session.ts';
import { relaySniffed } from '../../core/sniffing/relay-sniffed.ts';
import { createUdpTunnel } from '../../core/udp-tunnel.ts';
import { formatRelayResponse, relayStatus } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { createRelayDatagrams } from '../../core/relay-messages/datagrams.ts';
import { serveRelayBind } from './bind-server.ts';
import { glueConn } from './glued-conn.ts';
import type { HandlerMetadata } from './options.ts';
import { credentialsOf, wishOf } from '../../core/relay-messages/request.ts';
import type { Wish } from '../../core/relay-messages/request.ts';
import { serveRelayRequest } from '../../core/relay-messages/serve-request.ts';
import type { RelayExchange } from '../../core/relay-messages/serve-request.ts';

/** One client's request, as far as it has come. */
interface Exchange extends RelayExchange {
  readonly session: Session;
  readonly metadata: HandlerMetadata;
  wish?: Wish;
  /** Canonical. */
  target?: Address;
  /** Where the service forwards to. */
  node?: Target;
}

/**
 * Serves a client of GOST's relay protocol: CONNECT to a target, or to a node of the service's forwarder where it has one, for
 * connections and for the datagrams of one peer; where `bind` is true datagrams to any peer, and BIND. Refused requests are
 * answered and noted; rejects with ProxyError where the connection broke.
 */
export async function handleRelay(client: End, session: Session, options: HandlerOptions): Promise<void> {
  if (client.kind !== 'stream') throw new ProxyError('unsupported', 'self', 'relay needs a connection');
  const metadata = options.metadata as HandlerMetadata;
  const exchange: Exchange = { session, metadata, conn: client };
  await serveRelayRequest(exchange, {
    timeoutMs: metadata.readTimeoutMs,
    serve: (request) => serve(exchange, request),
    note: (error, ms) => {
      note(exchange, error, ms);
    },
  });
}

async function serve(exchange: Exchange, request: RelayRequest): Promise<ProxyError | undefined> {
  const { session, metadata } = exchange;
  await session.authenticate(credentialsOf(request));
  const wish = (exchange.wish = wishOf(request));
  const { command, network, address } = wish;
  if (command === 'connect') {
    if (session.forwards) return forward(exchange, network);
    if (address !== undefined) return connect(exchange, network, address);
    throw new ProxyError('malformedRequest', 'client', 'the request names no target');
  }
  if (session.forwards) {
    throw new ProxyError(
      'unsupported',
      'self',
      'this service goes where its forwarder says, and nowhere else',
    );
  }
  // With a port the client asks to be reached there. GOST asks for datagrams to any peer by BIND, too.
  const isForAnyPeer = (command === 'associate' || network === 'udp') && (address?.port ?? 0) === 0;
  if (metadata.bind !== true) {
    const message = 'this service carries no datagrams to any peer; `bind: true` would allow them';
    throw isForAnyPeer
      ? new ProxyError('forbidden', 'client', message)
      : new ProxyError('forbidden', 'client', 'this service does not serve BIND');
  }
  if (isForAnyPeer) return associate(exchange);
  if (command === 'associate')
    throw new ProxyError('unsupported', 'client', 'an association has no port; BIND has');
  return serveRelayBind(exchange.conn, session, {
    network,
    address,
    metadata,
    granted: () => {
      exchange.status = relayStatus.ok;
    },
  });
}

async function connect(
  exchange: Exchange,
  network: Wish['network'],
  address: Address,
): Promise<ProxyError | undefined> {
  const { session, metadata } = exchange;
  const target = (exchange.target = canonicalTarget(address));
  if (network === 'udp') return carry(exchange, await session.openDatagrams(target));
  const upstream = await session.open(target);
  if (metadata.sniffing !== true) return carry(exchange, upstream);
  const conn = await acceptFor(exchange, upstream);
  return relaySniffed(conn, upstream, session, { target, timeoutMs: metadata.sniffingTimeoutMs });
}

async function forward(exchange: Exchange, network: Wish['network']): Promise<ProxyError | undefined> {
  const { end, node } = await exchange.session.forward({ network });
  exchange.node = node;
  exchange.target = node.address;
  return carry(exchange, end);
}

async function carry(exchange: Exchange, upstream: End): Promise<ProxyError | undefined> {
  const conn = await acceptFor(exchange, upstream);
  const client = upstream.kind === 'stream' ? conn : createRelayDatagrams(conn, conn.remote);
  return exchange.session.relay(client, upstream);
}

async function associate(exchange: Exchange): Promise<ProxyError | undefined> {
  const { session, conn } = exchange;
  const upstream: Datagrams = await session.associate();
  const { local } = upstream;
  const address = isIP(local.host) === 0 ? { host: '0.0.0.0', port: 0 } : local;
  try {
    // Whoever asks for this waits for the answer.
    await conn.write(formatRelayResponse(relayStatus.ok, [{ type: 'addr', address }]));
  } catch (error) {
    upstream.close();
    throw error;
  }
  exchange.status = relayStatus.ok;
  return session.relay(createUdpTunnel(conn, 'client'), upstream);
}

/** Tells the client that it goes on. Where that fails the upstream is given up. */
async function acceptFor(exchange: Exchange, upstream: End): Promise<Conn> {
  const { conn, metadata } = exchange;
  const head = formatRelayResponse(relayStatus.ok);
  try {
    if (metadata.nodelay === true) await conn.write(head);
  } catch (error) {
    if (upstream.kind === 'stream') upstream.reset();
    else upstream.close();
    throw error;
  }
  exchange.status = relayStatus.ok;
  return metadata.nodelay === true ? conn : glueConn(conn, { head });
}

function note(
  { session, wish, target, node, status }: Exchange,
  error: ProxyError | undefined,
  ms: number,
): void {
  // A peer that leaves before it has asked for anything is no fact worth telling.
  if (wish === undefined && error?.code === 'clientClosed') return;
  session.note({
    what: nameOf(wish, target, node),
    target,
    user: session.user,
    status,
    ms,
    error,
    ...(node !== undefined && { details: { node: node.name } }),
  });
}

function nameOf(wish: Wish | undefined, target: Address | undefined, node: Target | undefined): string {
  if (wish === undefined) return 'relay';
  // Of a bind it is no target, and yet what is wanted.
  const to = target ?? (wish.command === 'bind' ? wish.address : undefined);
  const where = to === undefined ? '' : ` ${node === undefined ? '' : `${node.name}@`}${formatAddress(to)}`;
  const udp = wish.network === 'udp' ? ' udp' : '';
  return `${node === undefined ? wish.command.toUpperCase() : 'forward'}${udp}${where}`;
}
