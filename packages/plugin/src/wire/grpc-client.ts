import { performance } from 'node:perf_hooks';
import { PluginError } from '../errors.ts';
import { deadlines } from './deadlines.ts';
import { dial } from './dial.ts';
import type { Endpoint } from './endpoint.ts';
import { ClientCall } from './grpc-client-call.ts';
import type { CallOwner } from './grpc-client-call.ts';
import { explainEnd } from './grpc-client-end.ts';
import { WaitingLine } from './grpc-client-queue.ts';
import { RequestHeads } from './grpc-client-head.ts';
import { gzipMessage } from './grpc-framing.ts';
import { grpcStatus } from './grpc.ts';
import type { GrpcClient, GrpcReply, GrpcRequest, RawHeaders } from './grpc.ts';
import { H2Connection } from './h2/connection.ts';
import type { ConnectionEnd } from './h2/connection-options.ts';
import { defaultH2Limits } from './h2/limits.ts';
import type { StreamFailure } from './h2/stream.ts';
import { formatAddress } from './socket-error.ts';
import { SocketReader } from './socket-reader.ts';

/** How a gRPC client is made. */
export interface GrpcClientOptions {
  readonly endpoint: Endpoint;
  /** The largest message of an answer, after decompression. Default 1 MiB: a decision is small. */
  readonly maxReplyBytes?: number;
  /** For name lookup, connect and TLS handshake together. Default 5000. A call's own deadline counts as well. */
  readonly connectTimeoutMs?: number;
  /**
   * While calls wait and nothing comes: a PING after this, and the connection is given up after as long again. Default
   * 10,000. Nothing is sent while no call waits, as some servers count that as a flood.
   */
  readonly keepaliveMs?: number;
  /** Calls that may wait for a connection or a stream. Default 10,000; a further one fails as `overloaded`. */
  readonly maxQueuedCalls?: number;
  /** Sent as `user-agent`. Default `sallyport`. */
  readonly userAgent?: string;
}

const backoffFirstMs = 20;
// A plugin that is started again must be used within a second, so no pause is longer than half of that.
const backoffMaxMs = 500;

/**
 * Opens a gRPC client for one endpoint. Nothing is dialled before the first call. One HTTP/2 connection carries all calls;
 * when it breaks the next call opens another. A call that the server has certainly not processed is sent once more.
 *
 * A call that finds no connection waits for one, at most until its deadline. After a failed attempt the next one waits 20
 * to 500 ms, growing, with jitter; a call whose deadline is sooner fails at once with the reason of the last attempt.
 *
 * Throws a TypeError where the endpoint's authority, or `userAgent`, is empty or has characters that no header can have.
 */
export function createGrpcClient(options: GrpcClientOptions): GrpcClient {
  return new Client(options);
}

