import { WireReader } from '../../wire/wire-reader.ts';
import type { Parse } from '../../wire/wire-reader.ts';

/** What a dialect tells of the peer's frames, in their order. What throws ends the session. */
export interface MuxEvents {
  /** Little of what came waits to be read: a stream may have more under way. */
  readonly isRoomy: boolean;
  /** The first whole frame, or any later one, has come. */
  heard(): void;
  /** The peer is a Sallyport: see {@link Dialect.hello}. */
  hello(): void;
  /** The peer wants no new streams. */
  goAway(): void;
  /** The peer opened a stream. */
  opened(stream: number): void;
  /** Bytes of a stream, whole frames or parts of them. */
  data(stream: number, bytes: Buffer): void;
  /** What {@link Flow.grant} of the stream takes. */
  granted(stream: number, first: number, second: number): void;
  /** The peer said FIN. */
  ended(stream: number): void;
  /** The peer said RST. */
  reset(stream: number): void;
  /** A frame has to be answered with this one. */
  reply(frame: Buffer): void;
}

/** How much of one stream may be under way, in both directions. */
export interface Flow {
  /** Bytes that may be sent now; Infinity where streams have no windows. */
  readonly sendable: number;
  /** So many were sent. */
  sent(bytes: number): void;
  /** The peer lets more be sent. Throws where it contradicts itself. */
  grant(first: number, second: number): void;
  /** So many came. Throws where the peer was not let send them. */
  received(bytes: number): void;
  /** So many of them were read: the frame that lets the peer send more, where it is time for one. */
  consumed(bytes: number): Buffer | undefined;
}

/** How a session's frames are read and written: smux or yamux. Knows no stream beyond its number, and no socket. */
export interface Dialect {
  /** The first stream that this end opens; each further one is two higher. */
  readonly firstStream: number;
  /** The most bytes in one frame of data. */
  readonly maxFrameBytes: number;
  /**
   * True where FIN ends one direction for every peer. With smux the common implementation closes the whole stream with it, so
   * that only a peer that said {@link hello} is known to read and write on.
   */
  readonly halfCloses: boolean;
  /** Takes what came, however it is split. Throws ProxyError where the peer breaks the protocol. */
  take(bytes: Buffer): void;
  createFlow(stream: number): Flow;
  open(stream: number): Buffer;
  /** What is answered to an opening, where the protocol has such a word. */
  accept(stream: number): Buffer | undefined;
  /** The head of a frame of so many bytes. */
  data(stream: number, length: number): Buffer;
  end(stream: number): Buffer;
  /** Ends both directions at once. */
  reset(stream: number): Buffer;
  /**
   * A frame that other implementations ignore, by which two Sallyports know each other: streams are then half-closed and
   * reset as TCP connections are, and the end that wants no more streams can say so.
   */
  hello(): Buffer;
  /** No new streams, please. Said only to a peer that said hello. */
  goAway(): Buffer;
  /** Says that this end is alive, or asks whether the peer is. */
  ping(): Buffer;
}

const nothing = Buffer.alloc(0);

/** Splits a session's bytes into heads of one length, each read by `parse`, and the payload that they announce. */
export class FrameSplitter<Head> {
  readonly #reader: WireReader<Head>;
  readonly #headBytes: number;
  readonly #onHead: (head: Head) => number;
  readonly #onPayload: (bytes: Buffer, isLast: boolean) => void;
  #left = 0;

  /** `onHead` answers how many bytes of payload follow; they come to `onPayload`, perhaps in several pieces. */
  constructor(
    headBytes: number,
    parse: Parse<Head>,
    onHead: (head: Head) => number,
    onPayload: (bytes: Buffer, isLast: boolean) => void,
  ) {
    this.#headBytes = headBytes;
    this.#reader = new WireReader(parse);
    this.#onHead = onHead;
    this.#onPayload = onPayload;
  }

  take(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#left > 0) {
        const piece = rest.subarray(0, this.#left);
        rest = rest.subarray(piece.length);
        this.#left -= piece.length;
        this.#onPayload(piece, this.#left === 0);
        continue;
      }
      // The reader is given no more than a head, so that it never copies payload.
      const needed = this.#headBytes - this.#reader.held.length;
      const head = this.#reader.push(rest.subarray(0, needed));
      rest = rest.length > needed ? rest.subarray(needed) : nothing;
      if (head !== undefined) this.#left = this.#onHead(head);
    }
  }
}
