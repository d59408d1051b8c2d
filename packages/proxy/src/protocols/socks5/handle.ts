import { isIP } from 'node:net';
import { performance } from 'node:perf_hooks';
import { canonicalTarget, formatAddress } from '../../core/address.ts';
import type { Address, Conn, End } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import { Handshake } from '../../core/handshake.ts';
import { lingeringClose } from '../../core/linger.ts';
import type { HandlerOptions } from '../../core/protocol.ts';
import type { Session } from '../../core/session.ts';
import { formatSocks5Reply, parseSocks5Request, socks5Codes, socks5Commands } from '../../wire/socks5.ts';
import type { Socks5Request } from '../../wire/socks5.ts';
import { serveSocks5Bind } from './bind-server.ts';
import { negotiate } from './negotiate.ts';
import { defaultReadTimeoutMs } from './options.ts';
import type { HandlerMetadata } from './options.ts';
import { sharedReads, untilPeerLeaves } from './reads.ts';
import { openRelaySocket } from './relay-socket.ts';
import { codeOf } from './replies.ts';
import { relaySniffed } from '../../core/sniffing/relay-sniffed.ts';
import { createUdpTunnel } from '../../core/udp-tunnel.ts';

/** One client's request, as far as it has come. */
interface Exchange {
  readonly session: Session;
  readonly metadata: HandlerMetadata;
  /** From when on a request can be answered: the negotiation is over. */
  conn?: Conn;
  request?: Socks5Request;
  /** Canonical. */
  target?: Address;
  /** What the client has been told. */
  code?: number;
}

/**
 * Serves a client of SOCKS5 (RFC 1928): CONNECT, where `udp` is true UDP ASSOCIATE and GOST's UDP tunnel, and where `bind` is true
 * BIND, GOST's MUX-BIND, and its UDP tunnel at a port. Whatever else is answered with "command not supported". Refused requests are answered and noted; rejects with ProxyError
 * where the negotiation failed or the connection broke.
 */
export async function handleSocks5(client: End, session: Session, options: HandlerOptions): Promise<void> {
  if (client.kind !== 'stream') throw new ProxyError('unsupported', 'self', 'SOCKS5 needs a connection');
  const metadata = options.metadata as HandlerMetadata;
  const started = performance.now();
  const exchange: Exchange = { session, metadata };
  const handshake = new Handshake(client, {
    side: 'client',
    timeoutMs: metadata.readTimeoutMs || defaultReadTimeoutMs,
  });
  let error: ProxyError | undefined;
  try {
    await negotiate(handshake, session, metadata.notls === true ? undefined : options.tls);
    exchange.conn = handshake.conn;
    exchange.request = await handshake.read(parseSocks5Request);
    handshake.done();
    error = await serve(exchange, exchange.conn, exchange.request);
  } catch (cause) {
    error = ProxyError.from(cause);
    await tell(exchange, error);
  } finally {
    handshake.done();
  }
  note(exchange, error, performance.now() - started);
  if (error === undefined) return;
  if (exchange.code === undefined || exchange.code === socks5Codes.succeeded) throw error;
  await lingeringClose(handshake.conn);
}

function serve(exchange: Exchange, conn: Conn, request: Socks5Request): Promise<ProxyError | undefined> {
  const { command, address } = request;
  const { session, metadata } = exchange;
  // With a port the client asks to be reached there, which is GOST's BIND for datagrams.
  const isForAnyPeer = command === socks5Commands.udpTunnel && address.port === 0;
  switch (command) {
    case socks5Commands.connect:
      return connect(exchange, conn, address);
    case socks5Commands.udpAssociate:
      allow(metadata.udp, 'this service carries no datagrams; `udp: true` would allow them');
      return associate(exchange, conn, address);
    case socks5Commands.bind:
    case socks5Commands.muxBind:
    case socks5Commands.udpTunnel: {
      if (isForAnyPeer) {
        allow(metadata.udp, 'this service carries no datagrams; `udp: true` would allow them');
        return tunnel(exchange, conn);
      }
      allow(metadata.bind, 'this service listens for nobody; `bind: true` would allow it');
      const granted = () => {
        exchange.code = socks5Codes.succeeded;
      };
      return serveSocks5Bind(conn, session, { request, metadata, granted });
    }
    default:
      throw new ProxyError('unsupported', 'self', `${nameOf(request)} of SOCKS5 is not served`);
  }
}

/** Throws where the file does not allow what is asked for. */
function allow(isAllowed: boolean | undefined, message: string): void {
  if (isAllowed !== true) throw new ProxyError('forbidden', 'client', message);
}

