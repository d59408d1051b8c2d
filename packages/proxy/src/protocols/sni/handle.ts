import { formatAddress } from '../../core/address.ts';
import type { Conn, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { requestAuthority } from '../../core/http/authority.ts';
import { exchange } from '../../core/http/exchange.ts';
import { serveRequests } from '../../core/http/serve-requests.ts';
import type { HandlerOptions } from '../../core/protocol.ts';
import type { Session } from '../../core/session.ts';
import { awaitFirstBytes } from '../../core/sniffing/first-bytes.ts';
import { PeekedConn } from '../../core/sniffing/peeked-conn.ts';
import { serveTlsByName } from '../../core/sniffing/tls-by-name.ts';
import { defaultReadTimeoutMs } from './options.ts';
import type { HandlerMetadata } from './options.ts';

/**
 * Serves a client that speaks to us as if to its target: TLS goes where its SNI says, port 443, unread; each request of plain
 * HTTP where its own `Host` says. Rejects with ProxyError where nobody can say where the client wants to go.
 */
export async function handleSni(client: End, session: Session, options: HandlerOptions): Promise<void> {
  if (client.kind !== 'stream') throw new ProxyError('unsupported', 'self', 'SNI needs a connection');
  const metadata = options.metadata as HandlerMetadata;
  const timeoutMs = metadata.sniffingTimeoutMs || metadata.readTimeoutMs || defaultReadTimeoutMs;
  const peeked = new PeekedConn(client);
  const first = await awaitFirstBytes(peeked, session, timeoutMs);
  switch (first) {
    case 'tls':
      await authenticate(session);
      return serveTlsByName(peeked, session, { timeoutMs, idleMs: metadata.idleTimeoutMs }, ({ target }) => {
        if (target !== undefined) return session.open(target);
        throw new ProxyError('malformedRequest', 'client', 'the client names no server (SNI)');
      });
    case 'http':
      return serveHttp(peeked.settle(), session, metadata);
    case 'ended':
      await client.end();
      return;
    case 'silent':
    case 'unfinished':
      throw new ProxyError(
        'handshakeTimeout',
        'client',
        `the client said nothing whole for ${String(timeoutMs / 1000)} s`,
      );
    default:
      throw new ProxyError('malformedRequest', 'client', `what came is neither TLS nor HTTP (${first})`);
  }
}

/** Clients have no words for who they are here; an auther may know them by their address. */
async function authenticate(session: Session): Promise<void> {
  if (session.authenticates) await session.authenticate({ username: '', password: '' });
}

function serveHttp(client: Conn, session: Session, metadata: HandlerMetadata): Promise<void> {
  let known = false;
  return serveRequests(client, session, {
    idleMs: metadata.idleTimeoutMs,
    async serve(request, origins) {
      const { head } = request;
      if (head.method === 'CONNECT') {
        throw new ProxyError(
          'unsupported',
          'client',
          'CONNECT is for a proxy; here the target is spoken to',
          {
            status: 501,
          },
        );
      }
      const { target, host, seen, isForProxy } = requestAuthority(head);
      if (target === undefined) {
        throw new ProxyError('malformedRequest', 'client', 'the request names no Host', { status: 400 });
      }
      request.target = target;
      if (!known) await authenticate(session);
      known = true;
      const where = formatAddress(target);
      return exchange({
        client,
        session,
        origins,
        request,
        where,
        answerMs: metadata.readTimeoutMs,
        idleMs: metadata.idleTimeoutMs,
        reach: () =>
          origins.use(async (kept) => {
            if (kept?.key !== where) return { conn: await session.open(target), key: where };
            await session.check(target);
            return kept;
          }),
        // A whole URL is for proxies; the origin is asked for the path.
        outgoing: () => ({
          target: isForProxy ? pathOf(head.target) : head.target,
          host: host === '' ? seen.authority : host,
        }),
      });
    },
  });
}

function pathOf(url: string): string {
  const path = url.replace(/^[^:]*:\/\/[^/?]*/, '');
  return path.startsWith('/') ? path : `/${path}`;
}
