import type { Accept, Address, Listening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { createLayerHandshakes } from '../../core/layer-handshakes.ts';
import { serveTls } from '../../core/tls-conn.ts';
import { tlsServerOf } from '../../core/tls-contexts.ts';
import type { ServerTls } from '../../core/tls.ts';
import type { Way } from '../../core/way.ts';
import type { TlsLayerOptions } from './options.ts';

/**
 * Listens on the way below and answers TLS handshakes beside its accept loop. `close` resolves when the handshakes that are
 * under way have come to their end, accepted or not. Rejects as the way below does, and with `listenFailed` where the
 * certificate cannot be used.
 */
export async function listenTls(
  under: Way,
  at: Address,
  accept: Accept,
  problem: (error: ProxyError) => void,
  tls: ServerTls | undefined,
  options: TlsLayerOptions,
): Promise<Listening> {
  if (under.listen === undefined)
    throw new ProxyError('unsupported', 'self', 'what is below this TLS listener cannot be listened on');
  if (tls === undefined) throw new ProxyError('listenFailed', 'self', 'a TLS listener needs a certificate');
  // A certificate that cannot be used is found before the first client comes.
  tlsServerOf(tls);
  const timeoutMs = options.handshakeTimeoutMs;
  const handshakes = createLayerHandshakes({ what: 'TLS', timeoutMs, accept, problem });
  const listening = await under.listen(
    at,
    (end) => {
      if (end.kind === 'stream') handshakes.begin(end, () => serveTls(end, tls));
      else {
        end.close();
        problem(new ProxyError('unsupported', 'self', 'TLS cannot be spoken over datagrams'));
      }
    },
    problem,
  );
  return {
    address: listening.address,
    async close() {
      await listening.close();
      await handshakes.idle();
    },
  };
}
