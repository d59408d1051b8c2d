import { ProxyError } from '../../core/errors.ts';
import type { Handshake } from '../../core/handshake.ts';
import { lingeringClose } from '../../core/linger.ts';
import type { Session } from '../../core/session.ts';
import { serveTls } from '../../core/tls-conn.ts';
import type { ServerTls } from '../../core/tls.ts';
import {
  formatSocks5AuthStatus,
  formatSocks5Choice,
  parseSocks5Credentials,
  parseSocks5Offer,
  socks5AuthStatus,
  socks5Methods,
} from '../../wire/socks5.ts';

const { noAuth, userPass, tls: tlsMethod, tlsUserPass, none } = socks5Methods;

/**
 * The server's part of the negotiation: chooses a method, begins TLS where that is part of it, and asks who the client is.
 * Afterwards `handshake.conn` is the connection that the request comes on. Rejects with ProxyError; the client has been told by
 * then, and nothing more can be said to it.
 */
export async function negotiate(
  handshake: Handshake,
  session: Session,
  tls: ServerTls | undefined,
): Promise<void> {
  const offered = await handshake.read(parseSocks5Offer);
  const method = choose(offered, { authenticates: session.authenticates, hasTls: tls !== undefined });
  await handshake.write(formatSocks5Choice(method));
  if (method === none) {
    await lingeringClose(handshake.conn);
    throw session.authenticates
      ? new ProxyError('wrongCredentials', 'client', 'the client offers no user name and password', {
          status: 407,
        })
      : new ProxyError(
          'unsupported',
          'client',
          'the client offers no method of authentication that is served',
        );
  }
  if (tls !== undefined && (method === tlsMethod || method === tlsUserPass)) {
    handshake.conn = await handshake.wait(() => serveTls(handshake.conn, tls));
  }
  if (method === userPass || method === tlsUserPass) await authenticate(handshake, session);
}

/** As GOST chooses: TLS first. Where nobody is asked, credentials are taken from clients that insist on giving them. */
function choose(
  offered: readonly number[],
  { authenticates, hasTls }: { readonly authenticates: boolean; readonly hasTls: boolean },
): number {
  const wanted = authenticates ? [tlsUserPass, userPass] : [tlsMethod, noAuth, tlsUserPass, userPass];
  const withTls = (method: number) => method === tlsMethod || method === tlsUserPass;
  return wanted.find((method) => offered.includes(method) && (hasTls || !withTls(method))) ?? none;
}

async function authenticate(handshake: Handshake, session: Session): Promise<void> {
  try {
    await session.authenticate(await handshake.read(parseSocks5Credentials));
  } catch (cause) {
    const error = ProxyError.from(cause);
    // Whatever the reason, the client learns no more than that it is not let in (RFC 1929: then the connection ends).
    if (error.code !== 'clientClosed' && error.code !== 'handshakeTimeout') {
      await handshake.write(formatSocks5AuthStatus(socks5AuthStatus.refused));
      await lingeringClose(handshake.conn);
    }
    throw error;
  }
  await handshake.write(formatSocks5AuthStatus(socks5AuthStatus.accepted));
}
