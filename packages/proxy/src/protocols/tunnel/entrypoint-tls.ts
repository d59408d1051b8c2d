import { canonicalTarget } from '../../core/address.ts';
import { ProxyError } from '../../core/errors.ts';
import type { PeekedConn } from '../../core/sniffing/peeked-conn.ts';
import { serveTlsByName } from '../../core/sniffing/tls-by-name.ts';
import { connOf, publicTunnel, reachTunnel } from './entrypoint-visit.ts';
import type { Visitor } from './entrypoint-visit.ts';

/** Heads of record and message, version, and 32 random bytes (RFC 8446, section 4.1.2). */
const beginningBytes = 5 + 4 + 2 + 32;

/**
 * Passes a visitor's TLS on, unread, to the tunnel that the name in its ClientHello leads to; the target is port 443 of that
 * name. Rejects with ProxyError `malformedRequest` where it names no server, `noRoute` where the name leads to no tunnel or to a
 * private one, and as {@link serveTlsByName}; whoever called ends the connection.
 */
export function serveEntrypointTls(client: PeekedConn, visitor: Visitor): Promise<void> {
  const { session, tunnels, options, laps } = visitor;
  let redirect: string | undefined;
  return serveTlsByName(
    client,
    session,
    {
      timeoutMs: options.readTimeoutMs,
      facts: () => ({ node: tunnels.node, ...(redirect !== undefined && { redirect }) }),
    },
    async ({ target: named }) => {
      if (named === undefined)
        throw new ProxyError('malformedRequest', 'client', 'the visitor names no server (SNI)');
      const target = canonicalTarget(named);
      const beginning = await beginningOf(client);
      laps.tls.check(beginning);
      const id = await publicTunnel(visitor, target, {});
      const visit = { network: 'tcp', source: session.client, target } as const;
      const reached = await reachTunnel(visitor, id, visit, {});
      ({ redirect } = reached);
      const upstream = connOf(reached.end);
      if (redirect !== undefined) laps.tls.depart(beginning, upstream.closed);
      return upstream;
    },
  );
}

/** Up to the end of the random bytes, where the message is not cut in pieces before that. It stays where it is. */
async function beginningOf(client: PeekedConn): Promise<Buffer> {
  const bytes = (await client.read()) ?? Buffer.alloc(0);
  client.unread(bytes);
  return Buffer.from(bytes.subarray(0, beginningBytes));
}
