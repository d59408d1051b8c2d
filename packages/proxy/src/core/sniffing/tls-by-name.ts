import { performance } from 'node:perf_hooks';
import { formatAddress } from '../address.ts';
import type { Address, Conn } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import type { Session } from '../session.ts';
import type { ClientHello } from '../../wire/client-hello.ts';
import { readClientHello } from './first-bytes.ts';
import type { PeekedConn } from './peeked-conn.ts';

const httpsPort = 443;

/** How a connection that is passed on unread is treated. */
export interface TlsOptions {
  /** For the ClientHello to be whole. */
  readonly timeoutMs: number;
  /** As in {@link Session.relay}. */
  readonly idleMs?: number | undefined;
  /** What more the protocol knows of it by then, for records, under GOST's keys. */
  readonly facts?: () => Readonly<Record<string, unknown>>;
}

/** What becomes of a TLS connection whose beginning has been read. */
export interface TlsStart {
  readonly hello: ClientHello;
  /** Where the SNI says that it goes; undefined where it names no server. */
  readonly target: Address | undefined;
}

/**
 * Serves a TLS connection that passes unread: reads its ClientHello, lets `reach` decide where it goes, and relays. Notes
 * what became of it; rejects with ProxyError where it ended badly, the connection being left to whoever called.
 */
export async function serveTlsByName(
  client: PeekedConn,
  session: Session,
  { timeoutMs, idleMs, facts }: TlsOptions,
  reach: (start: TlsStart) => Promise<Conn>,
): Promise<void> {
  const started = performance.now();
  let start: TlsStart | undefined;
  let error: ProxyError | undefined;
  try {
    const hello = await readClientHello(client, timeoutMs);
    const { serverName } = hello;
    start = { hello, target: serverName === undefined ? undefined : { host: serverName, port: httpsPort } };
    const upstream = await reach(start);
    const options = { ...(idleMs !== undefined && { idleMs }) };
    error = await session.relay(client.settle(), upstream, options);
  } catch (cause) {
    error = ProxyError.from(cause);
  }
  const target = start?.target;
  session.note({
    what: target === undefined ? 'TLS' : `TLS ${formatAddress(target)}`,
    target,
    user: session.user,
    status: undefined,
    ms: performance.now() - started,
    error,
    ...(start !== undefined && { details: { tls: recordOf(start.hello), ...facts?.() } }),
  });
  if (error !== undefined) throw error;
}

/** As GOST's records have it under `tls`, as far as the client's side says it. */
function recordOf({ serverName, alpn, versions }: ClientHello): Readonly<Record<string, unknown>> {
  const highest = Math.max(...versions.filter((version) => version >= 0x0300 && version <= 0x0304));
  return {
    serverName: serverName ?? '',
    proto: alpn[0] ?? '',
    version: Number.isFinite(highest) ? versionNames[highest - 0x0300]! : '',
  };
}

const versionNames = ['ssl3.0', 'tls1.0', 'tls1.1', 'tls1.2', 'tls1.3'];
