import type { Address, Conn } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import { ProxyError } from './errors.ts';
import { lingeringClose } from './linger.ts';
import { formatSocks5Frame, parseSocks5Frame } from '../wire/socks5-udp.ts';
import { WireReader } from '../wire/wire-reader.ts';

/** What may wait for a peer that reads slowly; datagrams beyond are dropped, as a network would. */
const maxQueuedBytes = 512 * 1024;

/**
 * Datagrams in the frames of GOST's UDP tunnel over a connection, which from now on belongs to them. `side` is who is at the
 * other end. It closes when the peer half-closes, or breaks the framing. An empty datagram is dropped, because GOST could not
 * read on after it.
 */
export function createUdpTunnel(conn: Conn, side: 'client' | 'upstream'): Datagrams {
  let pending: Promise<Buffer | null> | undefined;
  // Whoever closes it while a read is under way shares that.
  const read = () =>
    (pending ??= conn.read().finally(() => {
      pending = undefined;
    }));
  let open = true;
  let queuedBytes = 0;
  let end!: () => void;
  const closed = new Promise<void>((resolve) => (end = resolve));
  const close = () => {
    if (!open) return;
    open = false;
    end();
    // Its reader may still wait for bytes that nobody wants any more; the first of them go there.
    void lingeringClose(conn, { read });
  };
  void conn.closed.then(close);

  const deliver = async (each: (data: Buffer, peer: Address) => void) => {
    const reader = new WireReader((bytes) => parseSocks5Frame(bytes, side));
    for (let bytes = await read(); bytes !== null && open; bytes = await read()) {
      for (let frame = reader.push(bytes); frame !== undefined; frame = reader.push(reader.rest)) {
        each(frame.data, frame.address);
      }
    }
  };
  return {
    kind: 'datagrams',
    carrier: conn,
    local: conn.local,
    remote: conn.remote,
    closed,
    receive(each) {
      deliver(each).then(close, () => {
        // Nothing that follows can be told apart any more, or nothing follows.
        open = false;
        conn.reset();
        end();
      });
    },
    send(data, peer) {
      if (!open || data.length === 0 || peer === undefined || queuedBytes > maxQueuedBytes) return false;
      let frame: Buffer;
      try {
        frame = formatSocks5Frame({ address: peer, data: asBuffer(data) });
      } catch (error) {
        if (error instanceof ProxyError) return false;
        throw error;
      }
      queuedBytes += frame.length;
      const written = () => {
        queuedBytes -= frame.length;
      };
      // Whoever reads finds out that the connection broke.
      conn.write(frame).then(written, written);
      return true;
    },
    close,
  };
}

/** The same bytes as a Buffer, not copied. */
export function asBuffer(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
