import { performance } from 'node:perf_hooks';
import { formatAddress } from '../address.ts';
import type { Address, End } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import type { Session } from '../session.ts';

/**
 * Serves a visitor of a socket that is bound in a client's name, in a session of its own, to its end: `meet` makes what leads to
 * the client, as soon as the visitor may be as fast as its limits say. Rejects with what broke it, which has been noted.
 */
export async function serveVisitor(
  end: End,
  visitor: Session,
  meet: (who: Address) => Promise<End>,
): Promise<void> {
  const started = performance.now();
  let error: ProxyError | undefined;
  try {
    await visitor.limit(visitor.network);
    error = await visitor.relay(end, await meet(end.remote));
  } catch (cause) {
    error = ProxyError.from(cause);
  }
  visitor.note({
    what: `visitor of ${formatAddress(end.local)}`,
    target: undefined,
    user: visitor.user,
    status: undefined,
    ms: performance.now() - started,
    error,
  });
  if (error !== undefined) throw error;
}
