import { formatAddress } from './address.ts';
import type { Address, Conn } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import { ProxyError } from './errors.ts';
import { shakeUpstream } from './layer-handshakes.ts';
import type { Route } from './route.ts';
import { connectTls } from './tls-conn.ts';
import type { ClientTls } from './tls.ts';
import type { Context } from './way.ts';

/** A forwarder's node that is spoken to over TLS. */
export function overTls(conn: Conn, to: Address, tls: ClientTls, { signal }: Context): Promise<Conn> {
  return shakeUpstream(conn, { what: 'TLS', to, signal }, () => connectTls(conn, to, tls));
}

/** A place for datagrams along a route. Throws ProxyError `unsupported` where its last node carries none. */
export function packets({ way, path }: Route, to: Address | undefined, context: Context): Promise<Datagrams> {
  if (way.packets === undefined) {
    const last = path.at(-1);
    const where = last === undefined ? 'this way' : last;
    throw new ProxyError('unsupported', 'self', `datagrams cannot be carried through ${where}`, {
      status: 501,
    });
  }
  return way.packets(to, context);
}

/** The longest that Node's timers wait; what is longer would be over at once. */
const maxTimerMs = 2 ** 31 - 1;

/**
 * One deadline over everything that it takes to reach a target. Rejects with what `run` rejects with, or with ProxyError
 * `dialTimeout` when `ms` have passed; the signal's reason is then `deadline`, and `left` when the client has gone.
 */
export async function withDeadline<T>(
  gone: AbortSignal,
  ms: number,
  to: () => Address | undefined,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const ended = new AbortController();
  let late = false;
  const leave = () => ended.abort('left');
  gone.addEventListener('abort', leave, { once: true });
  const timer = setTimeout(
    () => {
      late = true;
      ended.abort('deadline');
    },
    Math.min(ms, maxTimerMs),
  );
  try {
    return await run(ended.signal);
  } catch (error) {
    if (!late) throw error;
    const target = to();
    const what =
      target === undefined ? 'no place for datagrams' : `no connection to ${formatAddress(target)}`;
    throw new ProxyError('dialTimeout', 'upstream', `${what} within ${String(ms / 1000)} s`, {
      cause: error,
      retryable: true,
    });
  } finally {
    clearTimeout(timer);
    gone.removeEventListener('abort', leave);
  }
}
