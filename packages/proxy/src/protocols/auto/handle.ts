import type { End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { HandlerOptions } from '../../core/protocol.ts';
import type { Session } from '../../core/session.ts';
import { awaitFirstBytes } from '../../core/sniffing/first-bytes.ts';
import { PeekedConn } from '../../core/sniffing/peeked-conn.ts';
import { serveTlsByName } from '../../core/sniffing/tls-by-name.ts';
import { defaultReadTimeoutMs } from './options.ts';
import type { HandlerMetadata } from './options.ts';

/**
 * Serves a client in the protocol that its first bytes are in: SOCKS4, SOCKS5 or HTTP; TLS passes unread to the server that it
 * names, where an auther that is given no credentials lets it. Rejects with ProxyError where it is anything else.
 */
export async function handleAuto(client: End, session: Session, options: HandlerOptions): Promise<void> {
  if (client.kind !== 'stream') throw new ProxyError('unsupported', 'self', 'auto needs a connection');
  const { sniffingTimeoutMs, readTimeoutMs, idleTimeoutMs } = options.metadata as HandlerMetadata;
  const timeoutMs = sniffingTimeoutMs || readTimeoutMs || defaultReadTimeoutMs;
  const peeked = new PeekedConn(client);
  const first = await awaitFirstBytes(peeked, session, timeoutMs);
  switch (first) {
    case 'socks4':
    case 'socks5':
    case 'http':
      return session.serve(peeked.settle(), first);
    case 'tls':
      return serveTlsByName(peeked, session, { timeoutMs, idleMs: idleTimeoutMs }, async ({ target }) => {
        if (target === undefined)
          throw new ProxyError('malformedRequest', 'client', 'the client names no server (SNI)');
        if (session.authenticates) await session.authenticate({ username: '', password: '' });
        return session.open(target);
      });
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
    default: {
      const shown = await beginning(peeked);
      const message = `what came is neither SOCKS nor HTTP nor TLS: ${first === 'unknown' ? shown : first}`;
      throw new ProxyError('malformedRequest', 'client', message);
    }
  }
}

/** The first bytes, for people. */
async function beginning(conn: PeekedConn): Promise<string> {
  const bytes = await conn.read();
  return JSON.stringify(bytes?.subarray(0, 16).toString('latin1') ?? '').replace(
    /[^\x20-\x7e]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
