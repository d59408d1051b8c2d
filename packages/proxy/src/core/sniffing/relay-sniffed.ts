import type { Address, Conn } from '../conn.ts';
import { formatAddress } from '../address.ts';
import { ProxyError } from '../errors.ts';
import { requestAuthority } from '../http/authority.ts';
import { exchange } from '../http/exchange.ts';
import type { Opened } from '../http/origins.ts';
import { serveRequests } from '../http/serve-requests.ts';
import type { Session } from '../session.ts';
import { sniffFirstBytes } from './first-bytes.ts';
import { PeekedConn } from './peeked-conn.ts';
import { serveTlsByName } from './tls-by-name.ts';

/**
 * How long a beginning that may still become something may take to become it. Something begun comes in one piece nearly
 * always; fifteen seconds are GOST's for the whole of a request's head.
 */
const defaultSniffMs = 15_000;

/** How a tunnel is looked into. */
export interface RelaySniffedOptions {
  /** Where the tunnel leads; dialled again where the target closed between two requests. */
  readonly target: Address;
  /** In milliseconds; 0 or absent: 15 s. */
  readonly timeoutMs?: number | undefined;
  /** As in {@link Session.relay}. */
  readonly idleMs?: number | undefined;
}

/**
 * Carries a tunnel's bytes both ways, as {@link Session.relay} does, and looks into what the client says: each request of
 * HTTP is checked by the host that it names, and TLS by the server that it names; everything goes where the tunnel leads.
 * Whoever lets the server speak first is no HTTP and no TLS, and does not wait. Both connections end here. Resolves with what
 * broke it, or what refused it.
 */
export async function relaySniffed(
  client: Conn,
  upstream: Conn,
  session: Session,
  { target, timeoutMs, idleMs }: RelaySniffedOptions,
): Promise<ProxyError | undefined> {
  const from = new PeekedConn(client);
  const to = new PeekedConn(upstream);
  const sniffMs = timeoutMs || defaultSniffMs;
  const raw = () => {
    return session.relay(from.settle(), to.settle(), { ...(idleMs !== undefined && { idleMs }) });
  };
  try {
    const speaker = await firstToSpeak(from, to, idleMs ?? session.idleMs);
    if (speaker === undefined) {
      client.reset();
      upstream.reset();
      return new ProxyError('idleTimeout', 'client', 'nobody said anything in the tunnel');
    }
    if (speaker === 'upstream') return await raw();
    switch (await sniffFirstBytes(from, sniffMs, sniffMs)) {
      case 'http':
        await serveHttp(from, to, session, { target, idleMs });
        return undefined;
      case 'tls':
        await serveTlsByName(from, session, { timeoutMs: sniffMs, idleMs }, async (start) => {
          // Without a name it goes where the tunnel leads, which has been checked.
          if (start.target !== undefined) await session.check(start.target);
          return to.settle();
        });
        return undefined;
      case 'unfinished': {
        const message = `what the client began in its tunnel was not whole within ${String(sniffMs / 1000)} s`;
        throw new ProxyError('handshakeTimeout', 'client', message);
      }
      default:
        return await raw();
    }
  } catch (cause) {
    const error = ProxyError.from(cause);
    client.reset();
    upstream.reset();
    return error;
  }
}

/** Requests inside a tunnel. What they name is checked; they go where the tunnel leads. */
function serveHttp(
  client: PeekedConn,
  upstream: PeekedConn,
  session: Session,
  { target, idleMs }: Pick<RelaySniffedOptions, 'target' | 'idleMs'>,
): Promise<void> {
  let first: Opened | undefined = { conn: upstream.settle(), key: '' };
  const where = formatAddress(target);
  const conn = client.settle();
  return serveRequests(conn, session, {
    idleMs,
    async serve(request, origins) {
      const { host, isForProxy, target: named } = requestAuthority(request.head);
      request.target = named ?? target;
      if (named !== undefined) await session.check(named);
      return exchange({
        client: conn,
        session,
        origins,
        request,
        where,
        idleMs,
        reach: () =>
          origins.use(async (kept) => {
            const opened = kept ?? first;
            first = undefined;
            return opened ?? { conn: await session.open(target), key: '' };
          }),
        outgoing: () => ({ target: request.head.target, host, isForProxy }),
      });
    },
  }).finally(() => first?.conn.reset());
}

/** Undefined: nobody, within `ms` milliseconds; 0: waits for ever. */
async function firstToSpeak(
  client: PeekedConn,
  upstream: PeekedConn,
  ms: number,
): Promise<'client' | 'upstream' | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const speakers = [
    client.stirred().then(() => 'client' as const),
    upstream.stirred().then(() => 'upstream' as const),
  ];
  const silence = new Promise<undefined>((resolve) => {
    if (ms > 0) timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([...speakers, silence]);
  } finally {
    clearTimeout(timer);
  }
}
