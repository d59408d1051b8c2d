import type * as net from 'node:net';
import { deadlines } from './deadlines.ts';
import type { Deadline } from './deadlines.ts';
import { ServedRequest, formatRemote, formatReply, plainReply } from './http-server-messages.ts';
import type { HttpHandler, HttpServedReply } from './http.ts';
import { Http1BodyReader } from './http1/body-reader.ts';
import { bodyFraming } from './http1/framing.ts';
import { headerValue, headerValues, keepsAlive } from './http1/head.ts';
import type { Http1RequestHead } from './http1/head.ts';
import { Http1HeadReader } from './http1/head-reader.ts';
import type { Http1HeadLimits } from './http1/head-reader.ts';
import { Http1Error } from './http1/http1-error.ts';

/** What a connection needs of its server; `Http1ServerOptions` says what it means. */
export interface ConnectionSettings {
  readonly handler: HttpHandler;
  readonly onError: (error: unknown) => void;
  readonly maxBodyBytes: number;
  readonly headLimits: Http1HeadLimits;
  readonly headTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  readonly writeTimeoutMs: number;
  readonly idleMs: number;
  readonly onClosed: (connection: Http1ServerConnection) => void;
}

const nothing = Buffer.alloc(0);

/** How long a client whose connection we have ended may go on sending before it is cut off. */
const lingerMs = 2_000;

/**
 * Where a connection stands. `idle`: between requests. `head`, `body`: a request is coming. `handling`: the handler has
 * it. `draining`: the client reads too slowly to be sent another answer. `ending`: our side is closed after the last
 * answer; what still comes is thrown away, so that the client's system does not throw away that answer instead.
 */
type State = 'idle' | 'head' | 'body' | 'handling' | 'draining' | 'ending';

/** One connection of a client: one request at a time, further ones wait in the socket. */
export class Http1ServerConnection implements Deadline {
  // For the wheel of deadlines.
  dueMs = 0;
  previous: Deadline | undefined = undefined;
  next: Deadline | undefined = undefined;

  readonly #socket: net.Socket;
  readonly #settings: ConnectionSettings;
  readonly #remote: string;
  readonly #heads: Http1HeadReader<'request'>;
  #state: State = 'head';
  #head: Http1RequestHead | undefined;
  #bodyReader: Http1BodyReader | undefined;
  #bodyParts: Buffer[] = [];
  #bodyBytes = 0;
  /** What came while it could not be looked at yet. */
  #held: Buffer = nothing;
  #request: ServedRequest | undefined;
  #hasClientEnded = false;
  #isDraining = false;

  constructor(socket: net.Socket, settings: ConnectionSettings) {
    this.#socket = socket;
    this.#settings = settings;
    this.#remote = formatRemote(socket);
    this.#heads = new Http1HeadReader('request', settings.headLimits);
  }

  start(first: Buffer | undefined): void {
    const socket = this.#socket;
    // A client may half-close after its request, and still wants the answer.
    socket.allowHalfOpen = true;
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => {
      this.#receive(bytes);
    });
    socket.on('end', () => {
      this.#onEnd();
    });
    socket.on('drain', () => {
      this.#onDrain();
    });
    // The close that follows an error is all that matters here: the client is gone.
    socket.on('error', () => {});
    socket.on('close', () => {
      deadlines.clear(this);
      this.#request?.abort();
      this.#settings.onClosed(this);
    });
    deadlines.set(this, this.#settings.headTimeoutMs);
    if (first !== undefined && first.length > 0) this.#receive(first);
    socket.resume();
  }

  /** Ends the connection as soon as nothing is under way on it. */
  drain(): void {
    this.#isDraining = true;
    if (this.#state === 'idle' || (this.#state === 'head' && !this.#heads.started)) this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  onDeadline(): void {
    switch (this.#state) {
      case 'head':
        // A connection on which nothing was ever asked needs no answer.
        if (this.#heads.started) this.#refuse(408, 'the head of the request did not come in time');
        else this.destroy();
        return;
      case 'body':
        this.#refuse(408, 'the body of the request did not come in time');
        return;
      default:
        this.destroy();
    }
  }

  #enter(state: State, timeoutMs: number | undefined): void {
    this.#state = state;
    deadlines.clear(this);
    if (timeoutMs !== undefined) deadlines.set(this, timeoutMs);
  }

  #receive(bytes: Buffer): void {
    switch (this.#state) {
      case 'ending':
        return;
      case 'handling':
      case 'draining':
        this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
        this.#socket.pause();
        return;
      default:
        this.#read(bytes);
    }
  }

