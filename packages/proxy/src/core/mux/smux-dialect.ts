import { malformed } from '../../wire/fault.ts';
import type { WireSide } from '../../wire/fault.ts';
import {
  formatSmuxHead,
  formatSmuxUpdate,
  parseSmuxHead,
  parseSmuxUpdate,
  smuxHeadBytes,
  smuxInitialWindowBytes,
} from '../../wire/smux.ts';
import type { SmuxCommand, SmuxHead } from '../../wire/smux.ts';
import { WireReader } from '../../wire/wire-reader.ts';
import { FrameSplitter } from './dialect.ts';
import type { Dialect, Flow, MuxEvents } from './dialect.ts';
import type { CompleteMuxSettings } from './settings.ts';

/**
 * A NOP means nothing to anybody, whatever stream it names. Two Sallyports say these two to each other, which no session
 * counts up to, and, with the number of a stream, that it is reset.
 */
const helloStream = 0x5350_0001;
const goAwayStream = 0x5350_0002;

/** Windows are compared as signed numbers by the common implementation; one that is larger would be a negative one. */
const maxWindowBytes = 2 ** 31 - 1;

/** smux, of which there is no specification but the Go library of that name (xtaci), version 1.5. */
export function createSmuxDialect(
  role: 'client' | 'server',
  side: WireSide,
  { version, maxFrameBytes, maxStreamBytes, roomyStreamBytes }: CompleteMuxSettings,
  events: MuxEvents,
): Dialect {
  // As much as a stream may have under way now.
  const windowBytes = () => (events.isRoomy ? roomyStreamBytes : maxStreamBytes);
  const frame = (command: SmuxCommand, stream: number, length = 0) =>
    formatSmuxHead(version, { command, length, stream });
  let current: SmuxHead | undefined;
  let update = new WireReader(parseSmuxUpdate);
  let isPeerOurs = false;
  const idle = (stream: number) => {
    if (stream === helloStream) {
      isPeerOurs = true;
      events.hello();
    } else if (isPeerOurs && stream === goAwayStream) events.goAway();
    else if (isPeerOurs && stream !== 0) events.reset(stream);
  };
  const splitter = new FrameSplitter<SmuxHead>(
    smuxHeadBytes,
    (bytes) => parseSmuxHead(bytes, version, side),
    (head) => {
      current = head;
      const { command, stream, length } = head;
      events.heard();
      if (command === 'syn') events.opened(stream);
      else if (command === 'fin') events.ended(stream);
      else if (command === 'nop') idle(stream);
      return length;
    },
    (bytes) => {
      const { command, stream } = current!;
      if (command === 'psh') {
        events.data(stream, bytes);
        return;
      }
      const granted = update.push(bytes);
      if (granted === undefined) return;
      update = new WireReader(parseSmuxUpdate);
      events.granted(stream, granted.consumed, granted.window);
    },
  );
  return {
    // The common implementation counts up before it uses a number: clients begin with 3, servers with 2.
    firstStream: role === 'client' ? 3 : 2,
    maxFrameBytes,
    halfCloses: false,
    take: (bytes) => {
      splitter.take(bytes);
    },
    createFlow: (stream) => (version === 1 ? noFlow : new SmuxFlow(stream, side, windowBytes)),
    open: (stream) => frame('syn', stream),
    accept: () => undefined,
    data: (stream, length) => frame('psh', stream, length),
    end: (stream) => frame('fin', stream),
    // There is no word for it. A Sallyport is told by a NOP that the FIN that follows is one; others hear the FIN.
    reset: (stream) => Buffer.concat([frame('nop', stream), frame('fin', stream)]),
    hello: () => frame('nop', helloStream),
    goAway: () => frame('nop', goAwayStream),
    ping: () => frame('nop', 0),
  };
}

/** Version 1 has no windows: what is not read holds up the whole session. */
const noFlow: Flow = {
  sendable: Infinity,
  sent: () => undefined,
  grant: () => undefined,
  received: () => undefined,
  consumed: () => undefined,
};

/** The windows of one stream of version 2. What went either way is counted modulo 2^32 on the wire. */
class SmuxFlow implements Flow {
  readonly #stream: number;
  readonly #side: WireSide;
  readonly #windowBytes: () => number;
  /** What we sent, what the peer has read of it, and how much more than that it takes. */
  #sent = 0;
  #peerConsumed = 0;
  #peerWindow = smuxInitialWindowBytes;
  /** What came, what was read of it, and what the peer was told of that. */
  #received = 0;
  #consumed = 0;
  #reported = 0;
  /** What the peer was told last, and the most that it was ever told, or may assume. */
  #window = 0;
  #largestWindow = smuxInitialWindowBytes;

  constructor(stream: number, side: WireSide, windowBytes: () => number) {
    this.#stream = stream;
    this.#side = side;
    this.#windowBytes = windowBytes;
  }

  get sendable(): number {
    return Math.max(0, this.#peerWindow - (this.#sent - this.#peerConsumed));
  }

  sent(bytes: number): void {
    this.#sent += bytes;
  }

  grant(consumed: number, window: number): void {
    const unread = (this.#sent - consumed) >>> 0;
    // No window is that large: it says that it has read more than was sent.
    if (unread > maxWindowBytes)
      throw malformed(this.#side, 'the peer says that it has read what was not sent');
    // What is said late is no news.
    if (unread > this.#sent - this.#peerConsumed) return;
    this.#peerConsumed = this.#sent - unread;
    this.#peerWindow = Math.min(window, maxWindowBytes);
  }

  received(bytes: number): void {
    this.#received += bytes;
    // Of a smaller window than before the peer may hear late, as of the first one.
    if (this.#received - this.#reported > this.#largestWindow)
      throw malformed(this.#side, 'the peer sends more on a stream than it was let');
  }

  consumed(bytes: number): Buffer | undefined {
    const isFirst = this.#consumed === 0;
    this.#consumed += bytes;
    // The first update tells the peer how large the window is; after that half of it is often enough.
    if (!isFirst && this.#consumed - this.#reported < this.#window / 2) return undefined;
    this.#reported = this.#consumed;
    this.#window = this.#windowBytes();
    this.#largestWindow = Math.max(this.#largestWindow, this.#window);
    return formatSmuxUpdate(this.#stream, { consumed: this.#consumed, window: this.#window });
  }
}
