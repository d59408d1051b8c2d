import type * as net from 'node:net';
import type { PluginError } from '../errors.ts';
import { dial } from './dial.ts';
import type { Endpoint } from './endpoint.ts';
import { HttpCall } from './http-call.ts';
import type { CallOwner } from './http-call.ts';
import { HttpConnection } from './http-connection.ts';
import type { ConnectionCall, ConnectionOwner, LastHead } from './http-connection.ts';
import { RequestWriter } from './http-request-writer.ts';
import type { HttpClient, HttpReply, HttpRequest } from './http.ts';
import { formatAddress } from './socket-error.ts';

/** What a client of one endpoint may use. */
export interface HttpClientOptions {
  readonly endpoint: Endpoint;
  /** The largest answer, before and after decoding. Default 1 MiB. */
  readonly maxReplyBytes?: number;
  /** How many connections may be open; further calls wait, within their deadlines. Default 128: one for each of that many calls at once. */
  readonly maxConnections?: number;
  /** An unused connection is closed after half of this at the earliest and all of it at the latest. Default 30 s: many servers and balancers close after 60. */
  readonly idleMs?: number;
  /** Over name lookup, connect and TLS handshake, for calls without a shorter deadline of their own. Default 10 s. */
  readonly connectTimeoutMs?: number;
}

const defaultDrainMs = 5_000;

