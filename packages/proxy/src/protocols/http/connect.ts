import { formatHead, Http1Error, Http1HeadReader } from '@sallyport/plugin/wire';
import type { Http1ResponseHead } from '@sallyport/plugin/wire';
import { formatAddress } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { ProxyError } from '../../core/errors.ts';
import { Handshake } from '../../core/handshake.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { createUdpTunnel } from '../../core/udp-tunnel.ts';
import type { Context, Way } from '../../core/way.ts';
import type { ConnectorMetadata } from './options.ts';

/** Interim answers (1xx) to one request; an endless row of them is no answer. */
const maxInterim = 8;

/**
 * Asks an HTTP proxy for a tunnel (RFC 9110, section 9.3.6). What comes right after the head of its yes belongs to the tunnel
 * and is kept. Rejects with ProxyError as {@link Connector.connect}.
 */
export function connectHttp(
  node: Conn,
  target: Address,
  options: ConnectorOptions,
  context: Context,
): Promise<Conn> {
  return ask(node, formatAddress(target), [], options, context);
}

/**
 * Asks GOST's HTTP proxy to carry datagrams: in the frames of its UDP tunnel, through the connection. The request names no
 * target, as GOST's own does not. Rejects with ProxyError as {@link Connector.connect}.
 */
export async function associateHttp(
  node: Conn,
  _under: Way,
  options: ConnectorOptions,
  context: Context,
): Promise<Datagrams> {
  return createUdpTunnel(await ask(node, '', ['X-Gost-Protocol', 'udp'], options, context), 'upstream');
}

/** Where it rejects the connection has been reset. */
async function ask(
  conn: Conn,
  target: string,
  further: readonly string[],
  { auth, metadata, node }: ConnectorOptions,
  { signal }: Context,
): Promise<Conn> {
  const { header = [], timeoutMs } = metadata as ConnectorMetadata;
  const handshake = new Handshake(conn, {
    side: 'upstream',
    signal,
    ...(timeoutMs !== undefined && timeoutMs > 0 && { timeoutMs }),
  });
  const fields = ['Host', target, ...header.flat(), ...further];
  if (auth !== undefined) {
    const credentials = Buffer.from(`${auth.username}:${auth.password}`).toString('base64');
    fields.push('Proxy-Authorization', `Basic ${credentials}`);
  }
  try {
    await handshake.write(Buffer.from(formatHead(`CONNECT ${target} HTTP/1.1`, fields), 'latin1'));
    const { status } = await readAnswer(handshake, node);
    if (status < 200 || status > 299) throw refusal(status, target, node, auth !== undefined);
    return conn;
  } catch (error) {
    conn.reset();
    throw error;
  } finally {
    handshake.done();
  }
}

/** The final answer; what follows its head is put back. */
async function readAnswer(handshake: Handshake, node: Address): Promise<Http1ResponseHead> {
  const reader = new Http1HeadReader('response');
  const { conn } = handshake;
  let interim = 0;
  for (;;) {
    const bytes = await handshake.wait(() => conn.read());
    if (bytes === null) {
      const message = `the node ${formatAddress(node)} ended the connection without an answer`;
      throw new ProxyError('upstreamClosed', 'upstream', message, { retryable: true });
    }
    for (let head = push(reader, bytes, node); head !== undefined; head = push(reader, reader.rest, node)) {
      if (head.status < 100 || head.status > 199) {
        conn.unread(reader.rest);
        return head;
      }
      if (head.status === 101 || ++interim > maxInterim) throw bad(node, 'it does not answer the request');
      if (reader.rest.length === 0) break;
    }
  }
}

function push(reader: Http1HeadReader<'response'>, bytes: Buffer, node: Address) {
  try {
    return reader.push(bytes);
  } catch (cause) {
    if (cause instanceof Http1Error) throw bad(node, cause.message, cause);
    throw cause;
  }
}

function bad(node: Address, why: string, cause?: Error): ProxyError {
  const message = `the node ${formatAddress(node)} gave no valid answer: ${why}`;
  return new ProxyError('badUpstreamReply', 'upstream', message, { cause, retryable: true });
}

function refusal(status: number, target: string, node: Address, hasAuth: boolean): ProxyError {
  const at = formatAddress(node);
  const what = target === '' ? 'datagrams' : target;
  const options = { retryable: true };
  if (status === 407) {
    const message = hasAuth
      ? `the node ${at} does not accept our credentials (407)`
      : `the node ${at} wants a user name and a password (407)`;
    return new ProxyError('upstreamRefused', 'upstream', message, options);
  }
  if (status >= 500 && status !== 501) {
    const message = `the node ${at} could not reach ${what} (HTTP says ${String(status)})`;
    return new ProxyError('dialFailed', 'upstream', message, options);
  }
  return new ProxyError(
    'upstreamRefused',
    'upstream',
    `the node ${at} does not allow ${what} (HTTP says ${String(status)})`,
    options,
  );
}
