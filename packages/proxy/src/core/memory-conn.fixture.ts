import type { Duplex } from 'node:stream';
import type { Address, Conn, Ends } from './conn.ts';
import { createDatagramInbox } from './datagrams.ts';
import type { Datagrams } from './datagrams.ts';
import { duplexOf } from './duplex.ts';
import { ProxyError } from './errors.ts';

/** What a pair is made with. */
export interface MemoryPairOptions {
  /** What an end is told of itself, by its name. */
  readonly ends?: readonly [Partial<Ends>, Partial<Ends>];
  /** Bytes that one end takes before writing to it waits. Default 64 KiB, about what a socket does. */
  readonly maxBufferedBytes?: number;
  /** Whose connection each end is, for the code of its errors. Default: `client`, then `upstream`. */
  readonly sides?: readonly ['client' | 'upstream', 'client' | 'upstream'];
}

const addresses: readonly [Address, Address] = [
  { host: '192.0.2.1', port: 40_000 },
  { host: '192.0.2.2', port: 80 },
];

/** One end of a pair, and what a test may want to know of it. */
export interface MemoryEnd extends Conn {
  /** True once this end has half-closed or was reset. */
  readonly isEnded: boolean;
  /** True when this end was reset, from whichever side. */
  readonly isReset: boolean;
  /** Bytes that came and were not read. */
  readonly bufferedBytes: number;
}

/** Two Conns that are each other's peer: with backpressure, half-close, and resets that the other end sees as one. */
export function memoryConnPair({
  ends = [{}, {}],
  maxBufferedBytes = 64 * 1024,
  sides = ['client', 'upstream'],
}: MemoryPairOptions = {}): [MemoryEnd, MemoryEnd] {
  const [here, there] = addresses;
  const a = new MemoryConn({ local: here, remote: there, ...ends[0] }, sides[0], maxBufferedBytes);
  const b = new MemoryConn({ local: there, remote: here, ...ends[1] }, sides[1], maxBufferedBytes);
  a.peer = b;
  b.peer = a;
  return [a, b];
}

class MemoryConn implements MemoryEnd {
  readonly kind = 'stream';
  readonly local: Address;
  readonly remote: Address;
  readonly tls: Ends['tls'];
  readonly wanted: Ends['wanted'];
  readonly via: Ends['via'];
  readonly closed: Promise<void>;
  peer!: MemoryConn;
  isEnded = false;
  isReset = false;
  readonly #side: 'client' | 'upstream';
  readonly #maxBufferedBytes: number;
  #close!: () => void;
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #reader: { resolve(bytes: Buffer | null): void; reject(error: ProxyError): void } | undefined;
  /** Of the peer's writes, which wait for room here. */
  #writers: { resolve(): void; reject(error: ProxyError): void }[] = [];
  #stream: Duplex | undefined;

  constructor(ends: Ends, side: 'client' | 'upstream', maxBufferedBytes: number) {
    this.local = ends.local;
    this.remote = ends.remote;
    this.tls = ends.tls;
    this.wanted = ends.wanted;
    this.via = ends.via;
    this.#side = side;
    this.#maxBufferedBytes = maxBufferedBytes;
    this.closed = new Promise((resolve) => (this.#close = resolve));
  }

  get bufferedBytes(): number {
    return this.#queuedBytes;
  }

  read(): Promise<Buffer | null> {
    const bytes = this.#queue.shift();
    if (bytes !== undefined) {
      this.#queuedBytes -= bytes.length;
      if (this.#queuedBytes < this.#maxBufferedBytes)
        for (const writer of this.#writers.splice(0)) writer.resolve();
      return Promise.resolve(bytes);
    }
    if (this.isReset) return Promise.reject(this.#broken());
    if (this.peer.isEnded) return Promise.resolve(null);
    if (this.#reader !== undefined)
      return Promise.reject(new ProxyError('internal', 'self', 'two readers on one connection'));
    return new Promise((resolve, reject) => (this.#reader = { resolve, reject }));
  }

  unread(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#queue.unshift(bytes);
    this.#queuedBytes += bytes.length;
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.isReset) return Promise.reject(this.#broken());
    if (this.isEnded)
      return Promise.reject(new ProxyError('internal', 'self', 'written after the end of its direction'));
    return this.peer.#take(Buffer.from(bytes));
  }

  end(): Promise<void> {
    if (this.isEnded) return Promise.resolve();
    this.isEnded = true;
    this.peer.#reader?.resolve(null);
    this.peer.#reader = undefined;
    if (this.peer.isEnded) for (const end of [this, this.peer]) end.#close();
    return Promise.resolve();
  }

  reset(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
    if (this.isReset || (this.isEnded && this.peer.isEnded)) return;
    this.#break();
    this.peer.#break();
  }

  get stream(): Duplex {
    return (this.#stream ??= duplexOf(this));
  }

  #take(bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return Promise.resolve();
    if (this.#reader !== undefined) {
      this.#reader.resolve(bytes);
      this.#reader = undefined;
      return Promise.resolve();
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes < this.#maxBufferedBytes) return Promise.resolve();
    return new Promise((resolve, reject) => this.#writers.push({ resolve, reject }));
  }

  /** Bytes that came before may still be read. */
  #break(): void {
    this.isReset = this.isEnded = true;
    this.#reader?.reject(this.#broken());
    this.#reader = undefined;
    for (const writer of this.#writers.splice(0)) writer.reject(this.peer.#broken());
    this.#close();
  }

  #broken(): ProxyError {
    const code = this.#side === 'client' ? 'clientClosed' : 'upstreamClosed';
    return new ProxyError(code, this.#side, `the connection with the ${this.#side} is closed`);
  }
}

/**
 * Two ends of datagrams that are each other's peer. What one sends to a peer, the other receives as sent by that peer; without
 * one it is the sender. Closing one closes the other.
 */
export function memoryDatagramsPair(
  ends: readonly [Partial<Ends>, Partial<Ends>] = [{}, {}],
): [Datagrams, Datagrams] {
  const [here, there] = addresses;
  const inboxes = [createDatagramInbox(), createDatagramInbox()] as const;
  let isClosed = false;
  let closeBoth!: () => void;
  const closed = new Promise<void>((resolve) => (closeBoth = resolve));
  const end = (own: Ends, mine: 0 | 1): Datagrams => ({
    kind: 'datagrams',
    ...own,
    closed,
    receive: (each) => {
      inboxes[mine].receive(each);
    },
    send: (data, peer = own.local) =>
      !isClosed && inboxes[mine === 0 ? 1 : 0].deliver(Buffer.from(data), peer),
    close() {
      isClosed = true;
      for (const inbox of inboxes) inbox.close();
      closeBoth();
    },
  });
  return [
    end({ local: here, remote: there, ...ends[0] }, 0),
    end({ local: there, remote: here, ...ends[1] }, 1),
  ];
}
