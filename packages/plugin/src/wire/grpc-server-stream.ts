import { deadlines } from './deadlines.ts';
import type { Deadline } from './deadlines.ts';
import { MessageReader, gunzipMessage, gzipMessage } from './grpc-framing.ts';
import { errorSections, okSections, readRequestHead } from './grpc-server-fields.ts';
import type { RequestHead } from './grpc-server-fields.ts';
import { GrpcStatus, grpcStatus } from './grpc.ts';
import type { GrpcHandler, GrpcServedCall, GrpcServedReply, RawHeaders } from './grpc.ts';
import { h2Code } from './h2/codes.ts';
import type { H2Connection } from './h2/connection.ts';
import type { H2Limits } from './h2/limits.ts';
import type { H2Stream, StreamSink } from './h2/stream.ts';
import type { HttpHandler, HttpServedReply, HttpServedRequest } from './http.ts';
import { httpReplyFields } from './grpc-server-fields.ts';

/** What all streams of one served connection share. */
export interface ServedConnection {
  readonly grpc: GrpcHandler;
  readonly http: HttpHandler;
  readonly limits: H2Limits;
  readonly remote: string;
  /** Handlers that have not come to an end, also of streams that are gone. */
  running: number;
  /** Bytes of requests that are not complete. */
  bufferedBytes: number;
}

const empty = Buffer.alloc(0);

/** One request, from its headers until its answer is sent: the call that a gRPC handler sees, or the request of an HTTP one. */
export class ServedStream implements StreamSink, Deadline, GrpcServedCall {
  readonly #served: ServedConnection;
  readonly #connection: H2Connection;
  readonly #stream: H2Stream;
  #head: RequestHead | undefined;
  #reader: MessageReader | undefined;
  #parts: Buffer[] = [];
  #bufferedBytes = 0;
  #isAnswered = false;
  #isGone = false;
  #controller: AbortController | undefined;
  message: Buffer = empty;
  dueMs = 0;
  previous: Deadline | undefined = undefined;
  next: Deadline | undefined = undefined;

  constructor(served: ServedConnection, connection: H2Connection, stream: H2Stream) {
    this.#served = served;
    this.#connection = connection;
    this.#stream = stream;
  }

  get path(): string {
    return this.#head!.path;
  }

  get metadata(): RawHeaders {
    return this.#head!.metadata;
  }

  get timeoutMs(): number | undefined {
    return this.#head!.timeoutMs;
  }

  get remote(): string {
    return this.#served.remote;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isGone) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  headers(fields: RawHeaders, ended: boolean): void {
    if (this.#head !== undefined) {
      // Trailers of a request say nothing that anybody here asks about.
      if (ended) this.#complete();
      return;
    }
    const head = readRequestHead(fields);
    this.#head = head;
    if (this.#served.running >= this.#served.limits.maxConcurrentStreams) {
      this.#connection.refuseStream(this.#stream, h2Code.refusedStream, 'too many handlers are running');
      return;
    }
    if (head.isGrpc) {
      if (head.problem !== undefined) {
        this.#fail(head.problem);
        return;
      }
      this.#reader = new MessageReader(this.#served.limits.maxRequestBytes);
      if (head.timeoutMs !== undefined) deadlines.set(this, head.timeoutMs);
    }
    if (ended) this.#complete();
  }

  data(bytes: Buffer, from: number, to: number, ended: boolean): void {
    if (this.#isAnswered || this.#isGone) return;
    const served = this.#served;
    this.#bufferedBytes += to - from;
    served.bufferedBytes += to - from;
    if (this.#reader === undefined) {
      if (this.#bufferedBytes > served.limits.maxRequestBytes) {
        this.#release();
        this.#answerHttp({ status: 413, body: '' });
        return;
      }
      if (to > from) this.#parts.push(bytes.subarray(from, to));
    } else {
      this.#reader.push(bytes, from, to);
      if (!this.#isReadable(this.#reader)) return;
    }
    if (ended) this.#complete();
    else if (served.bufferedBytes > served.limits.maxBufferedBytes) {
      this.#connection.refuseStream(this.#stream, h2Code.enhanceYourCalm, 'too many incomplete requests');
    }
  }

  failed(): void {
    this.#isGone = true;
    this.#release();
    deadlines.clear(this);
    this.#controller?.abort();
  }

  onDeadline(): void {
    this.#fail(new GrpcStatus(grpcStatus.deadlineExceeded, 'the deadline of the call has passed'));
    this.#isGone = true;
    this.#controller?.abort();
  }

  #isReadable(reader: MessageReader): boolean {
    const { state } = reader;
    if (state === 'tooLarge') this.#fail(this.#tooLarge());
    else if (state === 'extra')
      this.#fail(new GrpcStatus(grpcStatus.unimplemented, 'the request has more than one message'));
    else if (state === 'badFlag')
      this.#fail(new GrpcStatus(grpcStatus.internal, 'the request is no gRPC message'));
    else return true;
    return false;
  }

  #tooLarge(): GrpcStatus {
    const text = `the request is larger than ${this.#served.limits.maxRequestBytes} bytes`;
    return new GrpcStatus(grpcStatus.resourceExhausted, text);
  }