  /** Reads requests until one has to be waited for. What is left over is held. */
  #read(bytes: Buffer): void {
    let input = bytes;
    try {
      while (input.length > 0) {
        if (this.#state === 'idle') this.#enter('head', this.#settings.headTimeoutMs);
        if (this.#state === 'head') input = this.#readHead(input);
        else if (this.#state === 'body') input = this.#readBody(input);
        else break;
      }
    } catch (error) {
      if (!(error instanceof Http1Error)) throw error;
      this.#refuse(error.status, error.message);
      return;
    }
    if (input.length > 0 && this.#state !== 'ending') this.#held = input;
  }

  #readHead(input: Buffer): Buffer {
    const head = this.#heads.push(input);
    if (head === undefined) return nothing;
    const rest = this.#heads.rest;
    this.#heads.rest = nothing;
    if (head.version === '1.1' && headerValue(head.headers, 'host') === undefined) {
      throw new Http1Error(400, 'the request has no Host');
    }
    const framing = bodyFraming(head);
    if (framing.kind === 'length' && framing.length > this.#settings.maxBodyBytes) throw this.#tooLarge();
    const reader = new Http1BodyReader(framing, 'request');
    if (reader.done) {
      this.#handle(head, nothing);
      return rest;
    }
    const expectations = headerValues(head.headers, 'expect');
    if (expectations.length > 0) this.#answerExpectations(expectations, head, rest);
    this.#head = head;
    this.#bodyReader = reader;
    this.#enter('body', this.#settings.bodyTimeoutMs);
    return rest;
  }

  /** RFC 9110, section 10.1.1. A client that has begun to send its body does not wait for the word to go on. */
  #answerExpectations(expectations: readonly string[], head: Http1RequestHead, rest: Buffer): void {
    if (expectations.some((value) => value.toLowerCase() !== '100-continue')) {
      throw new Http1Error(417, 'only 100-continue can be expected here');
    }
    if (head.version === '1.1' && rest.length === 0)
      this.#socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1');
  }

  #readBody(input: Buffer): Buffer {
    const reader = this.#bodyReader!;
    for (const part of reader.push(input)) {
      this.#bodyBytes += part.length;
      if (this.#bodyBytes > this.#settings.maxBodyBytes) throw this.#tooLarge();
      this.#bodyParts.push(part);
    }
    if (!reader.done) return nothing;
    const body = this.#bodyParts.length === 1 ? this.#bodyParts[0]! : Buffer.concat(this.#bodyParts);
    const head = this.#head!;
    this.#head = undefined;
    this.#bodyReader = undefined;
    this.#bodyParts = [];
    this.#bodyBytes = 0;
    this.#handle(head, body);
    return reader.rest;
  }

  #tooLarge(): Http1Error {
    return new Http1Error(413, `the body is larger than ${this.#settings.maxBodyBytes} bytes`);
  }

  #handle(head: Http1RequestHead, body: Buffer): void {
    this.#enter('handling', undefined);
    const request = new ServedRequest(head, body, this.#remote);
    this.#request = request;
    const fail = (error: unknown): void => {
      this.#settings.onError(error);
      this.#reply(head, plainReply(500, 'the plugin failed'));
    };
    let reply: HttpServedReply | Promise<HttpServedReply>;
    try {
      reply = this.#settings.handler(request);
    } catch (error) {
      fail(error);
      return;
    }
    if (!(reply instanceof Promise)) {
      this.#replyOr(fail, head, reply);
      return;
    }
    reply.then(
      (settled) => {
        this.#replyOr(fail, head, settled);
        this.#readHeld();
      },
      (error: unknown) => {
        fail(error);
        this.#readHeld();
      },
    );
  }

  /** A reply that cannot be written (a header with a line end) is the handler's failure, too. */
  #replyOr(fail: (error: unknown) => void, head: Http1RequestHead, reply: HttpServedReply): void {
    try {
      this.#reply(head, reply);
    } catch (error) {
      fail(error);
    }
  }

  #reply(head: Http1RequestHead, reply: HttpServedReply): void {
    const socket = this.#socket;
    const goesOn = keepsAlive(head) && !this.#isDraining && !this.#hasClientEnded;
    const [text, encoding] = formatReply(reply, goesOn, head);
    this.#request = undefined;
    if (socket.destroyed) return;
    if (!goesOn) {
      this.#end(text, encoding);
      return;
    }
    if (socket.write(text, encoding)) this.#enter('idle', this.#settings.idleMs);
    else this.#enter('draining', this.#settings.writeTimeoutMs);
  }

  /** Answers a request that cannot be read, and nothing after it: where the next one would begin is unknown. */
  #refuse(status: number, message: string): void {
    if (this.#state === 'ending') return;
    this.#head = undefined;
    this.#bodyReader = undefined;
    this.#bodyParts = [];
    this.#end(...formatReply(plainReply(status, message), false, undefined));
  }

  #end(text: string, encoding: 'latin1' | 'utf8'): void {
    this.#held = nothing;
    this.#enter('ending', this.#settings.writeTimeoutMs);
    this.#socket.end(text, encoding, () => {
      if (this.#hasClientEnded) this.destroy();
      else if (!this.#socket.destroyed) this.#enter('ending', lingerMs);
    });
    this.#socket.resume();
  }

  #onEnd(): void {
    this.#hasClientEnded = true;
    switch (this.#state) {
      case 'handling':
        // Go's client ends a connection to cancel a call; one that only half-closes is answered all the same.
        this.#request?.abort();
        return;
      case 'draining':
        return;
      case 'ending':
        if (this.#socket.writableFinished) this.destroy();
        return;
      default:
        this.destroy();
    }
  }

  #onDrain(): void {
    if (this.#state !== 'draining') return;
    if (this.#hasClientEnded || this.#isDraining) {
      this.#end('', 'latin1');
      return;
    }
    this.#enter('idle', this.#settings.idleMs);
    this.#readHeld();
  }

  #readHeld(): void {
    if (this.#state !== 'idle') return;
    const held = this.#held;
    this.#held = nothing;
    if (held.length > 0) this.#read(held);
    if (this.#socket.isPaused() && this.#held.length === 0) this.#socket.resume();
  }
}
