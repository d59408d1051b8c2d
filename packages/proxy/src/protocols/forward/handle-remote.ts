import { performance } from 'node:perf_hooks';
import { formatAddress } from '../../core/address.ts';
import type { End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { HandlerOptions } from '../../core/protocol.ts';
import type { Session } from '../../core/session.ts';
import { relaySniffed } from '../../core/sniffing/relay-sniffed.ts';
import { handleForward } from './handle.ts';
import type { HandlerMetadata } from './options.ts';

/**
 * Serves what a remote listener was given: as {@link handleForward} where the service has a forwarder. Where it has none, a
 * tunnel's visitor is taken to where it wants to go, which the service's rules are asked about. Rejects with ProxyError.
 */
export async function handleRemote(client: End, session: Session, options: HandlerOptions): Promise<void> {
  if (session.forwards) return handleForward(client, session, options);
  const { wanted } = client;
  if (wanted === undefined) {
    const message = 'the service has no forwarder, and who connected did not say where it wants to go';
    throw new ProxyError('noRoute', 'self', message);
  }
  const { sniffing, sniffingTimeoutMs: timeoutMs, idleTimeoutMs } = options.metadata as HandlerMetadata;
  const started = performance.now();
  let error: ProxyError | undefined;
  try {
    if (client.kind === 'datagrams') {
      error = await session.relay(client, await session.openDatagrams(wanted));
    } else {
      const upstream = await session.open(wanted);
      error =
        sniffing === true
          ? await relaySniffed(client, upstream, session, { target: wanted, timeoutMs })
          : await session.relay(client, upstream, {
              ...(idleTimeoutMs !== undefined && { idleMs: idleTimeoutMs }),
            });
    }
  } catch (cause) {
    error = ProxyError.from(cause);
  }
  session.note({
    what: `visit ${formatAddress(wanted)}`,
    target: wanted,
    user: session.user,
    status: undefined,
    ms: performance.now() - started,
    error,
  });
  if (error !== undefined) throw error;
}
