import { ProxyError } from '../../core/errors.ts';
import type { ServeVisitor } from '../../core/protocol.ts';
import type { Session } from '../../core/session.ts';
import { PeekedConn } from '../../core/sniffing/peeked-conn.ts';
import { serveEntrypointHttp } from './entrypoint-http.ts';
import { serveEntrypointRelay } from './entrypoint-relay.ts';
import { serveEntrypointTls } from './entrypoint-tls.ts';
import { createLaps } from './laps.ts';
import type { EntrypointOptions, Tunnels } from './tunnels.ts';

/** The first byte of the relay protocol, its version. */
const relayVersion = 1;

/** The first byte of TLS, that of a handshake's record. */
const tlsHandshake = 0x16;

/** A ClientHello has its own random bytes, and comes twice from nobody who means it. */
const tlsLaps = 2;

/** Requests of visitors for one source may look the same. */
const relayLaps = 32;

/** So long, in milliseconds, a service that stops waits for those who have just come, as they are about to speak. */
const lastWordsMs = 1000;

/**
 * Makes what serves the visitors of one entrypoint. By its first byte a connection is the relay protocol (1), TLS (0x16), which
 * is passed on unread, or HTTP/1.x; each gets to a tunnel by the name of the host that it says. What is served rejects with
 * ProxyError where a connection ended badly, and `handshakeTimeout` where nothing came in time.
 */
export function createEntrypoint(tunnels: Tunnels, options: EntrypointOptions): ServeVisitor {
  const laps = { tls: createLaps(tlsLaps), relay: createLaps(relayLaps) };
  return async (end, session) => {
    if (end.kind !== 'stream')
      throw new ProxyError('unsupported', 'self', 'an entrypoint of tunnels needs a connection');
    const visitor = { session, tunnels, options, laps };
    const peeked = new PeekedConn(end);
    switch (await firstByte(peeked, session, options.readTimeoutMs)) {
      case undefined:
        await end.end();
        return;
      case relayVersion:
        return serveEntrypointRelay(peeked.settle(), visitor);
      case tlsHandshake:
        return serveEntrypointTls(peeked, visitor);
      default:
        return serveEntrypointHttp(peeked.settle(), visitor);
    }
  };
}

/** The first byte, which stays where it is; undefined where the visitor had nothing to say. */
async function firstByte(
  peeked: PeekedConn,
  session: Session,
  timeoutMs: number,
): Promise<number | undefined> {
  let leaving: NodeJS.Timeout | undefined;
  const undo = session.onStopping(() => {
    leaving = setTimeout(() => {
      peeked.reset();
    }, lastWordsMs);
  });
  try {
    if (!(await peeked.stirredWithin(timeoutMs))) {
      const message = `the visitor said nothing for ${String(timeoutMs / 1000)} s`;
      throw new ProxyError('handshakeTimeout', 'client', message);
    }
  } finally {
    undo();
    clearTimeout(leaving);
  }
  const bytes = await peeked.read();
  if (bytes === null) return undefined;
  peeked.unread(bytes);
  return bytes[0];
}
