import { setImmediate } from 'node:timers/promises';
import { malformed } from '../../wire/fault.ts';
import type { Conn } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import type { Dialect, MuxEvents } from './dialect.ts';
import { abused, over } from './faults.ts';
import type { MuxSide } from './faults.ts';
import { Futility } from './futility.ts';
import { MuxStream } from './mux-stream.ts';
import type { StreamHost } from './mux-stream.ts';
import { Outgoing } from './outgoing.ts';
import { completeMuxSettings } from './settings.ts';
import type { CompleteMuxSettings, MuxSettings } from './settings.ts';
import { createSmuxDialect } from './smux-dialect.ts';
import { createYamuxDialect } from './yamux-dialect.ts';

/** How long a peer may take to read our last frames and to close the connection. */
const farewellMs = 5000;

/** Streams that a peer may open in one piece of bytes before others of the thread get their turn. */
const opensAtOnce = 64;

/** Stream numbers have 32 bits. */
const lastStream = 0xffff_ffff;

/** What a session is told of its place. */
export interface MuxSessionOptions {
  /** Which end of the protocol it is. It need not be who dialled: the server of a reverse tunnel opens streams as client. */
  readonly role: 'client' | 'server';
  /** Whose connection it is; it decides the code of errors. */
  readonly side: MuxSide;
  /** The same of its streams. Default: as `side`; a client that is listened for is the upstream of its visitors. */
  readonly streamSide?: MuxSide;
  /** Default: smux version 1, with GOST's numbers. */
  readonly settings?: MuxSettings;
  /** Given each stream that the peer opens, within the loop that reads; whoever takes it ends it. Absent: they are refused. */
  readonly accept?: (stream: Conn) => void;
}

/** One connection that carries many. The connection belongs to it from the start. */
export interface MuxSession {
  /**
   * Opens a stream. It is there at once: the peer is not waited for, and one that does not want it ends it. Throws ProxyError
   * `clientClosed` or `upstreamClosed` where {@link isOpen} is false.
   */
  open(): Conn;
  /** True while another stream may be opened: the connection lives, nobody has taken leave, and there are not too many. */
  readonly isOpen: boolean;
  /** Streams that are not over. */
  readonly streams: number;
  /** Resolves with the peer's first whole frame; never where none comes. */
  readonly heard: Promise<void>;
  /** True once it is known that the peer is a Sallyport, which hears that we take leave. */
  readonly isPeerOurs: boolean;
  /** Resolves when the peer takes leave: it wants no more streams. Never where it does not say so. */
  readonly left: Promise<void>;
  /**
   * Takes leave: a peer that understands it is told, and closes the connection when the last stream has ended; with any other it is
   * closed then, now if there is none. Streams that a peer opens in spite of it are still taken, as most have no other way to
   * learn of it, and the others have not learned of it yet.
   */
  drain(): void;
  /** Ends everything at once. */
  reset(): void;
  /** Resolves once, when the connection is closed: with what went wrong, or undefined where it was ended in peace. */
  readonly closed: Promise<ProxyError | undefined>;
}

/** Begins a session over a connection of whose bytes none has been read or written. Nothing is waited for. */
export function createMuxSession(conn: Conn, options: MuxSessionOptions): MuxSession {
  const session = new Session(conn, options);
  const closed = session.run();
  return {
    open: () => session.open(),
    get isOpen() {
      return session.isOpen;
    },
    get streams() {
      return session.streams.size;
    },
    heard: session.whenHeard,
    get isPeerOurs() {
      return session.isPeerOurs;
    },
    left: session.whenLeft,
    drain: () => {
      session.drain();
    },
    reset: () => {
      session.fail(over(session.side, 'the mux session'));
    },
    closed,
  };
}

class Session implements StreamHost, MuxEvents {
  readonly conn: Conn;
  readonly side: MuxSide;
  readonly streamSide: MuxSide;
  readonly dialect: Dialect;
  readonly outgoing: Outgoing;
  readonly streams = new Map<number, MuxStream>();
  readonly whenHeard: Promise<void>;
  readonly whenLeft: Promise<void>;
  isPeerOurs = false;
  readonly #role: 'client' | 'server';
  readonly #settings: CompleteMuxSettings;
  readonly #accept: ((stream: Conn) => void) | undefined;
  readonly #futility = new Futility();
  #nextStream: number;
  #opened = 0;
  #heldBytes = 0;
  #onRoom: (() => void) | undefined;
  #onHeard: (() => void) | undefined;
  #onLeft!: () => void;
  #lastHeardMs = performance.now();
  #keepAlive: NodeJS.Timeout | undefined;
  #idle: NodeJS.Timeout | undefined;
  #hasPeerLeft = false;
  #isDraining = false;
  #isLeaving = false;
  #failure: ProxyError | undefined;

