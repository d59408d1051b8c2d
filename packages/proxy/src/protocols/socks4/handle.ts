import { performance } from 'node:perf_hooks';
import { canonicalTarget, formatAddress } from '../../core/address.ts';
import type { Address, Conn, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { Handshake } from '../../core/handshake.ts';
import { lingeringClose } from '../../core/linger.ts';
import type { HandlerOptions } from '../../core/protocol.ts';
import type { Session } from '../../core/session.ts';
import { relaySniffed } from '../../core/sniffing/relay-sniffed.ts';
import { formatSocks4Reply, parseSocks4Request, socks4Codes, socks4Commands } from '../../wire/socks4.ts';
import type { Socks4Request } from '../../wire/socks4.ts';
import { defaultReadTimeoutMs } from './options.ts';
import type { HandlerMetadata } from './options.ts';

/**
 * Serves a client of SOCKS4 or 4a: its one request, and the tunnel that it asks for. The user id is what the auther is asked
 * about, with an empty password. Refused requests are answered and noted; rejects with ProxyError where nobody could be told.
 */
export async function handleSocks4(client: End, session: Session, options: HandlerOptions): Promise<void> {
  if (client.kind !== 'stream') throw new ProxyError('unsupported', 'self', 'SOCKS4 needs a connection');
  const { readTimeoutMs, sniffing, sniffingTimeoutMs } = options.metadata as HandlerMetadata;
  const started = performance.now();
  const request = await readRequest(client, readTimeoutMs || defaultReadTimeoutMs);
  let target: Address | undefined;
  let code: number | undefined;
  let error: ProxyError | undefined;
  try {
    await session.authenticate({ username: request.userId, password: '' });
    if (request.command !== socks4Commands.connect) {
      throw new ProxyError(
        'unsupported',
        'client',
        `command ${String(request.command)} of SOCKS4 is not served`,
      );
    }
    target = canonicalTarget(request.address);
    const upstream = await session.open(target);
    code = socks4Codes.granted;
    try {
      await client.write(formatSocks4Reply(code));
    } catch (cause) {
      upstream.reset();
      throw cause;
    }
    error =
      sniffing === true
        ? await relaySniffed(client, upstream, session, { target, timeoutMs: sniffingTimeoutMs })
        : await session.relay(client, upstream);
  } catch (cause) {
    error = ProxyError.from(cause);
    code ??= await tell(client, error);
  }
  const what = request.command === socks4Commands.connect ? 'CONNECT' : `command ${String(request.command)}`;
  session.note({
    what: target === undefined ? what : `${what} ${formatAddress(target)}`,
    target,
    user: session.user,
    status: code,
    ms: performance.now() - started,
    error,
  });
  if (error !== undefined && (code === undefined || code === socks4Codes.granted)) throw error;
  if (error !== undefined) await lingeringClose(client);
}

async function readRequest(client: Conn, timeoutMs: number): Promise<Socks4Request> {
  const handshake = new Handshake(client, { side: 'client', timeoutMs });
  try {
    return await handshake.read(parseSocks4Request);
  } finally {
    handshake.done();
  }
}

/** Tells the client what went wrong, as far as SOCKS4 has words. Answers what it was told; undefined: it has gone. */
async function tell(client: Conn, error: ProxyError): Promise<number | undefined> {
  if (error.code === 'clientClosed') return undefined;
  const code = codeOf(error);
  try {
    await client.write(formatSocks4Reply(code));
    return code;
  } catch {
    // The client has gone; the error that it was to be told is on its way to the log.
    return undefined;
  }
}

/** As GOST answers: 93 who are you, 92 not allowed, 91 for all else. */
function codeOf({ code, status }: ProxyError): number {
  if (code === 'wrongCredentials' || (code === 'couldNotAsk' && status === 407)) return socks4Codes.wrongUser;
  if (code === 'forbidden' || code === 'tooManyRequests' || (code === 'couldNotAsk' && status === 403)) {
    return socks4Codes.notAllowed;
  }
  return socks4Codes.rejected;
}
