import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import type { RawData } from 'ws';
import type { Address, Conn, PeerTls } from '../../core/conn.ts';
import { duplexOf } from '../../core/duplex.ts';
import { ProxyError } from '../../core/errors.ts';
import type { HalfOpenWebSocket } from './half-open-web-socket.ts';

/** What is read before anybody asked for it, so that a peer that goes is noticed. */
const readAheadBytes = 64 * 1024;

/** Waits to be sent before a writer has to wait. */
const maxBufferedBytes = 64 * 1024;

/** GOST's writes are no longer; longer messages would have to be held as a whole by whoever reads them. */
const maxMessageBytes = 64 * 1024;

/** How long a peer that broke the protocol may take to read which rule it was. */
const farewellMs = 1000;

/** What is known of a WebSocket when it opens. */
export interface WsConnOptions {
  readonly side: 'client' | 'upstream';
  /** The stream that the WebSocket reads and writes. */
  readonly carrier: Duplex;
  readonly under: Conn;
  readonly remote: Address;
  readonly via?: Address;
  /** Present: the peer is asked so often, in milliseconds, whether it is there, and given up after two of them. */
  readonly pingMs?: number;
}

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: ProxyError): void;
}

/**
 * A {@link Conn} over an open WebSocket: binary messages whose borders mean nothing; text messages count as bytes. `end`
 * sends a Close; what comes before the peer's own is still read. A connection that ends without a Close has ended all the
 * same, as GOST never sends one.
 */
export class WsConn implements Conn {
  readonly kind = 'stream';
  readonly local: Address;
  readonly remote: Address;
  readonly via: Address | undefined;
  readonly tls: PeerTls | undefined;
  readonly under: Conn;
  readonly closed: Promise<void>;
  readonly #ws: HalfOpenWebSocket;
  readonly #carrier: Duplex;
  readonly #side: 'client' | 'upstream';
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #ended = false;
  #failure: ProxyError | undefined;
  #waiter: Waiter<Buffer | null> | undefined;
  #draining: Promise<void> | undefined;
  #drain: Waiter<undefined> | undefined;
  #unsent = 0;
  #onSent: (() => void) | undefined;
  #ending: Promise<void> | undefined;
  #stream: Duplex | undefined;

  constructor(ws: HalfOpenWebSocket, options: WsConnOptions) {
    const { side, carrier, under, remote, via, pingMs } = options;
    this.#ws = ws;
    this.#carrier = carrier;
    this.#side = side;
    this.local = under.local;
    this.remote = remote;
    this.via = via ?? under.via;
    this.tls = under.tls;
    this.under = under;
    const pinging = pingMs === undefined ? undefined : this.#startPing(pingMs);
    this.closed = new Promise((resolve) => {
      ws.once('close', () => {
        clearInterval(pinging);
        // Without a failure it was an end, whether or not a Close came first.
        if (this.#failure === undefined) this.#endReading();
        this.#fail(undefined);
        resolve();
      });
    });
    ws.peerEnded = () => {
      clearInterval(pinging);
      if (this.#failure === undefined) this.#endReading();
    };
    ws.on('message', this.#onMessage);
    ws.on('error', (error) => {
      // The peer broke the protocol, and may still read that it did.
      this.#fail(error);
      ws.complain();
      const farewell = setTimeout(() => under.reset(), farewellMs);
      ws.once('close', () => clearTimeout(farewell));
    });
    carrier.on('error', (error) => this.#fail(error));
  }

  read(): Promise<Buffer | null> {
    const bytes = this.#queue.shift();
    if (bytes !== undefined) {
      this.#queuedBytes -= bytes.length;
      if (this.#queuedBytes < readAheadBytes && this.#ws.isPaused) this.#ws.resume();
      return Promise.resolve(bytes);
    }
    if (this.#ended) return Promise.resolve(null);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#waiter !== undefined)
      return Promise.reject(new ProxyError('internal', 'self', 'two readers on one connection'));
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  unread(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#queue.unshift(bytes);
    this.#queuedBytes += bytes.length;
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#ending !== undefined) {
      const message = 'written to a connection after its direction was ended';
      return Promise.reject(new ProxyError('internal', 'self', message));
    }
    for (let from = 0; from < bytes.length; from += maxMessageBytes) {
      this.#unsent++;
      this.#ws.send(bytes.subarray(from, from + maxMessageBytes), { binary: true }, this.#sent);
    }
    if (this.#ws.bufferedAmount < maxBufferedBytes) return Promise.resolve();
    return (this.#draining ??= new Promise((resolve, reject) => {
      this.#drain = { resolve, reject };
    }));
  }

  end(): Promise<void> {
    this.#ending ??= (async () => {
      if (this.#failure !== undefined) return;
      if (this.#unsent > 0) await new Promise<void>((resolve) => (this.#onSent = resolve));
      if (this.#ws.readyState !== WebSocket.OPEN) return;
      this.#ws.finish();
      // When this empty write has gone, so has the Close before it.
      await new Promise<void>((resolve) => {
        this.#carrier.once('close', resolve);
        if (this.#carrier.writable) this.#carrier.write('', () => resolve());
      });
    })();
    return this.#ending;
  }

  reset(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
    if (this.#ws.readyState === WebSocket.CLOSED) return;
    this.#fail(undefined);
    this.under.reset();
    void this.under.closed.then(() => this.#ws.terminate());
  }

  get stream(): Duplex {
    return (this.#stream ??= duplexOf(this));
  }

  readonly #onMessage = (data: RawData): void => {
    // Node's buffers are what the library gives unless it is told otherwise.
    const bytes = data as Buffer;
    if (bytes.length === 0 || this.#failure !== undefined) return;
    if (this.#waiter !== undefined) {
      const { resolve } = this.#waiter;
      this.#waiter = undefined;
      resolve(bytes);
      return;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes >= readAheadBytes) this.#ws.pause();
  };

  readonly #sent = (): void => {
    this.#unsent--;
    if (this.#ws.bufferedAmount < maxBufferedBytes) {
      this.#drain?.resolve(undefined);
      this.#drain = this.#draining = undefined;
    }
    if (this.#unsent === 0) this.#onSent?.();
  };

  #endReading(): void {
    this.#ended = true;
    this.#waiter?.resolve(null);
    this.#waiter = undefined;
  }

  #startPing(ms: number): NodeJS.Timeout {
    let isAnswered = true;
    this.#ws.on('pong', () => (isAnswered = true));
    return setInterval(() => {
      if (!isAnswered) {
        this.#fail(new Error(`no answer to a ping within ${String(ms)} ms`));
        this.reset();
        return;
      }
      isAnswered = false;
      if (this.#ws.readyState === WebSocket.OPEN) this.#ws.ping();
    }, ms);
  }

  /** The connection can carry nothing more. The first reason stays. */
  #fail(cause: Error | undefined): void {
    if (this.#failure !== undefined) return;
    const code = this.#side === 'client' ? 'clientClosed' : 'upstreamClosed';
    const how = cause === undefined ? 'is closed' : `broke: ${cause.message}`;
    this.#failure = new ProxyError(code, this.#side, `the WebSocket with the ${this.#side} ${how}`, {
      cause,
    });
    this.#waiter?.reject(this.#failure);
    this.#waiter = undefined;
    this.#drain?.reject(this.#failure);
    this.#drain = this.#draining = undefined;
    this.#onSent?.();
  }
}
