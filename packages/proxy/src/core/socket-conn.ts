import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Address, Conn, PeerTls } from './conn.ts';
import { duplexOf } from './duplex.ts';
import { ProxyError } from './errors.ts';

/**
 * How many bytes are taken from the kernel before anybody asked for them. Reading ahead is what tells that the peer has
 * gone while nobody reads; one chunk of the socket may exceed it.
 */
const readAheadBytes = 64 * 1024;

/** What a socket's owner knows about it. */
export interface SocketConnOptions {
  /** Whose connection it is; it decides the code of the error when it breaks. */
  readonly side: 'client' | 'upstream';
  readonly tls?: PeerTls;
  /** Default: what the socket says. */
  readonly local?: Address;
  /** Default: what the socket says. */
  readonly remote?: Address;
  readonly via?: Address;
  /** The connection whose bytes the socket wraps: a reset of this one is a reset of that. */
  readonly under?: Conn;
}

/**
 * A {@link Conn} over a connected socket: TCP, a unix socket, or TLS over any of these. The socket must have been opened
 * with `allowHalfOpen`, and from now on belongs to the Conn. It reads ahead by about 64 KiB, so that a reset is noticed
 * while nobody reads; the reset is reported after the bytes that came before it. Whoever holds the Conn ends it: with `end`
 * and reading to the end, or with `reset`. After `detach`, `closed` still tells when the socket has closed, and `reset`
 * still resets it.
 */
export function createSocketConn(socket: Socket, options: SocketConnOptions): Conn {
  return new SocketConn(socket, options);
}

interface Waiter {
  resolve(bytes: Buffer | null): void;
  reject(error: ProxyError): void;
}

class SocketConn implements Conn {
  readonly kind = 'stream';
  readonly local: Address;
  readonly remote: Address;
  readonly tls: PeerTls | undefined;
  readonly via: Address | undefined;
  readonly under: Conn | undefined;
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #side: 'client' | 'upstream';
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  #ended = false;
  /** It can carry nothing more. Most connections end like this in peace, so that the error is made for whoever asks. */
  #isOver = false;
  #cause: unknown;
  #failure: ProxyError | undefined;
  #waiter: Waiter | undefined;
  #draining: Promise<void> | undefined;
  #drain: { resolve(): void; reject(error: ProxyError): void } | undefined;
  #ending: Promise<void> | undefined;
  #stream: Duplex | undefined;
  #isDetached = false;
  #close!: () => void;

