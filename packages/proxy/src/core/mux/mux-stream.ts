import type { Duplex } from 'node:stream';
import type { Address, Conn, PeerTls } from '../conn.ts';
import { duplexOf } from '../duplex.ts';
import { ProxyError } from '../errors.ts';
import type { Dialect, Flow } from './dialect.ts';
import { over } from './faults.ts';
import type { MuxSide } from './faults.ts';
import type { Outgoing, Sender } from './outgoing.ts';
import { Received } from './received.ts';

/** What a stream needs of its session. */
export interface StreamHost {
  readonly conn: Conn;
  readonly streamSide: MuxSide;
  readonly dialect: Dialect;
  readonly outgoing: Outgoing;
  /** The peer is a Sallyport. */
  readonly isPeerOurs: boolean;
  /** So many bytes more, or fewer, wait to be read. */
  held(bytes: number): void;
  /** The stream is over. */
  left(stream: MuxStream): void;
}

/**
 * How long an end is held back while nothing comes. Who has only ended its direction cannot be told from who has gone, and the peer
 * would otherwise keep what nobody reads for ever; GOST gives a half-closed connection as long.
 */
const heldBackMs = 10_000;

interface Waiter {
  resolve(bytes: Buffer | null): void;
  reject(error: ProxyError): void;
}

/**
 * A stream of a session, as a {@link Conn} whose `under` is the connection of all of them. Where the protocol and the peer can
 * half-close, `end` does. Where FIN would make the peer stop sending (smux, and not a Sallyport) it depends on who asked: in a
 * stream that we opened it is held back until the peer has ended or been silent for 10 s, because an answer is still to come (unless
 * `leave` says that nobody waits for it); in one that the peer opened the answer has been given, and FIN goes at once, as GOST has it, since many wait for the end. A peer's FIN
 * then means that it reads no more either.
 */
export class MuxStream implements Conn, Sender {
  readonly kind = 'stream';
  readonly local: Address;
  readonly remote: Address;
  readonly via: Address | undefined;
  readonly tls: PeerTls | undefined;
  readonly under: Conn;
  readonly closed: Promise<void>;
  readonly id: number;
  /** True once it has sent data, or was reset here: whoever opened it has got something out of it. */
  hasAnswered = false;
  readonly #host: StreamHost;
  readonly #isOfPeer: boolean;
  readonly #flow: Flow;
  readonly #received = new Received();
  /** What was put back; it has been counted as read. */
  readonly #putBack: Buffer[] = [];
  #out: Buffer[] = [];
  #outBytes = 0;
  #waiter: Waiter | undefined;
  #draining: Promise<void> | undefined;
  #drain: { resolve(): void; reject(error: ProxyError): void } | undefined;
  #ending: Promise<void> | undefined;
  #onEnded: (() => void) | undefined;
  #heldBack: NodeJS.Timeout | undefined;
  #holdsBack = true;
  #endSent = false;
  #gotEnd = false;
  #isOver = false;
  #failure: ProxyError | undefined;
  #close!: () => void;
  #stream: Duplex | undefined;

