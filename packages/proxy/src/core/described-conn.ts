import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { isSameAddress } from './address.ts';
import type { Conn, Ends } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import { asMetered } from './metered-conn.ts';
import { PassedConn } from './passed-conn.ts';

/**
 * The same connection with something else said of its ends: a tunnel's visitor has other addresses than the connection that
 * brings it. What `ends` does not name stays as it is; `tls` or `wanted` named as undefined is none. Where `remote` becomes
 * somebody else, `tls` has to be named as well, since what the peer of `conn` proved is not proved of them. Bytes, `stream`
 * and `detach` are those of `conn`, which belongs to the new one from now on. It is no layer: `under` is what that of `conn`
 * is, except that one which is found by looking for it, the lowest or the metered one, is found beneath its description.
 */
export function describedConn(conn: Conn, ends: Partial<Ends>): Conn {
  return new DescribedConn(conn, endsOf(conn, ends));
}

/**
 * The same place of datagrams with something else said of its ends, as {@link describedConn} does it. Whoever was its `remote`
 * is called by the new name, in what comes and in what is sent; other peers are called what they are.
 */
export function describedDatagrams(datagrams: Datagrams, ends: Partial<Ends>): Datagrams {
  const said = endsOf(datagrams, ends);
  const { remote } = said;
  const before = datagrams.remote;
  return {
    kind: 'datagrams',
    ...said,
    ...(datagrams.carrier !== undefined && { carrier: datagrams.carrier }),
    closed: datagrams.closed,
    receive(each) {
      datagrams.receive((data, peer) => each(data, isSameAddress(peer, before) ? remote : peer));
    },
    send: (data, peer) =>
      datagrams.send(data, peer !== undefined && isSameAddress(peer, remote) ? before : peer),
    close() {
      datagrams.close();
    },
  };
}

class DescribedConn extends PassedConn {
  override get under(): Conn {
    const { conn } = this;
    return conn.under === undefined || asMetered(conn) === conn ? conn : conn.under;
  }

  /** That of the one beneath, which then knows that its socket is in use. */
  override get stream(): Duplex {
    return this.conn.stream;
  }

  detach(): Socket | undefined {
    return this.conn.detach?.();
  }
}

/** An end has both addresses, whatever is said. */
function endsOf({ local, remote, tls, wanted, via }: Ends, ends: Partial<Ends>): Ends {
  return { tls, wanted, via, ...ends, local: ends.local ?? local, remote: ends.remote ?? remote };
}