async function connect(exchange: Exchange, conn: Conn, address: Address): Promise<ProxyError | undefined> {
  exchange.target = canonicalTarget(address);
  const upstream = await exchange.session.open(exchange.target);
  try {
    await accept(exchange, conn, upstream.local);
  } catch (error) {
    upstream.reset();
    throw error;
  }
  const { session, metadata, target } = exchange;
  if (metadata.sniffing !== true) return session.relay(conn, upstream);
  return relaySniffed(conn, upstream, session, { target, timeoutMs: metadata.sniffingTimeoutMs });
}

/** RFC 1928, section 7: a socket of its own for this client, for as long as its connection lasts. */
async function associate(
  exchange: Exchange,
  conn: Conn,
  announced: Address,
): Promise<ProxyError | undefined> {
  const { session, metadata } = exchange;
  const { local, remote } = conn;
  if (isIP(local.host) === 0) {
    throw new ProxyError(
      'unsupported',
      'self',
      'datagrams cannot be carried beside a connection that is not TCP',
    );
  }
  const { udpMinPort: min, udpMaxPort: max, publicAddr = local.host } = metadata;
  const socket = await openRelaySocket({
    host: local.host,
    ...((min !== undefined || max !== undefined) && { ports: { min: min ?? 1024, max: max ?? 65535 } }),
    clientHost: remote.host,
    // Most clients do not know, or tell an address that no longer holds behind a NAT.
    ...(announced.host === remote.host && announced.port !== 0 && { client: announced }),
  });
  let upstream: Datagrams | undefined;
  try {
    upstream = await session.associate();
    await accept(exchange, conn, { host: publicAddr, port: socket.local.port });
  } catch (error) {
    socket.close();
    upstream?.close();
    throw error;
  }
  const read = sharedReads(conn);
  void untilPeerLeaves(read).then(() => socket.close());
  const error = await session.relay(socket, upstream);
  await lingeringClose(conn, { read });
  return error;
}

async function tunnel(exchange: Exchange, conn: Conn): Promise<ProxyError | undefined> {
  const upstream = await exchange.session.associate();
  try {
    await accept(exchange, conn, upstream.local);
  } catch (error) {
    upstream.close();
    throw error;
  }
  return exchange.session.relay(createUdpTunnel(conn, 'client'), upstream);
}

/** Tells the client that it goes on, and which address of ours it goes by, where that is one that SOCKS5 has words for. */
async function accept(exchange: Exchange, conn: Conn, bound: Address): Promise<void> {
  const code = socks5Codes.succeeded;
  await conn.write(formatSocks5Reply(code, isIP(bound.host) === 0 ? undefined : bound));
  exchange.code = code;
}

/** Tells the client what went wrong, where it can still be told. */
async function tell(exchange: Exchange, error: ProxyError): Promise<void> {
  const code = codeOf(error, exchange.request?.command);
  if (exchange.conn === undefined || exchange.code !== undefined || code === undefined) return;
  try {
    await exchange.conn.write(formatSocks5Reply(code));
    exchange.code = code;
  } catch {
    // The client has gone; the error that it was to be told is on its way to the log.
  }
}

function note({ session, request, target, code }: Exchange, error: ProxyError | undefined, ms: number): void {
  // A peer that leaves before it has asked for anything is no fact worth telling.
  if (request === undefined && error?.code === 'clientClosed') return;
  const what = request === undefined ? 'SOCKS5' : `${nameOf(request)}${listensAt(request)}`;
  session.note({
    what: target === undefined ? what : `${what} ${formatAddress(target)}`,
    target,
    user: session.user,
    status: code,
    ms,
    error,
  });
}

/** Of a bind that is no target, and yet what is wanted. */
function listensAt({ command, address }: Socks5Request): string {
  const { bind, muxBind, udpTunnel } = socks5Commands;
  const isBind = command === bind || command === muxBind || (command === udpTunnel && address.port !== 0);
  return isBind ? ` ${formatAddress(address)}` : '';
}

function nameOf({ command }: Socks5Request): string {
  switch (command) {
    case socks5Commands.connect:
      return 'CONNECT';
    case socks5Commands.bind:
      return 'BIND';
    case socks5Commands.udpAssociate:
      return 'UDP ASSOCIATE';
    case socks5Commands.muxBind:
      return 'MUX-BIND';
    case socks5Commands.udpTunnel:
      return 'UDP-TUN';
    default:
      return `command ${String(command)}`;
  }
}