  /** `isOfPeer`: the peer opened it. */
  constructor(id: number, host: StreamHost, isOfPeer: boolean) {
    const { conn, dialect } = host;
    this.id = id;
    this.#host = host;
    this.#isOfPeer = isOfPeer;
    this.#flow = dialect.createFlow(id);
    this.local = conn.local;
    this.remote = conn.remote;
    this.via = conn.via;
    this.tls = conn.tls;
    this.under = conn;
    this.closed = new Promise((resolve) => (this.#close = resolve));
  }

  read(): Promise<Buffer | null> {
    const putBack = this.#putBack.shift();
    if (putBack !== undefined) return Promise.resolve(putBack);
    const bytes = this.#received.shift();
    if (bytes !== undefined) {
      // What was held when it ended has been given back to the session already.
      if (!this.#isOver) {
        this.#host.held(-bytes.length);
        this.#consumed(bytes.length);
      }
      return Promise.resolve(bytes);
    }
    if (this.#gotEnd) return Promise.resolve(null);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#waiter !== undefined)
      return Promise.reject(new ProxyError('internal', 'self', 'two readers on one connection'));
    return new Promise((resolve, reject) => (this.#waiter = { resolve, reject }));
  }

  unread(bytes: Buffer): void {
    if (bytes.length > 0) this.#putBack.unshift(bytes);
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ending !== undefined) {
      const message = 'written to a connection after its direction was ended';
      return Promise.reject(new ProxyError('internal', 'self', message));
    }
    if (this.#gotEnd && !this.#canHalfClose) return Promise.reject(this.#peerLeft());
    if (bytes.length === 0) return Promise.resolve();
    this.#out.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    this.#outBytes += bytes.length;
    this.#host.outgoing.schedule(this);
    return (this.#draining ??= new Promise((resolve, reject) => (this.#drain = { resolve, reject })));
  }

  end(): Promise<void> {
    if (this.#ending !== undefined) return this.#ending;
    this.#ending = new Promise((resolve) => (this.#onEnded = resolve));
    if (this.#isOver) this.#onEnded?.();
    else if (this.isReady) this.#host.outgoing.schedule(this);
    // The end itself may have to wait for the peer's.
    else if (this.#outBytes === 0) this.#host.outgoing.afterWritten(this.#onEnded!);
    if (!this.#isOver && !this.#mayEnd) this.#holdBack();
    return this.#ending;
  }

  leave(): void {
    this.#holdsBack = false;
    this.#host.outgoing.schedule(this);
  }

  reset(): void {
    this.#putBack.length = 0;
    if (this.#isOver) {
      this.#received.clear();
      return;
    }
    const { dialect, outgoing, streamSide: side } = this.#host;
    outgoing.control(dialect.reset(this.id));
    // That is an answer, too: a peer is not to blame for what comes of what it brings.
    this.hasAnswered = true;
    this.#gotEnd = false;
    this.fail(over(side, 'the stream'));
    this.#received.clear();
  }

  get stream(): Duplex {
    return (this.#stream ??= duplexOf(this));
  }

  get isReady(): boolean {
    if (this.#isOver) return false;
    if (this.#outBytes > 0) return this.#flow.sendable > 0;
    return this.#ending !== undefined && !this.#endSent && this.#mayEnd;
  }

  takeFrame(parts: Buffer[]): number {
    const { dialect, outgoing } = this.#host;
    const bytes = Math.min(this.#outBytes, this.#flow.sendable, dialect.maxFrameBytes);
    if (bytes > 0) {
      this.hasAnswered = true;
      parts.push(dialect.data(this.id, bytes));
      this.#takeOut(bytes, parts);
      this.#flow.sent(bytes);
    }
    if (this.#outBytes > 0) return bytes;
    this.#drain?.resolve();
    this.#drain = this.#draining = undefined;
    if (this.#ending === undefined) return bytes;
    const ended = this.#onEnded;
    if (ended !== undefined) outgoing.afterWritten(ended);
    if (!this.#endSent && this.#mayEnd) {
      parts.push(dialect.end(this.id));
      this.#endSent = true;
      if (this.#gotEnd) this.#finish();
    }
    return bytes;
  }

  /** Bytes came. Throws where the peer was not let send them. */
  deliver(bytes: Buffer): void {
    this.#flow.received(bytes.length);
    // A peer that has ended has nothing to say.
    if (this.#gotEnd) return;
    this.#heldBack?.refresh();
    if (this.#waiter !== undefined) {
      const { resolve } = this.#waiter;
      this.#waiter = undefined;
      this.#consumed(bytes.length);
      resolve(bytes);
      return;
    }
    this.#host.held(bytes.length);
    this.#received.push(bytes);
  }

  /** The peer lets more be sent. */
  grant(first: number, second: number): void {
    this.#flow.grant(first, second);
    this.#host.outgoing.schedule(this);
  }

  /** The peer said FIN. */
  peerEnded(): void {
    if (this.#gotEnd) return;
    this.#gotEnd = true;
    this.#waiter?.resolve(null);
    this.#waiter = undefined;
    if (!this.#canHalfClose) {
      this.#dropOut(this.#peerLeft());
      if (this.#ending !== undefined) {
        this.#endSent = true;
        this.#host.outgoing.control(this.#host.dialect.end(this.id));
      }
    }
    if (this.#endSent) this.#finish();
    else this.#host.outgoing.schedule(this);
  }

  /** The peer said that it neither sends nor reads any more. Bytes that came before may still be read. */
  peerReset(): void {
    this.#gotEnd = false;
    this.fail(over(this.#host.streamSide, 'the stream', this.#peerLeft()));
  }

  /** It turned out that the peer reads on after our FIN. */
  peerIsOurs(): void {
    this.#host.outgoing.schedule(this);
  }

  /** Nothing comes or goes any more. */
  fail(error: ProxyError): void {
    if (this.#isOver) return;
    this.#failure = error;
    this.#dropOut(error);
    this.#waiter?.reject(error);
    this.#waiter = undefined;
    this.#finish();
  }

  get #canHalfClose(): boolean {
    return this.#host.dialect.halfCloses || this.#host.isPeerOurs;
  }

  get #mayEnd(): boolean {
    return this.#canHalfClose || this.#gotEnd || this.#isOfPeer || !this.#holdsBack;
  }

  #holdBack(): void {
    this.#heldBack = setTimeout(() => this.leave(), heldBackMs).unref();
  }

  #consumed(bytes: number): void {
    const frame = this.#flow.consumed(bytes);
    if (frame !== undefined && !this.#gotEnd && !this.#isOver) this.#host.outgoing.control(frame);
  }

  #takeOut(count: number, parts: Buffer[]): void {
    this.#outBytes -= count;
    let left = count;
    while (left > 0) {
      const first = this.#out[0]!;
      if (first.length <= left) this.#out.shift();
      else this.#out[0] = first.subarray(left);
      const taken = first.length <= left ? first : first.subarray(0, left);
      parts.push(taken);
      left -= taken.length;
    }
  }

  #dropOut(error: ProxyError): void {
    this.#out = [];
    this.#outBytes = 0;
    this.#drain?.reject(error);
    this.#drain = this.#draining = undefined;
  }

  #finish(): void {
    this.#isOver = true;
    clearTimeout(this.#heldBack);
    const { outgoing } = this.#host;
    outgoing.drop(this);
    this.#host.held(-this.#received.length);
    this.#host.left(this);
    if (this.#onEnded !== undefined) outgoing.afterWritten(this.#onEnded);
    this.#close();
  }

  #peerLeft(): ProxyError {
    const { streamSide: side } = this.#host;
    const code = side === 'client' ? 'clientClosed' : 'upstreamClosed';
    return new ProxyError(code, side, `the ${side} closed its stream`);
  }
}