class Client implements GrpcClient, CallOwner {
  readonly maxReplyBytes: number;
  readonly #options: GrpcClientOptions;
  readonly #endpoint: Endpoint;
  readonly #queue = new WaitingLine<ClientCall>();
  readonly #heads: RequestHeads;
  readonly #connections = new Set<H2Connection>();
  #current: H2Connection | undefined;
  #dialling: AbortController | undefined;
  #backoff: NodeJS.Timeout | undefined;
  #failures = 0;
  #notBeforeMs = 0;
  #lastReason: PluginError | undefined;
  #calls = 0;
  #isClosed = false;
  #onIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: GrpcClientOptions) {
    this.#options = options;
    this.#endpoint = options.endpoint;
    const { tls, authority } = options.endpoint;
    const scheme = tls === undefined ? 'http' : 'https';
    this.#heads = new RequestHeads(scheme, authority, options.userAgent ?? 'sallyport');
    this.maxReplyBytes = options.maxReplyBytes ?? 1024 * 1024;
  }

  get url(): string {
    return this.#endpoint.url;
  }

  call(request: GrpcRequest): Promise<GrpcReply> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal(request);
      if (refusal !== undefined) {
        reject(refusal);
        return;
      }
      const call = new ClientCall(this, request, resolve, reject);
      this.#calls++;
      if (request.timeoutMs !== undefined) deadlines.set(call, request.timeoutMs);
      const current = this.#current;
      if (current !== undefined && this.#queue.size === 0 && current.canOpen) this.#begin(call, current);
      else this.#wait(call);
    });
  }

  close(drainMs = 5000): Promise<void> {
    this.#closing ??= this.#close(drainMs);
    return this.#closing;
  }

  settled(call: ClientCall): void {
    deadlines.clear(call);
    this.#queue.delete(call);
    if (--this.#calls === 0) this.#onIdle?.();
  }

  again(call: ClientCall): boolean {
    if (this.#isClosed && this.#current === undefined) return false;
    this.#wait(call);
    return true;
  }

  suspect(connection: H2Connection): void {
    connection.probe();
  }

  #refusal(request: GrpcRequest): PluginError | undefined {
    const { signal, timeoutMs } = request;
    const refuse = (
      code: 'unreachable' | 'canceled' | 'timeout' | 'overloaded',
      status: number,
      message: string,
    ): PluginError =>
      new PluginError(code, message, {
        endpoint: this.url,
        unsent: true,
        grpcStatus: status,
        cause: signal?.reason,
      });
    if (this.#isClosed) return refuse('unreachable', grpcStatus.unavailable, 'the client is closed');
    if (signal?.aborted === true)
      return refuse('canceled', grpcStatus.cancelled, 'nobody waits for the answer any more');
    if (timeoutMs !== undefined && timeoutMs <= 0) {
      return refuse('timeout', grpcStatus.deadlineExceeded, 'no time was left for the call');
    }
    if (this.#queue.size >= (this.#options.maxQueuedCalls ?? 10_000)) {
      return refuse(
        'overloaded',
        grpcStatus.resourceExhausted,
        `${this.#queue.size} calls are waiting already`,
      );
    }
    return undefined;
  }

  #begin(call: ClientCall, connection: H2Connection): void {
    const { request } = call;
    let headers: RawHeaders;
    try {
      headers = this.#heads.of(request, this.#leftMs(call));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      call.fail('internal', grpcStatus.internal, message, true, error);
      return;
    }
    const isGzip = request.gzip === true;
    call.begin(connection, headers, isGzip ? 1 : 0, isGzip ? gzipMessage(request.message) : request.message);
  }

  /** What a call tells the server: its whole time while it has not waited, so that the same words serve many calls. */
  #leftMs(call: ClientCall): number | undefined {
    const { timeoutMs } = call.request;
    if (timeoutMs === undefined) return undefined;
    if (!call.isWaiting) return timeoutMs;
    return Math.max(1, Math.min(timeoutMs, call.dueMs - performance.now()));
  }

  #wait(call: ClientCall): void {
    this.#queue.add(call);
    if (this.#current !== undefined) {
      this.#pump();
      return;
    }
    if (this.#dialling !== undefined) return;
    const now = performance.now();
    if (now >= this.#notBeforeMs) {
      this.#dial();
      return;
    }
    if (call.dueMs < this.#notBeforeMs && this.#lastReason !== undefined) {
      const { code, message } = this.#lastReason;
      call.fail(
        code === 'canceled' ? 'unreachable' : code,
        grpcStatus.unavailable,
        message,
        true,
        this.#lastReason,
      );
      return;
    }
    this.#backoff ??= setTimeout(() => {
      this.#backoff = undefined;
      if (this.#queue.size > 0 && this.#current === undefined && this.#dialling === undefined) this.#dial();
    }, this.#notBeforeMs - now);
  }

  #pump(): void {
    for (let call = this.#queue.first; call !== undefined; call = this.#queue.first) {
      const current = this.#current;
      if (current === undefined || !current.canOpen) return;
      this.#begin(call, current);
      this.#queue.delete(call);
    }
  }

  #dial(): void {
    const controller = new AbortController();
    this.#dialling = controller;
    const { tls } = this.#endpoint;
    const alpn = tls === undefined ? undefined : ['h2'];
    const reader = tls === undefined ? new SocketReader() : undefined;
    dial(this.#endpoint, {
      alpn,
      onread: reader?.onread,
      timeoutMs: this.#options.connectTimeoutMs ?? 5000,
      signal: controller.signal,
    }).then(
      (socket) => {
        this.#dialling = undefined;
        const selected = (socket as { alpnProtocol?: string | false | null }).alpnProtocol;
        if (tls !== undefined && selected !== 'h2') {
          socket.destroy();
          this.#dialFailed(
            this.#unreachable(
              `${formatAddress(this.#endpoint.connect)} speaks TLS but does not offer HTTP/2 (ALPN h2), which gRPC needs`,
            ),
          );
          return;
        }
        if (this.#isClosed && this.#calls === 0) socket.destroy();
        else this.#connected(socket, reader);
      },
      (error: unknown) => {
        this.#dialling = undefined;
        this.#dialFailed(
          error instanceof PluginError ? error : this.#unreachable('the connection failed', error),
        );
      },
    );
  }

  #unreachable(message: string, cause?: unknown): PluginError {
    return new PluginError('unreachable', message, { endpoint: this.url, unsent: true, cause });
  }

  #connected(socket: ConstructorParameters<typeof H2Connection>[0], reader?: SocketReader): void {
    const windowBytes = Math.min(this.maxReplyBytes + 128 * 1024, 0x7fff_ffff);
    const connection = new H2Connection(socket, {
      role: 'client',
      limits: defaultH2Limits,
      streamWindowBytes: windowBytes,
      connectionWindowBytes: Math.min(Math.max(windowBytes * 2, 8 * 1024 * 1024), 0x7fff_ffff),
      keepaliveMs: this.#options.keepaliveMs ?? 10_000,
      events: {
        ready: () => {
          if (this.#failures > 0 && connection.hasSettings) this.#failures = 0;
          if (this.#queue.size > 0) this.#pump();
        },
        draining: () => this.#forget(connection),
        closed: (end) => this.#ended(connection, end),
      },
    });
    this.#connections.add(connection);
    socket.once('close', () => this.#connections.delete(connection));
    this.#current = connection;
    reader?.handTo((bytes) => connection.receive(bytes));
    this.#pump();
  }

  #forget(connection: H2Connection): void {
    if (this.#current !== connection) return;
    this.#current = undefined;
    const { first } = this.#queue;
    if (first !== undefined) this.#wait(first);
  }

  #ended(connection: H2Connection, end: ConnectionEnd): void {
    if (connection.hasSettings || end.by === 'local' || this.#current !== connection) {
      this.#forget(connection);
      return;
    }
    // It never spoke HTTP/2, so this was a failed attempt to connect.
    this.#current = undefined;
    this.#dialFailed(explainEnd(this.#endpoint, connection, end, true));
  }

  explain(connection: H2Connection, failure: StreamFailure): PluginError {
    return explainEnd(this.#endpoint, connection, connection.end ?? failure, failure.isUnprocessed);
  }

  #dialFailed(reason: PluginError): void {
    const pauseMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 16);
    this.#notBeforeMs = performance.now() + pauseMs * (0.5 + Math.random() / 2);
    this.#lastReason = reason;
    for (const call of this.#queue.list()) {
      const status = reason.code === 'unauthenticated' ? grpcStatus.unauthenticated : grpcStatus.unavailable;
      call.fail(
        reason.code === 'canceled' ? 'unreachable' : reason.code,
        status,
        reason.message,
        true,
        reason,
      );
    }
  }

  async #close(drainMs: number): Promise<void> {
    this.#isClosed = true;
    if (this.#calls > 0 && drainMs > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, drainMs);
        this.#onIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    clearTimeout(this.#backoff);
    this.#dialling?.abort();
    this.#current = undefined;
    const gone = [...this.#connections].map(
      (connection) => new Promise<void>((resolve) => connection.socket.once('close', () => resolve())),
    );
    for (const connection of this.#connections) connection.close();
    for (const call of this.#queue.list()) {
      call.fail('unreachable', grpcStatus.unavailable, 'the client was closed', true);
    }
    await Promise.all(gone);
  }
}