/**
 * A client of one HTTP endpoint, on a pool of kept connections, speaking HTTP/1.1 (TLS: with ALPN `http/1.1`). It opens
 * a connection when a call finds none free. Whoever creates it closes it.
 *
 * Its calls reject with PluginError only. An answer counts when it has status 200 and is whole: all bytes of its
 * Content-Length, or its last chunk. An answer with neither ends with the connection, as plugins on simple servers
 * (Python's http.server, PHP's built-in one) send it; whether *that* is whole cannot be seen here, but it is JSON, whose
 * end can. No redirect is followed. When a kept connection turns out to be closed before any byte of the answer has
 * come, the call is sent once more on another.
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  return new PooledClient(options);
}

class PooledClient implements HttpClient, ConnectionOwner, CallOwner {
  readonly endpoint: Endpoint;
  readonly maxReplyBytes: number;
  readonly #maxConnections: number;
  readonly #idleMs: number;
  readonly #connectTimeoutMs: number;
  readonly #lastHead: LastHead = { text: '', verb: '', head: undefined };
  readonly #writer: RequestWriter;

  /** Every connection whose socket is not closed yet; `#usable` of them have not ended. */
  readonly #connections = new Set<HttpConnection>();
  #usable = 0;
  /** The free ones; the last used is used next, so that the others grow old and go. */
  readonly #idle: HttpConnection[] = [];
  readonly #dials = new Set<AbortController>();
  /** Calls without a connection, in order; and all calls that have not ended. */
  readonly #waiting = new Set<HttpCall>();
  readonly #running = new Set<HttpCall>();
  #sweep: NodeJS.Timeout | undefined;
  #isClosing = false;
  #onDrained: (() => void) | undefined;
  #onAllClosed: (() => void) | undefined;

  constructor(options: HttpClientOptions) {
    this.endpoint = options.endpoint;
    this.maxReplyBytes = options.maxReplyBytes ?? 1024 * 1024;
    this.#maxConnections = options.maxConnections ?? 128;
    this.#idleMs = options.idleMs ?? 30_000;
    this.#connectTimeoutMs = options.connectTimeoutMs ?? 10_000;
    this.#writer = new RequestWriter(options.endpoint);
  }

  request(request: HttpRequest): Promise<HttpReply> {
    return new Promise((resolve, reject) => {
      const call = new HttpCall(this, request, resolve, reject);
      this.#running.add(call);
      if (this.#isClosing) {
        call.abandon('unreachable', 'this client is closed');
        return;
      }
      try {
        this.#writer.write(request, call);
      } catch (error) {
        call.abandon('internal', `the request cannot be sent: ${(error as Error).message}`, error);
        return;
      }
      call.start();
      if (call.hasEnded) return;
      const connection = this.#idle.pop();
      if (connection === undefined) this.wait(call);
      else call.sendOn(connection);
    });
  }

  async close(drainMs: number = defaultDrainMs): Promise<void> {
    this.#isClosing = true;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
    for (const connection of [...this.#idle]) connection.destroy();
    if (this.#running.size > 0 && drainMs > 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#onDrained = resolve;
        timer = setTimeout(resolve, drainMs);
      });
      clearTimeout(timer);
    }
    for (const call of [...this.#running]) call.abandon('unreachable', 'this client was closed');
    for (const controller of this.#dials) controller.abort();
    this.#dials.clear();
    for (const connection of [...this.#connections]) connection.destroy();
    if (this.#connections.size > 0) await new Promise<void>((resolve) => (this.#onAllClosed = resolve));
  }

  onFree(connection: HttpConnection): void {
    const call = this.#firstWaiting();
    if (call !== undefined) {
      this.#waiting.delete(call);
      call.sendOn(connection);
    } else if (this.#isClosing) {
      connection.destroy();
    } else {
      this.#idle.push(connection);
      this.#sweep ??= setInterval(() => {
        this.#closeUnused();
      }, this.#idleMs / 2).unref();
    }
  }

  onStale(call: ConnectionCall, cause: PluginError): boolean {
    return (call as HttpCall).sendAgain(cause);
  }

  onLost(connection: HttpConnection): void {
    this.#usable--;
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#dialForWaiting();
  }

  onClosed(connection: HttpConnection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#onAllClosed?.();
  }

  wait(call: HttpCall): void {
    this.#waiting.add(call);
    this.#dialForWaiting();
  }

  onEnded(call: HttpCall): void {
    this.#running.delete(call);
    if (this.#waiting.size > 0 && this.#waiting.delete(call)) this.#dropNeedlessDials();
    if (this.#running.size === 0) this.#onDrained?.();
  }

  get waitingFor(): string {
    const at = formatAddress(this.endpoint.connect);
    if (this.#dials.size === 0) return `none of the ${this.#maxConnections} connections to ${at} became free`;
    const what =
      this.endpoint.tls === undefined ? 'accept a connection' : 'accept a connection and finish TLS';
    return `${at} did not ${what}`;
  }

  #firstWaiting(): HttpCall | undefined {
    if (this.#waiting.size === 0) return undefined;
    for (const call of this.#waiting) return call;
    return undefined;
  }

  #dialForWaiting(): void {
    while (this.#dials.size < this.#waiting.size && this.#usable + this.#dials.size < this.#maxConnections) {
      void this.#dial();
    }
  }

  /** A dial lives as long as somebody waits for it: the next call's may be luckier than one that hangs. */
  #dropNeedlessDials(): void {
    for (const controller of this.#dials) {
      if (this.#dials.size <= this.#waiting.size) return;
      this.#dials.delete(controller);
      controller.abort();
    }
  }

  async #dial(): Promise<void> {
    const controller = new AbortController();
    this.#dials.add(controller);
    const connection = new HttpConnection(this, this.#lastHead);
    let socket: net.Socket;
    try {
      socket = await dial(this.endpoint, {
        alpn: ['http/1.1'],
        timeoutMs: this.#connectTimeoutMs,
        signal: controller.signal,
        onread: connection.onread,
      });
    } catch (error) {
      // A dial that was dropped has nobody to tell.
      if (!this.#dials.delete(controller)) return;
      this.#firstWaiting()?.fail(error as PluginError);
      this.#dialForWaiting();
      return;
    }
    if (!this.#dials.delete(controller)) {
      socket.destroy();
      return;
    }
    this.#usable++;
    this.#connections.add(connection);
    connection.open(socket);
    if (connection.isOpen) this.onFree(connection);
  }

  #closeUnused(): void {
    for (const connection of [...this.#idle]) {
      if (connection.unused) connection.destroy();
      else connection.unused = true;
    }
    if (this.#usable === 0) {
      clearInterval(this.#sweep);
      this.#sweep = undefined;
    }
  }
}