  constructor(conn: Conn, { role, side, streamSide = side, settings = {}, accept }: MuxSessionOptions) {
    this.conn = conn;
    this.side = side;
    this.streamSide = streamSide;
    this.#role = role;
    this.#accept = accept;
    this.#settings = completeMuxSettings(settings);
    const create = this.#settings.type === 'yamux' ? createYamuxDialect : createSmuxDialect;
    this.dialect = create(role, side, this.#settings, this);
    this.#nextStream = this.dialect.firstStream;
    this.outgoing = new Outgoing(conn, side, (error) => {
      this.fail(error);
    });
    this.whenHeard = new Promise((resolve) => (this.#onHeard = resolve));
    this.whenLeft = new Promise((resolve) => (this.#onLeft = resolve));
  }

  /** Reads until the connection is over. */
  async run(): Promise<ProxyError | undefined> {
    const { keepAliveMs, maxReceiveBytes } = this.#settings;
    // A server says nothing to whoever has not spoken.
    if (this.#role === 'client') this.outgoing.control(this.dialect.hello());
    if (keepAliveMs > 0) this.#keepAlive = setInterval(() => this.#stayAlive(), keepAliveMs).unref();
    this.#look();
    try {
      for (let bytes = await this.conn.read(); bytes !== null; bytes = await this.conn.read()) {
        this.#lastHeardMs = performance.now();
        if (this.#isLeaving) continue;
        this.#opened = 0;
        this.dialect.take(bytes);
        if (this.#heldBytes > maxReceiveBytes) await this.#room();
        else if (this.#opened > opensAtOnce) await setImmediate();
      }
      // Streams that were open did not end in peace, though the connection did.
      this.#failStreams(over(this.streamSide, 'the mux session'));
      this.#leave();
    } catch (cause) {
      this.fail(ProxyError.from(cause));
    }
    const reason = this.#failure;
    await this.conn.closed;
    this.#stop();
    return reason;
  }

  get isOpen(): boolean {
    const hasRoom = this.streams.size < this.#settings.maxStreams && this.#nextStream <= lastStream;
    return hasRoom && !this.#hasPeerLeft && !this.#isDraining && !this.#isLeaving;
  }

  get isRoomy(): boolean {
    return this.#heldBytes < this.#settings.maxReceiveBytes / 4;
  }

  open(): Conn {
    if (!this.isOpen) throw over(this.streamSide, 'the mux session', this.#failure);
    const stream = this.#add(this.#nextStream);
    this.#nextStream += 2;
    this.outgoing.control(this.dialect.open(stream.id));
    return stream;
  }

  drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    if (this.isPeerOurs) this.outgoing.control(this.dialect.goAway());
    this.#look();
  }

  /** Ends everything at once. The first reason stays. */
  fail(error: ProxyError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#isLeaving = true;
    this.#failStreams(over(this.streamSide, 'the mux session', error));
    this.#stop();
    this.conn.reset();
  }

  held(bytes: number): void {
    this.#heldBytes += bytes;
    if (this.#heldBytes <= this.#settings.maxReceiveBytes) this.#onRoom?.();
  }

  left(stream: MuxStream): void {
    this.streams.delete(stream.id);
    if (this.#isLeaving) return;
    if (!stream.hasAnswered && this.#isOfPeer(stream.id)) this.#cameToNothing();
    if (this.streams.size === 0) this.#look();
  }

  heard(): void {
    if (this.#onHeard === undefined) return;
    this.#onHeard();
    this.#onHeard = undefined;
    if (this.#isDraining) this.#look();
  }

  hello(): void {
    if (this.isPeerOurs) return;
    this.isPeerOurs = true;
    if (this.#role === 'server') this.outgoing.control(this.dialect.hello());
    if (this.#isDraining) this.outgoing.control(this.dialect.goAway());
    for (const stream of this.streams.values()) stream.peerIsOurs();
  }

  goAway(): void {
    this.#hasPeerLeft = true;
    this.#onLeft();
    this.#look();
  }

  opened(id: number): void {
    if (!this.#isOfPeer(id) || this.streams.has(id))
      throw malformed(this.side, `the peer opens stream ${String(id)}, which is not its to open`);
    // What follows in the same bytes after the session has failed is nobody's.
    if (this.#isLeaving) return;
    this.#opened++;
    if (this.#accept === undefined || this.streams.size >= this.#settings.maxStreams) {
      this.outgoing.control(this.dialect.reset(id));
      this.#cameToNothing();
      return;
    }
    const stream = this.#add(id);
    const answer = this.dialect.accept(id);
    if (answer !== undefined) this.outgoing.control(answer);
    this.#accept(stream);
  }

  data(id: number, bytes: Buffer): void {
    // Of a stream that is over here something may still be under way.
    this.streams.get(id)?.deliver(bytes);
  }

  granted(id: number, first: number, second: number): void {
    this.streams.get(id)?.grant(first, second);
  }

  ended(id: number): void {
    this.streams.get(id)?.peerEnded();
  }

  reset(id: number): void {
    this.streams.get(id)?.peerReset();
  }

  reply(frame: Buffer): void {
    this.outgoing.control(frame);
  }

  #add(id: number): MuxStream {
    clearTimeout(this.#idle);
    const stream = new MuxStream(id, this, this.#isOfPeer(id));
    this.streams.set(id, stream);
    return stream;
  }

  /** Clients open odd ones, servers even ones. */
  #isOfPeer(id: number): boolean {
    return id > 0 && id % 2 === (this.#role === 'client' ? 0 : 1);
  }

  #cameToNothing(): void {
    if (!this.#futility.isBearable())
      this.fail(abused(this.side, 'opens and ends streams faster than they can be of use'));
  }

  /** A session without streams ends, now or later. What the same bytes may open is waited for. */
  #look(): void {
    queueMicrotask(() => {
      clearTimeout(this.#idle);
      if (this.streams.size > 0 || this.#isLeaving) return;
      // Whoever has just connected is about to open one.
      const isNew = this.#role === 'server' && this.#onHeard !== undefined;
      const { idleMs } = this.#settings;
      if (this.#hasPeerLeft) this.#leave();
      else if (this.#isDraining && this.isPeerOurs) {
        // It ends the connection when it has heard of it. What it has opened before is still taken.
        this.#idle = setTimeout(() => this.#leave(), farewellMs).unref();
      } else if (this.#isDraining && !isNew) this.#leave();
      else if (idleMs > 0) this.#idle = setTimeout(() => this.drain(), idleMs).unref();
    });
  }

  /** Ends the connection when all that was said has been written. Whoever does not close it in return is not waited for. */
  #leave(): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    const farewell = setTimeout(() => this.conn.reset(), farewellMs);
    void this.conn.closed.then(() => clearTimeout(farewell));
    this.outgoing.afterWritten(() => {
      this.outgoing.close();
      void this.conn.end();
      this.conn.leave?.();
    });
  }

  /** Resolves when enough has been read of what is held. */
  async #room(): Promise<void> {
    await new Promise<void>((resolve) => (this.#onRoom = resolve));
    this.#onRoom = undefined;
    this.#lastHeardMs = performance.now();
  }

  #stayAlive(): void {
    const silentMs = performance.now() - this.#lastHeardMs;
    // Whoever is not read cannot be heard.
    if (silentMs >= this.#settings.keepAliveTimeoutMs && this.#onRoom === undefined) {
      const message = `the ${this.side} of a mux session has been silent for ${(silentMs / 1000).toFixed(0)} s`;
      const code = this.side === 'client' ? 'clientClosed' : 'upstreamClosed';
      this.fail(new ProxyError(code, this.side, message));
    } else this.outgoing.control(this.dialect.ping());
  }

  #failStreams(error: ProxyError): void {
    for (const stream of [...this.streams.values()]) stream.fail(error);
  }

  #stop(): void {
    clearInterval(this.#keepAlive);
    clearTimeout(this.#idle);
    this.outgoing.close();
    this.#onRoom?.();
  }
}
