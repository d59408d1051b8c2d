import { isIP } from 'node:net';
import { formatAddress } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import { Handshake } from '../../core/handshake.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { connectTls } from '../../core/tls-conn.ts';
import type { ClientTls } from '../../core/tls.ts';
import type { Context, Way } from '../../core/way.ts';
import {
  formatSocks5Credentials,
  formatSocks5Offer,
  formatSocks5Request,
  parseSocks5AuthStatus,
  parseSocks5Choice,
  parseSocks5Reply,
  socks5AuthStatus,
  socks5Codes,
  socks5Commands,
  socks5Methods,
} from '../../wire/socks5.ts';
import type { Socks5Request } from '../../wire/socks5.ts';
import type { ConnectorMetadata } from './options.ts';
import { createRelayedDatagrams } from './relayed-datagrams.ts';
import { createUdpTunnel } from '../../core/udp-tunnel.ts';

const { noAuth, userPass, tls: tlsMethod, tlsUserPass, none } = socks5Methods;

/**
 * Without `tls` in the file the node is not verified, as in GOST: its certificate is usually one that it made itself, and TLS
 * within SOCKS5 stands in the place of no TLS at all.
 */
const unverified: ClientTls = { verify: false };

/** GOST asks so, and RFC 1928 lets a client that does not know where it will send from. */
const unspecified: Address = { host: '0.0.0.0', port: 0 };

/** Asks a SOCKS5 node for a connection to the target. Rejects with ProxyError as {@link Connector.connect}. */
export function connectSocks5(
  node: Conn,
  target: Address,
  options: ConnectorOptions,
  context: Context,
): Promise<Conn> {
  const request = { command: socks5Commands.connect, address: target };
  return askSocks5(node, request, options, context, ({ conn }) => Promise.resolve(conn));
}

/**
 * Asks a SOCKS5 node to carry datagrams: through the connection in the frames of GOST's UDP tunnel, or with `relay: udp` by
 * RFC 1928's UDP ASSOCIATE. Rejects with ProxyError as {@link Connector.connect}, and `unsupported` where datagrams cannot
 * reach the node.
 */
export function associateSocks5(
  node: Conn,
  under: Way,
  options: ConnectorOptions,
  context: Context,
): Promise<Datagrams> {
  const { relay = 'tcp' } = options.metadata as ConnectorMetadata;
  if (relay === 'tcp') {
    const request = { command: socks5Commands.udpTunnel, address: unspecified };
    return askSocks5(node, request, options, context, ({ conn }) =>
      Promise.resolve(createUdpTunnel(conn, 'upstream')),
    );
  }
  const request = { command: socks5Commands.udpAssociate, address: unspecified };
  return askSocks5(node, request, options, context, async ({ conn, bound }) => {
    if (under.packets === undefined) {
      const message = `datagrams cannot reach the node ${formatAddress(options.node)}; leave out \`relay: udp\``;
      throw new ProxyError('unsupported', 'self', message);
    }
    // A server that does not say where means the address that it was reached by.
    const here = bound.host === '0.0.0.0' || bound.host === '::';
    const host = here ? (isIP(conn.remote.host) === 0 ? options.node.host : conn.remote.host) : bound.host;
    return createRelayedDatagrams(conn, await under.packets({ host, port: bound.port }, context));
  });
}

/** One request, and what is made of a yes. Where it rejects the connection has been reset. */
export async function askSocks5<T>(
  node: Conn,
  request: Socks5Request,
  options: ConnectorOptions,
  { signal }: Context,
  accepted: (answer: { readonly conn: Conn; readonly bound: Address }) => Promise<T>,
): Promise<T> {
  const handshake = new Handshake(node, { side: 'upstream', signal });
  try {
    await negotiate(handshake, options);
    await handshake.write(formatSocks5Request(request));
    const { code, bound } = await handshake.read(parseSocks5Reply);
    if (code !== socks5Codes.succeeded) throw refusal(code, request, options.node);
    return await accepted({ conn: handshake.conn, bound });
  } catch (error) {
    handshake.conn.reset();
    throw error;
  } finally {
    handshake.done();
  }
}

async function negotiate(handshake: Handshake, options: ConnectorOptions): Promise<void> {
  const { auth, metadata, tls = unverified, node } = options;
  const { notls = false } = metadata as ConnectorMetadata;
  const offered: number[] = [noAuth];
  if (auth !== undefined) offered.push(userPass);
  if (!notls) offered.push(tlsMethod);
  if (!notls && auth !== undefined) offered.push(tlsUserPass);
  await handshake.write(formatSocks5Offer(offered));
  const method = await handshake.read(parseSocks5Choice);
  const at = formatAddress(node);
  if (method === none) {
    const hint = auth === undefined ? '; it may want a user name and a password' : '';
    throw refused(`the node ${at} accepts none of the methods of authentication that we offer${hint}`);
  }
  if (!offered.includes(method)) {
    const message = `the node ${at} chose a method (${String(method)}) that was not offered`;
    throw new ProxyError('badUpstreamReply', 'upstream', message, { retryable: true });
  }
  if (method === tlsMethod || method === tlsUserPass) {
    handshake.conn = await handshake.wait(() => connectTls(handshake.conn, node, tls));
  }
  if (auth === undefined || (method !== userPass && method !== tlsUserPass)) return;
  await handshake.write(formatSocks5Credentials(auth));
  const status = await handshake.read(parseSocks5AuthStatus);
  if (status !== socks5AuthStatus.accepted) throw refused(`the node ${at} does not accept our credentials`);
}

function refusal(code: number, { command, address }: Socks5Request, node: Address): ProxyError {
  const at = formatAddress(node);
  const [verb, what] = wordsOf({ command, address });
  switch (code) {
    case socks5Codes.notAllowed:
      return refused(`the node ${at} does not allow ${what}`);
    case socks5Codes.commandNotSupported:
    case socks5Codes.addressTypeNotSupported:
      return refused(`the node ${at} does not serve ${what} (SOCKS5 says ${String(code)})`);
    default: {
      const message = `the node ${at} could not ${verb} ${what} (SOCKS5 says ${String(code)})`;
      return new ProxyError('dialFailed', 'upstream', message, { retryable: true });
    }
  }
}

/** What is asked of a node, in the words of its errors. */
function wordsOf({ command, address }: Socks5Request): [verb: string, what: string] {
  if (command === socks5Commands.connect) return ['reach', formatAddress(address)];
  if (command === socks5Commands.muxBind) return ['listen for', `connections at ${formatAddress(address)}`];
  if (address.port === 0) return ['carry', 'datagrams'];
  return ['listen for', `datagrams at ${formatAddress(address)}`];
}

function refused(message: string): ProxyError {
  return new ProxyError('upstreamRefused', 'upstream', message, { retryable: true });
}