  #release(): void {
    this.#served.bufferedBytes -= this.#bufferedBytes;
    this.#bufferedBytes = 0;
    this.#parts = [];
  }

  /** The whole request is there. */
  #complete(): void {
    if (this.#isAnswered || this.#isGone) return;
    if (this.#reader === undefined) {
      const body = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
      this.#release();
      this.#run(
        this.#served.http,
        this.#httpRequest(body),
        (reply) => this.#answerHttp(reply),
        () => this.#answerHttp({ status: 500, body: '' }),
      );
      return;
    }
    this.#release();
    const failure = this.#readMessage(this.#reader);
    if (failure !== undefined) this.#fail(failure);
    else
      this.#run(
        this.#served.grpc,
        this,
        (reply) => this.#answer(reply),
        (error) => this.#fail(error),
      );
  }

  #readMessage(reader: MessageReader): GrpcStatus | undefined {
    if (reader.state === 'none')
      return new GrpcStatus(grpcStatus.unimplemented, 'the request has no message');
    if (reader.state !== 'one')
      return new GrpcStatus(grpcStatus.internal, 'the request was cut short inside its message');
    if (!reader.isCompressed) {
      this.message = reader.message;
      return undefined;
    }
    const { encoding } = this.#head!;
    if (encoding !== 'gzip')
      return new GrpcStatus(
        grpcStatus.internal,
        'the message is compressed, but grpc-encoding does not say how',
      );
    const result = gunzipMessage(reader.message, this.#served.limits.maxRequestBytes);
    if ('error' in result) {
      return result.error === 'tooLarge'
        ? this.#tooLarge()
        : new GrpcStatus(grpcStatus.internal, 'the request is no gzip data');
    }
    this.message = result.message;
    return undefined;
  }

  #run<Request, Reply>(
    handler: (request: Request) => Reply | Promise<Reply>,
    request: Request,
    answer: (reply: Reply) => void,
    fail: (error: unknown) => void,
  ): void {
    const served = this.#served;
    served.running++;
    let result: Reply | Promise<Reply>;
    try {
      result = handler(request);
    } catch (error) {
      served.running--;
      fail(error);
      return;
    }
    if (isPromise(result)) {
      result.then(
        (reply) => {
          served.running--;
          answer(reply);
        },
        (error: unknown) => {
          served.running--;
          fail(error);
        },
      );
    } else {
      served.running--;
      answer(result);
    }
  }

  #answer(reply: GrpcServedReply): void {
    if (this.#isAnswered || this.#isGone) return;
    const head = this.#head!;
    let sections: ReturnType<typeof okSections>;
    let message: Uint8Array;
    try {
      sections = okSections(head, reply.headers, reply.trailers);
      // A handler may be plain JavaScript; what it got wrong must not reach the connection.
      if (!(reply.message instanceof Uint8Array))
        throw new TypeError('the message of an answer is no Uint8Array');
      message = head.repliesGzip ? gzipMessage(reply.message) : reply.message;
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#settle();
    this.#connection.sendHeaders(this.#stream, sections.headers, false);
    this.#connection.sendBody(this.#stream, head.repliesGzip ? 1 : 0, message, sections.trailers);
  }

  /** Sends a {@link GrpcStatus} as it is; anything else is INTERNAL, and its text stays here. */
  #fail(error: unknown): void {
    if (this.#isAnswered || this.#isGone) return;
    this.#settle();
    this.#release();
    const status =
      error instanceof GrpcStatus ? error : new GrpcStatus(grpcStatus.internal, 'the plugin failed');
    const sections = errorSections(this.#head!, status);
    if (sections.headers !== undefined) this.#connection.sendHeaders(this.#stream, sections.headers, false);
    this.#connection.sendHeaders(this.#stream, sections.trailers, true);
  }

  #settle(): void {
    this.#isAnswered = true;
    deadlines.clear(this);
  }

  #httpRequest(body: Buffer): HttpServedRequest {
    const { path, verb, metadata } = this.#head!;
    const mark = path.indexOf('?');
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- the signal is made only when it is read
    const self = this;
    return {
      verb,
      path: mark < 0 ? path : path.slice(0, mark),
      query: mark < 0 ? '' : path.slice(mark + 1),
      headers: metadata,
      body,
      remote: this.remote,
      get signal() {
        return self.signal;
      },
    };
  }

  #answerHttp(reply: HttpServedReply): void {
    if (this.#isAnswered || this.#isGone) return;
    let body: Buffer;
    let fields: RawHeaders;
    try {
      body = Buffer.from(reply.body, 'utf8');
      fields = httpReplyFields(reply, body.length);
    } catch {
      // What the handler returned is no answer, which is as if it had failed.
      body = empty;
      fields = httpReplyFields({ status: 500, body: '' }, 0);
    }
    this.#settle();
    const hasBody = body.length > 0 && this.#head!.verb !== 'HEAD';
    this.#connection.sendHeaders(this.#stream, fields, !hasBody);
    if (hasBody) this.#connection.sendBody(this.#stream, -1, body);
  }
}

function isPromise<Value>(value: Value | Promise<Value>): value is Promise<Value> {
  return typeof (value as { then?: unknown } | undefined)?.then === 'function';
}
