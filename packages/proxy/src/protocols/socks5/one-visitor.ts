import { formatAddress } from '../../core/address.ts';
import { serveVisitor } from '../../core/bind/serve-visitor.ts';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import type { Session } from '../../core/session.ts';
import { PeekedConn } from '../../core/sniffing/peeked-conn.ts';
import { formatSocks5Reply, socks5Codes } from '../../wire/socks5.ts';

/** Where one visitor is waited for. */
export interface OneVisitorOptions {
  readonly address: Address;
  /** The only host that may come. Absent: anybody. */
  readonly from?: string;
  /** Tells the client where is listened. What it rejects with ends everything. */
  readonly granted: (bound: Address) => Promise<void>;
}

/**
 * Waits for one visitor while the client's connection lasts; then nobody else is let in, the client is told who has come (RFC 1928,
 * section 6: the second reply), and its connection is the visitor's. The visitor is a session of its own. Resolves with what broke
 * it. Rejects with ProxyError `clientClosed` where the client leaves before, and as {@link Session.bind}.
 */
export async function serveOneVisitor(
  conn: Conn,
  session: Session,
  { address, from, granted }: OneVisitorOptions,
): Promise<ProxyError | undefined> {
  // What the client says, or that it leaves, is looked for while it waits, and is there for whoever reads then.
  const waiting = new PeekedConn(conn);
  let isTaken = false;
  let begin!: () => void;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  let finish!: (error: ProxyError | undefined) => void;
  const finished = new Promise<ProxyError | undefined>((resolve) => (finish = resolve));
  const listening = await session.bind({ network: 'tcp', address }, async (end, visitor) => {
    await begun;
    let isOurs = false;
    try {
      await serveVisitor(end, visitor, async (who) => {
        if (isTaken || (from !== undefined && who.host !== from))
          throw new ProxyError('forbidden', 'client', `${formatAddress(who)} is not waited for`);
        isTaken = isOurs = true;
        void listening.close();
        await conn.write(formatSocks5Reply(socks5Codes.succeeded, who));
        return waiting.settle();
      });
      if (isOurs) finish(undefined);
    } catch (error) {
      if (isOurs) {
        conn.reset();
        finish(ProxyError.from(error));
      }
      throw error;
    }
  });
  const leave = () => {
    if (isTaken) return;
    void listening.close();
    conn.reset();
  };
  try {
    await granted(listening.address);
    const goOn = session.onStopping(leave);
    void untilItLeaves(conn, waiting, () => isTaken).then(leave);
    begin();
    void conn.closed.then(() => {
      if (!isTaken)
        finish(new ProxyError('clientClosed', 'client', 'the client left before anybody had come'));
    });
    const error = await finished;
    goOn();
    return error;
  } finally {
    isTaken = true;
    begin();
    await listening.close();
  }
}

/** Resolves when the client has ended its direction or is gone, unless somebody else reads by then. Never rejects. */
async function untilItLeaves(conn: Conn, waiting: PeekedConn, isTaken: () => boolean): Promise<void> {
  await waiting.stirred();
  if (isTaken()) return;
  try {
    const bytes = await waiting.read();
    if (bytes === null) return;
    waiting.unread(bytes);
    // As long as it is not read on only a reset tells that it has gone.
    await conn.closed;
  } catch {
    // However it went, it has gone.
  }
}