  constructor(socket: Socket, { side, tls, local, remote, via, under }: SocketConnOptions) {
    this.#socket = socket;
    this.#side = side;
    this.tls = tls;
    this.via = via;
    this.under = under;
    // A peer that has already gone leaves these undefined.
    this.local = local ?? { host: plainHost(socket.localAddress), port: socket.localPort ?? 0 };
    this.remote = remote ?? { host: plainHost(socket.remoteAddress), port: socket.remotePort ?? 0 };
    this.closed = socket.closed
      ? Promise.resolve()
      : new Promise((resolve) => {
          this.#close = resolve;
          socket.once('close', () => {
            this.#fail(undefined);
            resolve();
          });
        });
    socket
      .on('error', this.#onError)
      .on('end', this.#onEnd)
      .on('data', this.#onData)
      .on('drain', this.#onDrain);
    socket.resume();
  }

  readonly #onError = (error: Error): void => {
    this.#fail(error);
    // TLS tells of a broken record, and leaves the socket open.
    if (!this.#socket.destroyed) this.reset();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#waiter?.resolve(null);
    this.#waiter = undefined;
    // A reset that came together with bytes looks like this, too; whoever has gone altogether fails to take even nothing.
    if (this.under === undefined && this.#socket.writable) this.#socket.write('');
  };

  readonly #onData = (bytes: Buffer): void => {
    // A reset that has to wait for its moment lets bytes come that nobody is meant to see.
    if (this.#isOver) return;
    if (this.#waiter !== undefined) {
      const { resolve } = this.#waiter;
      this.#waiter = undefined;
      resolve(bytes);
      return;
    }
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes >= readAheadBytes) this.#socket.pause();
  };

  readonly #onDrain = (): void => {
    this.#drain?.resolve();
    this.#drain = this.#draining = undefined;
  };

  read(): Promise<Buffer | null> {
    const bytes = this.#queue.shift();
    if (bytes !== undefined) {
      this.#queuedBytes -= bytes.length;
      if (this.#queuedBytes < readAheadBytes && this.#socket.isPaused()) this.#socket.resume();
      return Promise.resolve(bytes);
    }
    if (this.#ended) return Promise.resolve(null);
    if (this.#isOver) return Promise.reject(this.#reason());
    if (this.#waiter !== undefined) {
      return Promise.reject(new ProxyError('internal', 'self', 'two readers on one connection'));
    }
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
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    return bytes.length === 0 || this.#socket.write(bytes) ? Promise.resolve() : this.#untilDrained();
  }

  writeParts(parts: readonly Uint8Array[]): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    const socket = this.#socket;
    let takesMore = true;
    socket.cork();
    for (const part of parts) takesMore = socket.write(part);
    socket.uncork();
    return takesMore ? Promise.resolve() : this.#untilDrained();
  }

  #refusal(): ProxyError | undefined {
    if (this.#isOver) return this.#reason();
    if (this.#ending === undefined) return undefined;
    return new ProxyError('internal', 'self', 'written to a connection after its direction was ended');
  }

  #untilDrained(): Promise<void> {
    return (this.#draining ??= new Promise((resolve, reject) => {
      this.#drain = { resolve, reject };
    }));
  }

  end(): Promise<void> {
    const socket = this.#socket;
    this.#ending ??= new Promise((resolve) => {
      // The callbacks get an error when the connection breaks first; that is reported to whoever reads.
      const finish = () => {
        if (socket.destroyed) resolve();
        else socket.end(resolve);
      };
      // A connection that is being shut down can no longer be reset, so this waits for what is still to be sent.
      if (socket.writableLength > 0 && !socket.destroyed) socket.write('', finish);
      else finish();
    });
    return this.#ending;
  }

  reset(): void {
    // Bytes that nobody will read any more must not keep a reader busy with a connection that is over.
    this.#queue = [];
    this.#queuedBytes = 0;
    const socket = this.#socket;
    if (socket.destroyed) return;
    this.#fail(undefined);
    // The system refuses to reset a socket that is just being shut down, and Node then never closes it. Everything that was
    // written has been sent by then (see `end`), so that a plain close tells the peer nothing wrong.
    if (socket.writableEnded && !socket.writableFinished) socket.destroy();
    else if (this.under !== undefined) {
      this.under.reset();
      void this.under.closed.then(() => {
        socket.destroy();
        // Node's TLS over TLS is never told that the inner one has closed.
        this.#close();
      });
    } else if (this.#isDetached) {
      // Whoever has the socket now may be calling us from within Node's own TLS or HTTP code, which reads from the socket's
      // handle: taken away at this moment, that code would go on in memory that has been freed.
      setImmediate(() => this.#resetSocket());
    } else this.#resetSocket();
  }

  #resetSocket(): void {
    if (this.#socket.destroyed) return;
    // A unix socket knows no reset; a peer that still writes sees it as one.
    if (isUnix(this.remote) || isUnix(this.local)) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
  }

  get stream(): Duplex {
    return (this.#stream ??= duplexOf(this));
  }

  detach(): Socket | undefined {
    const socket = this.#socket;
    const inUse = this.#stream !== undefined || this.#waiter !== undefined || this.#ending !== undefined;
    if (inUse || this.#ended || this.#isOver || socket.destroyed) return undefined;
    this.#isDetached = true;
    socket.pause();
    socket
      .off('error', this.#onError)
      .off('end', this.#onEnd)
      .off('data', this.#onData)
      .off('drain', this.#onDrain);
    // Whoever takes the socket listens for its errors; until then one must not end the program.
    socket.on('error', () => undefined);
    const queued = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    if (queued.length > 0) socket.unshift(queued.length === 1 ? queued[0]! : Buffer.concat(queued));
    return socket;
  }

  /** The connection can carry nothing more. The first reason stays. */
  #fail(cause: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cause = cause;
    this.#waiter?.reject(this.#reason());
    this.#waiter = undefined;
    this.#drain?.reject(this.#reason());
    this.#drain = this.#draining = undefined;
  }

  #reason(): ProxyError {
    const code = this.#side === 'client' ? 'clientClosed' : 'upstreamClosed';
    const cause = this.#cause;
    const how = cause === undefined ? 'is closed' : `broke: ${reasonOf(cause)}`;
    const message = `the connection with the ${this.#side} ${how}`;
    return (this.#failure ??= new ProxyError(code, this.#side, message, { cause }));
  }
}

function reasonOf(cause: unknown): string {
  const { code, message, reason } = cause as NodeJS.ErrnoException & { reason?: string };
  if (code?.startsWith('ERR_SSL_')) return `TLS ended: ${reason ?? message}`;
  if (code === 'ECONNRESET') return 'reset by the peer';
  if (code === 'EPIPE') return 'the peer no longer reads';
  if (code === 'ETIMEDOUT') return 'the peer no longer answers';
  return message;
}

/** True for the address of a unix socket, named or not. */
function isUnix({ host }: Address): boolean {
  return host.startsWith('/') || host.startsWith('@');
}

/** A listener on `::` names IPv4 peers by their mapped address; everywhere else they are known by the plain one. */
export function plainHost(host: string | undefined): string {
  return host?.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '') ?? '';
}
