import type { Address, Conn } from '../../core/conn.ts';
import { shakeUpstream } from '../../core/layer-handshakes.ts';
import { connectTls } from '../../core/tls-conn.ts';
import type { ClientTls } from '../../core/tls.ts';
import type { Context, Way } from '../../core/way.ts';
import type { TlsLayerOptions } from './options.ts';

/**
 * Dials the way below and speaks TLS over it. Rejects as the way below does, with `dialFailed` where the server is not
 * believed or speaks no TLS, or with `dialTimeout`.
 */
export async function dialTls(
  under: Way,
  to: Address,
  context: Context,
  tls: ClientTls,
  options: TlsLayerOptions,
): Promise<Conn> {
  const conn = await under.dial(to, context);
  const shaking = { what: 'TLS', to, signal: context.signal, timeoutMs: options.handshakeTimeoutMs };
  return shakeUpstream(conn, shaking, () => connectTls(conn, to, tls));
}
