import type { Address, Conn, Ends } from './conn.ts';

/**
 * A place that datagrams come to and go from. On a listener each peer has one of its own, whose `remote` it is and which
 * names that peer alone; towards targets one serves many peers, and `remote` is the one that it was opened for, if it was
 * for one. What a protocol makes of a client's association names targets as peers.
 */
export interface Datagrams extends Ends {
  readonly kind: 'datagrams';
  /** The connection that they come and go in, where they are framed in one. */
  readonly carrier?: Conn;
  /** From now on `each` is given every datagram; those that came before are given first. It returns at once. One receiver. */
  receive(each: (data: Buffer, peer: Address) => void): void;
  /**
   * Sends to the peer, or to `remote` where none is named. False: it was dropped, because the place is closed, has too many to
   * send, or the datagram is too large. The memory may be used again at once.
   */
  send(data: Uint8Array, peer?: Address): boolean;
  /** Gives the place back; what was sent before still goes out. More than one call does no harm. */
  close(): void;
  /** Resolves once, when it is closed, however that came about. */
  readonly closed: Promise<void>;
}

/** What waits while nobody receives: enough for the questions that are asked of a new client, and no more. */
const maxWaiting = { datagrams: 64, bytes: 256 * 1024 };

/** Where an implementation of {@link Datagrams} puts what has come. */
export interface DatagramInbox {
  /** Gives the datagram to the receiver, or keeps it for one; answers false when it was dropped for want of room. */
  deliver(data: Buffer, peer: Address): boolean;
  receive(each: (data: Buffer, peer: Address) => void): void;
  /** Nothing is given any more, and what waits is forgotten. */
  close(): void;
}

/** A queue of at most 64 datagrams and 256 KiB that ends when somebody receives. What comes to a full one is dropped. */
export function createDatagramInbox(): DatagramInbox {
  const waiting: { readonly data: Buffer; readonly peer: Address }[] = [];
  let waitingBytes = 0;
  let receiver: ((data: Buffer, peer: Address) => void) | undefined;
  let closed = false;
  const forget = () => {
    waitingBytes = 0;
    return waiting.splice(0);
  };
  return {
    deliver(data, peer) {
      if (closed) return false;
      if (receiver !== undefined) {
        receiver(data, peer);
        return true;
      }
      if (waiting.length >= maxWaiting.datagrams || waitingBytes + data.length > maxWaiting.bytes)
        return false;
      waiting.push({ data, peer });
      waitingBytes += data.length;
      return true;
    },
    receive(each) {
      receiver = each;
      for (const { data, peer } of forget()) if (!closed) each(data, peer);
    },
    close() {
      closed = true;
      forget();
    },
  };
}
