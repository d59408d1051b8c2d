import { formatAddress } from '../../core/address.ts';
import type { Accept, Address, Conn, Listening } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { createMuxSession } from '../../core/mux/mux-session.ts';
import type { MuxSession } from '../../core/mux/mux-session.ts';
import type { MuxSettings } from '../../core/mux/settings.ts';
import type { Way } from '../../core/way.ts';
import type { MuxOptions } from '../../core/mux/options.ts';

/** How long a client may take to say anything that a session begins with. */
const defaultFirstFrameMs = 10_000;

/** Connections that have not said anything yet, at once. */
const defaultMaxWaiting = 4096;

/**
 * Listens on the way below; each connection becomes a session, whose streams are accepted. A client that does not begin one
 * within 10 s, or breaks it, is cut and `problem` is told. `close` stops accepting connections: sessions without a stream are
 * closed, clients that understand it are asked to leave, and all others are closed when their last stream has ended. Rejects
 * as the way below does.
 */
export async function listenMux(
  under: Way,
  at: Address,
  accept: Accept,
  problem: (error: ProxyError) => void,
  settings: MuxSettings,
  options: Pick<MuxOptions, 'handshakeTimeoutMs' | 'backlog'>,
): Promise<Listening> {
  if (under.listen === undefined)
    throw new ProxyError('unsupported', 'self', 'what is below this mux listener cannot be listened on');
  const firstFrameMs = options.handshakeTimeoutMs || defaultFirstFrameMs;
  const maxWaiting = options.backlog || defaultMaxWaiting;
  const sessions = new Set<MuxSession>();
  let waiting = 0;
  let isClosed = false;

  const begin = (conn: Conn) => {
    const who = formatAddress(conn.remote);
    if (waiting >= maxWaiting) {
      conn.reset();
      const message = `${who} was turned away: ${String(waiting)} clients have yet to begin a mux session`;
      problem(new ProxyError('tooManyRequests', 'client', message));
      return;
    }
    const session = createMuxSession(conn, { role: 'server', side: 'client', settings, accept });
    sessions.add(session);
    let isWaiting = true;
    let isLate = false;
    waiting++;
    const late = setTimeout(() => {
      isLate = true;
      session.reset();
    }, firstFrameMs);
    const begun = () => {
      if (!isWaiting) return;
      isWaiting = false;
      waiting--;
      clearTimeout(late);
    };
    void session.heard.then(begun);
    void session.closed.then((error) => {
      sessions.delete(session);
      if (isLate) {
        const message = `${who} began no mux session within ${String(firstFrameMs / 1000)} s`;
        problem(new ProxyError('handshakeTimeout', 'client', message));
      } else if (isWaiting) {
        const message = `${who} hung up before it had begun a mux session`;
        problem(
          error !== undefined && isFault(error) ? error : new ProxyError('clientClosed', 'client', message),
        );
      } else if (error !== undefined && isFault(error)) problem(error);
      begun();
    });
    if (isClosed) session.drain();
  };

  const listening = await under.listen(
    at,
    (end) => {
      if (end.kind === 'stream') begin(end);
      else {
        end.close();
        problem(new ProxyError('unsupported', 'self', 'a mux cannot be spoken over datagrams'));
      }
    },
    problem,
  );
  return {
    address: listening.address,
    async close() {
      isClosed = true;
      await listening.close();
      for (const session of sessions) session.drain();
    },
  };
}

/** A client that goes away, as clients do, is none. */
function isFault({ code }: ProxyError): boolean {
  return code !== 'clientClosed';
}
