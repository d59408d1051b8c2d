import { performance } from 'node:perf_hooks';
import { PluginError } from '../errors.ts';
import type { PluginErrorCode } from '../errors.ts';
import type { Deadline } from './deadlines.ts';
import { grpcStatusName, grpcStatusOfReset, pluginErrorCodeOf } from './grpc-codes.ts';
import { MessageReader, gunzipMessage } from './grpc-framing.ts';
import type { Waiting } from './grpc-client-queue.ts';
import { readReplyEnd, readReplyHead, replyError } from './grpc-client-reply.ts';
import type { ReplyFailure, ReplyHead } from './grpc-client-reply.ts';
import { grpcStatus } from './grpc.ts';
import type { GrpcReply, GrpcRequest, RawHeaders } from './grpc.ts';
import { h2Code, h2CodeName } from './h2/codes.ts';
import type { H2Connection } from './h2/connection.ts';
import type { H2Stream, StreamFailure, StreamSink } from './h2/stream.ts';

/** What a call needs of the client that made it. */
export interface CallOwner {
  readonly url: string;
  readonly maxReplyBytes: number;
  /** The call is over, whatever its outcome: it waits nowhere any more. */
  settled(call: ClientCall): void;
  /** The call was certainly not processed and may be sent once more. False: it may not, as the client is closed. */
  again(call: ClientCall): boolean;
  /** What is to be said when a connection ended under a call. */
  explain(connection: H2Connection, failure: StreamFailure): PluginError;
  /** The deadline passed without a byte of an answer. */
  suspect(connection: H2Connection): void;
}

/** One call, from when it is made until its promise is settled. */
export class ClientCall implements StreamSink, Deadline, Waiting<ClientCall> {
  readonly request: GrpcRequest;
  readonly #owner: CallOwner;
  readonly #resolve: (reply: GrpcReply) => void;
  readonly #reject: (error: PluginError) => void;
  readonly #reader: MessageReader;
  #connection: H2Connection | undefined;
  #stream: H2Stream | undefined;
  #head: ReplyHead | undefined;
  #isSettled = false;
  #isSecondTry = false;
  #onAbort: (() => void) | undefined;
  dueMs = Number.POSITIVE_INFINITY;
  previous: Deadline | undefined = undefined;
  next: Deadline | undefined = undefined;
  isWaiting = false;
  ahead: ClientCall | undefined = undefined;
  behind: ClientCall | undefined = undefined;

