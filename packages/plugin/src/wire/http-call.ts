import { PluginError } from '../errors.ts';
import type { PluginErrorCode } from '../errors.ts';
import { deadlines } from './deadlines.ts';
import type { Deadline } from './deadlines.ts';
import type { Endpoint } from './endpoint.ts';
import type { ConnectionCall, HttpConnection } from './http-connection.ts';
import type { WrittenRequest } from './http-request-writer.ts';
import type { HttpReply, HttpRequest } from './http.ts';
import { formatAddress } from './socket-error.ts';

/** The client that a call belongs to. */
export interface CallOwner {
  readonly endpoint: Endpoint;
  /** What a call without a connection waits for, as the first half of a sentence. */
  readonly waitingFor: string;
  /** Lets a call wait for the next connection that is free, opening one where that is allowed. */
  wait(call: HttpCall): void;
  /** The call has ended, however it did. */
  onEnded(call: HttpCall): void;
}

/** One call, from the moment it is asked to the moment its promise settles: its deadline, its signal, its one more try. */
export class HttpCall implements ConnectionCall, WrittenRequest, Deadline {
  text = '';
  encoding: 'latin1' | 'utf8' = 'latin1';
  bytesSent = 0;
  // For the wheel of deadlines.
  dueMs = 0;
  previous: Deadline | undefined = undefined;
  next: Deadline | undefined = undefined;

  readonly #owner: CallOwner;
  readonly #request: HttpRequest;
  readonly #resolve: (reply: HttpReply) => void;
  readonly #reject: (error: PluginError) => void;
  #connection: HttpConnection | undefined;
  #stale: PluginError | undefined;
  #isSent = false;
  #hasEnded = false;
  #onAbort: (() => void) | undefined;

  constructor(
    owner: CallOwner,
    request: HttpRequest,
    resolve: (reply: HttpReply) => void,
    reject: (error: PluginError) => void,
  ) {
    this.#owner = owner;
    this.#request = request;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get verb(): string {
    return this.#request.verb;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Lets the deadline run and listens to the signal. The call ends at once where that has fired already. */
  start(): void {
    const { timeoutMs, signal } = this.#request;
    if (signal !== undefined) {
      this.#onAbort = () => {
        this.abandon('canceled', 'nobody waits for the answer any more', signal.reason);
      };
      if (signal.aborted) {
        this.#onAbort();
        return;
      }
      signal.addEventListener('abort', this.#onAbort, { once: true });
    }
    if (timeoutMs !== undefined) deadlines.set(this, timeoutMs);
  }

  sendOn(connection: HttpConnection): void {
    this.#connection = connection;
    this.#isSent = true;
    connection.send(this);
  }

  /** Takes the call back from a connection that was closed before it answered. False when this happens a second time. */
  sendAgain(cause: PluginError): boolean {
    if (this.#stale !== undefined) return false;
    this.#stale = cause;
    this.#connection = undefined;
    this.#owner.wait(this);
    return true;
  }

  succeed(reply: HttpReply): void {
    if (this.#end()) this.#resolve(reply);
  }

  fail(error: PluginError): void {
    if (!this.#end()) return;
    // That a new connection is refused says nothing of what became of the call on the old one.
    const isUnsure = this.#isSent && error.unsent;
    this.#reject(
      isUnsure
        ? new PluginError(error.code, error.message, { cause: error, endpoint: error.endpoint })
        : error,
    );
  }

  onDeadline(): void {
    const ms = this.#request.timeoutMs ?? 0;
    const at = formatAddress(this.#owner.endpoint.connect);
    const connection = this.#connection;
    let what = this.#owner.waitingFor;
    if (connection !== undefined) {
      what = connection.isAnswering ? `${at} did not finish its answer` : `${at} did not answer`;
    }
    this.abandon('timeout', `${what} within ${ms} ms`);
  }

  /** Ends the call from our side, and with it the connection that it is on. */
  abandon(code: PluginErrorCode, message: string, cause?: unknown): void {
    const connection = this.#connection;
    const status = code === 'canceled' ? undefined : connection?.statusSoFar();
    connection?.destroy();
    const { url } = this.#owner.endpoint;
    this.fail(status ?? new PluginError(code, message, { cause, endpoint: url, unsent: !this.#isSent }));
  }

  #end(): boolean {
    if (this.#hasEnded) return false;
    this.#hasEnded = true;
    this.#connection = undefined;
    deadlines.clear(this);
    if (this.#onAbort !== undefined) this.#request.signal?.removeEventListener('abort', this.#onAbort);
    this.#owner.onEnded(this);
    return true;
  }
}
