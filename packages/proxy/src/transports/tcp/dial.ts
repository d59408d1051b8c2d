import { lookup } from 'node:dns/promises';
import { connect, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { formatAddress } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { createSocketConn } from '../../core/socket-conn.ts';
import type { Context } from '../../core/way.ts';
import { socketOptions } from './options.ts';
import type { TcpDialerOptions } from './options.ts';

/** From the start of the lookup to the open connection. GOST's `dialTimeout`. */
const dialTimeoutMs = 15_000;

/** How long an address has for itself before the next one of the same name is tried beside it (RFC 8305, section 5). */
const nextAttemptMs = 250;

/**
 * Connects to an address, or to a name by asking the system; a name's addresses are tried one after the other, a quarter of
 * a second apart, and the first to answer wins. Rejects with ProxyError: `nameNotFound`, `dialFailed`, `dialTimeout`
 * (all of them may go well on another way), `clientClosed` when `context.signal` fires, or what `context.refuses` says where
 * it refuses every address of the name. Nothing stays open then.
 */
export function dialTcp(to: Address, context: Context, options: TcpDialerOptions = {}): Promise<Conn> {
  const { signal } = context;
  return new Promise((resolve, reject) => {
    const attempts = new Set<Socket>();
    let settled = false;
    const settle = (winner?: Socket) => {
      settled = true;
      clearTimeout(deadline);
      signal.removeEventListener('abort', onAbort);
      for (const socket of attempts) if (socket !== winner) socket.destroy();
    };
    const fail = (error: ProxyError) => {
      if (settled) return;
      settle();
      reject(error);
    };
    const onAbort = () => {
      fail(new ProxyError('clientClosed', 'client', 'the client went away while its target was dialled'));
    };
    const deadline = setTimeout(() => {
      const message = `${formatAddress(to)} did not answer within ${String(dialTimeoutMs / 1000)} s`;
      fail(new ProxyError('dialTimeout', 'upstream', message, { retryable: true }));
    }, dialTimeoutMs);
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });

    const tryAll = (hosts: readonly string[]) => {
      let next = 0;
      let first: unknown;
      const tryNext = () => {
        if (settled || next >= hosts.length) return;
        const socket = connect({ host: hosts[next++]!, port: to.port, ...socketOptions(options) });
        attempts.add(socket);
        const another = next < hosts.length ? setTimeout(tryNext, nextAttemptMs) : undefined;
        socket.once('connect', () => {
          clearTimeout(another);
          if (settled) return;
          settle(socket);
          socket.off('error', failed);
          resolve(createSocketConn(socket, { side: 'upstream' }));
        });
        const failed = (error: Error) => {
          clearTimeout(another);
          attempts.delete(socket);
          first ??= error;
          if (next < hosts.length) tryNext();
          else if (attempts.size === 0) fail(dialError(to, first));
        };
        socket.once('error', failed).once('close', () => clearTimeout(another));
      };
      tryNext();
    };
    if (isIP(to.host) !== 0) tryAll([to.host]);
    else {
      lookup(to.host, { all: true, verbatim: true }).then(
        (found) => {
          let refusal: ProxyError | undefined;
          const allowed = found.filter(({ address }) => {
            const refused = context.refuses?.({ host: address, port: to.port });
            refusal ??= refused;
            return refused === undefined;
          });
          // One address that may not be dialled does not hide the others.
          if (refusal !== undefined && allowed.length === 0) fail(refusal);
          else tryAll(interleaved(allowed));
        },
        (error: unknown) => fail(dialError(to, error)),
      );
    }
  });
}

/** IPv6 and IPv4 in turns, so that one family that leads nowhere costs one step only (RFC 8305, section 4). */
function interleaved(found: readonly { readonly address: string; readonly family: number }[]): string[] {
  const preferred = found.filter(({ family }) => family === found[0]?.family);
  const others = found.filter(({ family }) => family !== found[0]?.family);
  return preferred
    .flatMap(({ address }, index) => [address, others[index]?.address].filter((host) => host !== undefined))
    .concat(others.slice(preferred.length).map(({ address }) => address));
}

function dialError(to: Address, cause: unknown): ProxyError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const at = formatAddress(to);
  const options = { cause, retryable: true };
  switch (code) {
    case 'ENOTFOUND':
    case 'ENODATA':
      return new ProxyError('nameNotFound', 'upstream', `there is no such name: ${to.host}`, options);
    case 'EAI_AGAIN':
      return new ProxyError('nameNotFound', 'upstream', `${to.host}: no DNS server answered`, options);
    case 'ECONNREFUSED':
      return new ProxyError(
        'dialFailed',
        'upstream',
        `nothing listens at ${at} (connection refused)`,
        options,
      );
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new ProxyError('dialFailed', 'upstream', `there is no route to ${at}`, options);
    case 'ETIMEDOUT':
      return new ProxyError('dialTimeout', 'upstream', `${at} did not answer`, options);
    case 'EMFILE':
    case 'ENFILE':
      return new ProxyError('dialFailed', 'self', 'too many open files (see ulimit -n)', { cause });
    default:
      return new ProxyError('dialFailed', 'upstream', `${at} could not be reached: ${message}`, options);
  }
}