  constructor(
    owner: CallOwner,
    request: GrpcRequest,
    resolve: (reply: GrpcReply) => void,
    reject: (error: PluginError) => void,
  ) {
    this.#owner = owner;
    this.request = request;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#reader = new MessageReader(owner.maxReplyBytes);
    const { signal } = request;
    if (signal !== undefined) {
      this.#onAbort = () => this.#cancel();
      signal.addEventListener('abort', this.#onAbort);
    }
  }

  /** Sends the call on a connection that can open a stream. */
  begin(connection: H2Connection, headers: RawHeaders, flag: number, message: Uint8Array): void {
    this.#connection = connection;
    const stream = connection.open(this);
    this.#stream = stream;
    connection.sendHeaders(stream, headers, false);
    connection.sendBody(stream, flag, message);
  }

  /** Ends the call with an error of our own. */
  fail(code: PluginErrorCode, status: number, message: string, unsent: boolean, cause?: unknown): void {
    if (this.#isSettled) return;
    const error = new PluginError(code, message, {
      endpoint: this.#owner.url,
      grpcStatus: status,
      unsent,
      cause,
      headers: this.#head?.metadata,
    });
    this.#settle();
    this.#reject(error);
  }

  onDeadline(): void {
    const stream = this.#stream;
    const timeoutMs = this.request.timeoutMs ?? 0;
    const connection = this.#connection;
    if (stream === undefined || connection === undefined) {
      const text = `no connection was ready within the call's ${timeoutMs} ms`;
      this.fail('timeout', grpcStatus.deadlineExceeded, text, true);
      return;
    }
    if (stream.bytesReceived === 0) this.#owner.suspect(connection);
    this.#drop(h2Code.cancel);
    const what = stream.bytesReceived === 0 ? 'did not answer' : 'did not finish its answer';
    this.fail('timeout', grpcStatus.deadlineExceeded, `the plugin ${what} within ${timeoutMs} ms`, false);
  }

  #cancel(): void {
    this.#drop(h2Code.cancel);
    const isUnsent = this.#stream === undefined;
    this.fail(
      'canceled',
      grpcStatus.cancelled,
      'nobody waits for the answer any more',
      isUnsent,
      this.request.signal?.reason,
    );
  }

  headers(fields: RawHeaders, ended: boolean): void {
    if (ended) {
      this.#end(fields, this.#head === undefined);
      return;
    }
    const head = readReplyHead(fields);
    this.#head = head;
    if (head.failure !== undefined) this.#failReply(head.failure, undefined);
  }

  data(bytes: Buffer, from: number, to: number, ended: boolean): void {
    const reader = this.#reader;
    reader.push(bytes, from, to);
    switch (reader.state) {
      case 'tooLarge':
        this.#failReply(this.#tooLarge(), undefined);
        return;
      case 'extra':
        this.#failReply(bad(grpcStatus.unimplemented, 'the answer has more than one message'), undefined);
        return;
      case 'badFlag':
        this.#failReply(
          bad(grpcStatus.internal, 'the answer is no gRPC message: its compressed flag is neither 0 nor 1'),
          undefined,
        );
        return;
      default:
        if (ended)
          this.#failReply(
            bad(grpcStatus.internal, 'the answer was cut short: it ended without a status'),
            undefined,
          );
    }
  }

  failed(failure: StreamFailure): void {
    const connection = this.#connection!;
    this.#stream = undefined;
    this.#connection = undefined;
    // A server that has begun to answer has acted on the call, whatever it says now.
    const isUnprocessed = failure.isUnprocessed && this.#head === undefined;
    if (isUnprocessed && !this.#isSecondTry) {
      this.#isSecondTry = true;
      if (this.#owner.again(this)) return;
    }
    if (failure.by === 'connection') {
      const { code, message, unsent } = this.#owner.explain(connection, { ...failure, isUnprocessed });
      const status = code === 'unauthenticated' ? grpcStatus.unauthenticated : grpcStatus.unavailable;
      this.fail(code, status, message, unsent, failure.cause);
      return;
    }
    const status = grpcStatusOfReset(failure.code);
    if (failure.by === 'peer' && failure.code === h2Code.cancel && this.#isDue()) {
      const text = `the plugin gave up at the call's deadline of ${this.request.timeoutMs ?? 0} ms`;
      this.fail('timeout', grpcStatus.deadlineExceeded, text, false);
    } else if (failure.by === 'self') {
      this.fail('badReply', status, `the answer is no HTTP/2: ${failure.message}`, false);
    } else {
      const message = `the plugin reset the call: ${h2CodeName(failure.code)} (${grpcStatusName(status)})`;
      this.fail(pluginErrorCodeOf(status), status, message, isUnprocessed);
    }
  }

  /** Whether the deadline is here, for a server that was told of it and whose clock may be ahead by a few milliseconds. */
  #isDue(): boolean {
    return performance.now() >= this.dueMs - 10;
  }

  #end(fields: RawHeaders, isHead: boolean): void {
    const end = readReplyEnd(fields, isHead);
    if (end.failure !== undefined) {
      this.#failReply(end.failure, end.metadata);
      return;
    }
    const reader = this.#reader;
    if (reader.state === 'none') {
      this.#failReply(bad(grpcStatus.unimplemented, 'the answer has no message'), end.metadata);
      return;
    }
    if (reader.state !== 'one') {
      this.#failReply(bad(grpcStatus.internal, 'the answer was cut short inside its message'), end.metadata);
      return;
    }
    const message = reader.isCompressed ? this.#gunzip(reader.message, end.metadata) : reader.message;
    if (message === undefined) return;
    const stream = this.#stream!;
    const headers = this.#head?.metadata ?? [];
    this.#settle();
    this.#resolve({
      message,
      headers,
      trailers: end.metadata,
      bytesSent: stream.bytesSent,
      bytesReceived: stream.bytesReceived,
    });
  }

  #gunzip(message: Buffer, trailers: RawHeaders): Buffer | undefined {
    const encoding = this.#head?.encoding ?? 'identity';
    if (encoding !== 'gzip') {
      this.#failReply(
        bad(
          grpcStatus.internal,
          `the answer's message is compressed, but its grpc-encoding is ${JSON.stringify(encoding)}`,
        ),
        trailers,
      );
      return undefined;
    }
    const result = gunzipMessage(message, this.#owner.maxReplyBytes);
    if ('message' in result) return result.message;
    this.#failReply(
      result.error === 'tooLarge' ? this.#tooLarge() : bad(grpcStatus.internal, 'the answer is no gzip data'),
      trailers,
    );
    return undefined;
  }

  #tooLarge(): ReplyFailure {
    const message = `the answer is larger than ${this.#owner.maxReplyBytes} bytes`;
    return { code: 'badReply', message, grpcStatus: grpcStatus.resourceExhausted };
  }

  #failReply(failure: ReplyFailure, trailers: RawHeaders | undefined): void {
    this.#drop(h2Code.cancel);
    if (this.#isSettled) return;
    const error = replyError(failure, this.#owner.url, this.#head?.metadata, trailers);
    this.#settle();
    this.#reject(error);
  }

  /** Resets the stream if it is still open. */
  #drop(code: number): void {
    if (this.#stream !== undefined) this.#connection?.reset(this.#stream, code);
  }

  #settle(): void {
    this.#isSettled = true;
    if (this.#onAbort !== undefined) this.request.signal!.removeEventListener('abort', this.#onAbort);
    this.#owner.settled(this);
  }
}

function bad(status: number, message: string): ReplyFailure {
  return { code: 'badReply', message, grpcStatus: status };
}
