import type { Address, Conn } from '../conn.ts';
import type { ProxyError } from '../errors.ts';
import { createMuxSession } from '../mux/mux-session.ts';
import type { MuxSession } from '../mux/mux-session.ts';
import type { MuxSettings } from '../mux/settings.ts';
import type { Session } from '../session.ts';
import { listenGranted } from './listen-granted.ts';

/** What the protocol says of a client that is listened for. */
export interface StreamVisitorsOptions {
  /** As {@link Session.bind} takes it. */
  readonly address: Address;
  /** Of the mux within the client's connection, in which we open the streams. */
  readonly mux: MuxSettings;
  /** Tells the client where is listened. What it rejects with ends everything. */
  readonly granted: (bound: Address) => Promise<void>;
  /** What a visitor's stream begins with; undefined: nothing. */
  readonly headOf: (visitor: Address) => Buffer | undefined;
}

/**
 * Listens in a client's name for as long as its connection lasts, and brings it each visitor in a stream of a mux within that
 * connection, in which we are the client, as in GOST. Visitors are sessions of their own: the service's admission, limits, counters
 * and idle timeout count for them, and what they carry counts for the client's connection as well. Streams that the client opens
 * are refused. Where the client takes leave, or the service is being stopped, nobody new is let in, and who is there may finish.
 * Resolves, when the connection is over, with what broke it. Rejects with ProxyError as {@link Session.bind}, and with what
 * `granted` rejects with.
 */
export async function serveStreamVisitors(
  conn: Conn,
  session: Session,
  { address, mux: settings, granted, headOf }: StreamVisitorsOptions,
): Promise<ProxyError | undefined> {
  const { listening, begin } = await listenGranted(
    session,
    { network: 'tcp', address },
    granted,
    (mux: MuxSession, who) => open(mux, headOf(who)),
  );
  const mux = createMuxSession(conn, { role: 'client', side: 'client', streamSide: 'upstream', settings });
  begin(mux);
  const stop = () => {
    void listening.close();
    mux.drain();
  };
  const goOn = session.onStopping(stop);
  void mux.left.then(stop);
  const error = await mux.closed;
  goOn();
  await listening.close();
  return error;
}

/** Opens a stream that begins with a head. */
function open(mux: MuxSession, head: Buffer | undefined): Conn {
  const stream = mux.open();
  // A client that does not read holds up the visitor's bytes as well; whoever reads finds out that it has gone.
  if (head !== undefined) stream.write(head).catch(() => undefined);
  return stream;
}
