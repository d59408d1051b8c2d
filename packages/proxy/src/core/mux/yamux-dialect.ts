import { malformed } from '../../wire/fault.ts';
import type { WireSide } from '../../wire/fault.ts';
import {
  formatYamuxHead,
  parseYamuxHead,
  yamuxFlags,
  yamuxGoAway,
  yamuxHeadBytes,
  yamuxInitialWindowBytes,
} from '../../wire/yamux.ts';
import type { YamuxHead } from '../../wire/yamux.ts';
import { FrameSplitter } from './dialect.ts';
import type { Dialect, Flow, MuxEvents } from './dialect.ts';
import type { CompleteMuxSettings } from './settings.ts';

/** What only a Sallyport asks by a ping: the common implementation counts its pings from 0. */
const helloPing = 0x5350_0001;

/** Pieces of data, so that streams take turns; yamux itself allows as much as the window. */
const maxFrameBytes = 32 * 1024;

/** HashiCorp's yamux, version 0, as its specification has it. */
export function createYamuxDialect(
  role: 'client' | 'server',
  side: WireSide,
  { maxWindowBytes }: CompleteMuxSettings,
  events: MuxEvents,
): Dialect {
  const { syn, ack, fin, rst } = yamuxFlags;
  const frame = (type: YamuxHead['type'], flags: number, stream: number, length = 0) =>
    formatYamuxHead({ type, flags, stream, length });
  let current: YamuxHead | undefined;
  let pings = 0;
  const finish = ({ flags, stream }: YamuxHead) => {
    if ((flags & fin) !== 0) events.ended(stream);
    if ((flags & rst) !== 0) events.reset(stream);
  };
  const onHead = (head: YamuxHead): number => {
    const { type, flags, stream, length } = head;
    events.heard();
    if (type === 'ping') {
      if ((flags & syn) === 0) return 0;
      if (length === helloPing) events.hello();
      events.reply(frame('ping', ack, 0, length));
      return 0;
    }
    if (type === 'goAway') {
      if (length === yamuxGoAway.normal) events.goAway();
      else
        throw malformed(
          side,
          `the peer goes away because of an error of its own or ours (${String(length)})`,
        );
      return 0;
    }
    if ((flags & syn) !== 0) events.opened(stream);
    if (type === 'data' && length > 0) {
      current = head;
      return length;
    }
    if (type === 'windowUpdate' && length > 0) events.granted(stream, length, 0);
    finish(head);
    return 0;
  };
  const splitter = new FrameSplitter<YamuxHead>(
    yamuxHeadBytes,
    (bytes) => parseYamuxHead(bytes, side),
    onHead,
    (bytes, isLast) => {
      events.data(current!.stream, bytes);
      // What ends with this frame ends after its data.
      if (isLast) finish(current!);
    },
  );
  const growth = maxWindowBytes - yamuxInitialWindowBytes;
  return {
    firstStream: role === 'client' ? 1 : 2,
    maxFrameBytes,
    halfCloses: true,
    take: (bytes) => {
      splitter.take(bytes);
    },
    createFlow: (stream) => new YamuxFlow(stream, side, maxWindowBytes),
    open: (stream) => frame('windowUpdate', syn, stream, growth),
    accept: (stream) => frame('windowUpdate', ack, stream, growth),
    data: (stream, length) => frame('data', 0, stream, length),
    end: (stream) => frame('windowUpdate', fin, stream),
    reset: (stream) => frame('windowUpdate', rst, stream),
    hello: () => frame('ping', syn, 0, helloPing),
    goAway: () => frame('goAway', 0, 0, yamuxGoAway.normal),
    ping: () => frame('ping', syn, 0, pings++ % helloPing),
  };
}

/** The windows of one stream. */
class YamuxFlow implements Flow {
  sendable = yamuxInitialWindowBytes;
  readonly #stream: number;
  readonly #side: WireSide;
  readonly #maxBytes: number;
  /** What the peer may still send, and what came and was not read. */
  #window: number;
  #unread = 0;

  constructor(stream: number, side: WireSide, maxBytes: number) {
    this.#stream = stream;
    this.#side = side;
    this.#maxBytes = maxBytes;
    // The opening frame, or the answer to it, tells the peer how much this is.
    this.#window = maxBytes;
  }

  sent(bytes: number): void {
    this.sendable -= bytes;
  }

  grant(bytes: number): void {
    this.sendable += bytes;
    if (this.sendable > 0xffff_ffff) throw malformed(this.#side, 'the window of a stream overflows');
  }

  received(bytes: number): void {
    if (bytes > this.#window) throw malformed(this.#side, 'the peer sends more on a stream than it was let');
    this.#window -= bytes;
    this.#unread += bytes;
  }

  consumed(bytes: number): Buffer | undefined {
    this.#unread -= bytes;
    const growth = this.#maxBytes - this.#unread - this.#window;
    if (growth < this.#maxBytes / 2) return undefined;
    this.#window += growth;
    return formatYamuxHead({ type: 'windowUpdate', flags: 0, stream: this.#stream, length: growth });
  }
}
