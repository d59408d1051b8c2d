import { lingeringClose } from './linger.ts';
import { WireReader } from '../wire/wire-reader.ts';
import type { Parse } from '../wire/wire-reader.ts';
import type { Address, Conn } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import { ProxyError } from './errors.ts';

/** What may wait for a peer that reads slowly; datagrams beyond are dropped, as a network would. */
const maxQueuedBytes = 512 * 1024;

/** How datagrams stand in a connection. */
export interface Framing {
  /** One datagram, and whose it is. */
  readonly parse: Parse<{ readonly address: Address; readonly data: Buffer }>;
  /** Undefined, or throws ProxyError: it has no words for this one, which is then dropped. The memory is not kept. */
  format(data: Buffer, peer: Address | undefined): Buffer | undefined;
  /** Whom the datagrams are for, where that is another than the connection's peer. */
  readonly remote?: Address;
  /** Told why nothing more comes, where the peer broke the framing or the connection broke. */
  readonly broken?: (error: ProxyError) => void;
}

/**
 * Datagrams in the frames of a connection, which from now on belongs to them. They close when the peer half-closes, or breaks
 * the framing.
 */
export function createFramedDatagrams(conn: Conn, { parse, format, remote, broken }: Framing): Datagrams {
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
    const reader = new WireReader(parse);
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
    remote: remote ?? conn.remote,
    closed,
    receive(each) {
      deliver(each).then(close, (error: unknown) => {
        if (open) broken?.(ProxyError.from(error));
        // Nothing that follows can be told apart any more, or nothing follows.
        open = false;
        conn.reset();
        end();
      });
    },
    send(data, peer) {
      if (!open || queuedBytes > maxQueuedBytes) return false;
      let frame: Buffer | undefined;
      try {
        frame = format(asBuffer(data), peer);
      } catch (error) {
        if (!(error instanceof ProxyError)) throw error;
      }
      if (frame === undefined) return false;
      const { length } = frame;
      queuedBytes += length;
      const written = () => {
        queuedBytes -= length;
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
