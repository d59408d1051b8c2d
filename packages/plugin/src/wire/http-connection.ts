import type * as net from 'node:net';
import { PluginError } from '../errors.ts';
import { decodeContent } from './content-coding.ts';
import type { Endpoint } from './endpoint.ts';
import type { RawHeaders } from './grpc.ts';
import { garbageError, statusError } from './http-errors.ts';
import type { HttpReply } from './http.ts';
import { Http1BodyReader } from './http1/body-reader.ts';
import { bodyFraming } from './http1/framing.ts';
import type { BodyFraming } from './http1/framing.ts';
import { headerTokens, keepsAlive } from './http1/head.ts';
import type { Http1ResponseHead } from './http1/head.ts';
import { Http1HeadReader } from './http1/head-reader.ts';
import { Http1Error } from './http1/http1-error.ts';
import { formatAddress, socketError } from './socket-error.ts';

/** A call as a connection sees it. */
export interface ConnectionCall {
  readonly verb: string;
  /** Head and body; `utf8` where the body needs it, else `latin1`, which is written faster. */
  readonly text: string;
  readonly encoding: 'latin1' | 'utf8';
  readonly bytesSent: number;
  succeed(reply: HttpReply): void;
  fail(error: PluginError): void;
}

/** Whose connection it is. Each is called at most once a call, or once in all for `lost`. */
export interface ConnectionOwner {
  readonly endpoint: Endpoint;
  readonly maxReplyBytes: number;
  /** The call has its answer, and the connection may carry another. */
  onFree(connection: HttpConnection): void;
  /** A kept connection turned out to be closed: not a byte of an answer came. True: the owner takes the call back. */
  onStale(call: ConnectionCall, cause: PluginError): boolean;
  /** The connection is not usable any more. */
  onLost(connection: HttpConnection): void;
  /** The socket is closed: nothing of it is left. */
  onClosed(connection: HttpConnection): void;
}

/** What counts of a reply's head. */
interface ReplyHead {
  readonly status: number;
  readonly reason: string;
  readonly headers: RawHeaders;
  readonly framing: BodyFraming;
  readonly keepsAlive: boolean;
  readonly coding: string;
}

/**
 * Servers answer with the same head again and again, but for the date, which changes once a second. So the last head is
 * remembered by its text, and is read only once.
 */
export interface LastHead {
  text: string;
  verb: string;
  head: ReplyHead | undefined;
}

/** Larger than nearly all answers; each open connection holds one. */
const readBufferBytes = 16 * 1024;
const headEnd = Buffer.from('\r\n\r\n');
const maxHeadBytes = 64 * 1024;
const maxInterimReplies = 16;
const nothing = Buffer.alloc(0);

/** One connection to a plugin: one call at a time, any number one after the other. */
export class HttpConnection {
  /** How a plain socket hands over what it reads; goes to `dial`. */
  readonly onread: net.OnReadOpts;
  /** Set by the owner's sweep and unset by each call: an idle connection that is found set is closed. */
  unused = false;

  readonly #owner: ConnectionOwner;
  readonly #lastHead: LastHead;
  #socket: net.Socket | undefined;
  #isLost = false;
  #calls = 0;
  #call: ConnectionCall | undefined;
  #headReader: Http1HeadReader<'response'> | undefined;
  #head: ReplyHead | undefined;
  #interimReplies = 0;
  #bodyReader: Http1BodyReader | undefined;
  #body: Buffer = nothing;
  #bodyBytes = 0;
  #bytesReceived = 0;
  /** The first bytes of a head that is not whole yet, for the error if it turns out to be none. */
  #start: Buffer = nothing;

  constructor(owner: ConnectionOwner, lastHead: LastHead) {
    this.#owner = owner;
    this.#lastHead = lastHead;
    const buffer = Buffer.allocUnsafeSlow(owner.endpoint.tls === undefined ? readBufferBytes : 0);
    this.onread = {
      buffer,
      callback: (length) => {
        this.#receive(buffer.subarray(0, length));
        return true;
      },
    };
  }

  /** Gives the connection its socket, dialled with {@link onread}. */
  open(socket: net.Socket): void {
    this.#socket = socket;
    socket.on('error', (error) => {
      this.#lose(socketError(this.#owner.endpoint, error, { during: 'call' }));
    });
    socket.on('end', () => {
      this.#end();
    });
    socket.on('close', () => {
      this.#lose(undefined);
      this.#owner.onClosed(this);
    });
    if (this.#owner.endpoint.tls !== undefined) {
      socket.on('data', (bytes: Buffer) => {
        this.#receive(bytes);
      });
    }
    // It may have ended between the handshake and now; then no event comes any more.
    if (socket.destroyed) this.#lose(undefined);
  }

  /** True while nothing has ended the connection. */
  get isOpen(): boolean {
    return !this.#isLost;
  }

  /** Sends a call. Only on a connection that is open and free. */
  send(call: ConnectionCall): void {
    this.unused = false;
    this.#calls++;
    this.#call = call;
    this.#bytesReceived = 0;
    this.#socket!.write(call.text, call.encoding);
  }

  /** Ends the connection at once. A call that is under way is the caller's to fail. */
  destroy(): void {
    this.#call = undefined;
    this.#lose(undefined);
  }

  /** The error of a call that is given up now: a bad status that has come says more than the deadline that passed. */
  statusSoFar(): PluginError | undefined {
    const head = this.#head;
    if (head === undefined || head.status === 200) return undefined;
    return statusError(this.#owner.endpoint, head.status, head.reason, head.headers, undefined);
  }

  /** True once a byte of the answer has come. */
  get isAnswering(): boolean {
    return this.#bytesReceived > 0;
  }

  /** Takes bytes from the socket, whose buffer they are in: they are copied where they are kept. */
  #receive(bytes: Buffer): void {
    const call = this.#call;
    if (call === undefined) {
      // Nobody asked. Whatever it is, it must not be taken for the answer to the next call.
      this.#lose(undefined);
      return;
    }
    if (this.#bytesReceived === 0) this.#start = nothing;
    this.#bytesReceived += bytes.length;
    try {
      this.#read(call, bytes);
    } catch (error) {
      this.#lose(this.#asPluginError(error, bytes));
    }
  }

  #asPluginError(error: unknown, bytes: Buffer): PluginError {
    const { endpoint } = this.#owner;
    if (error instanceof PluginError) {
      return new PluginError(error.code, `${endpoint.url}: ${error.message}`, {
        cause: error,
        endpoint: endpoint.url,
      });
    }
    if (error instanceof Http1Error) {
      return garbageError(endpoint, this.#start.length > 0 ? this.#start : bytes, error.message, error);
    }
    throw error;
  }

  #read(call: ConnectionCall, bytes: Buffer): void {
    let input = bytes;
    while (this.#head === undefined) {
      const head = this.#readHead(call, input);
      if (head === undefined) return;
      input = this.#afterHead;
      if (head.status >= 200) this.#head = head;
      else this.#skipInterim(head);
    }
    this.#readBody(call, this.#head, input);
  }

  /** What follows the head that `#readHead` gave. */
  #afterHead: Buffer = nothing;

  #readHead(call: ConnectionCall, bytes: Buffer): ReplyHead | undefined {
    const last = this.#lastHead;
    let text = '';
    if (this.#headReader?.started !== true) {
      const end = bytes.indexOf(headEnd);
      if (end >= 0 && end < maxHeadBytes) {
        text = bytes.toString('latin1', 0, end);
        if (text === last.text && call.verb === last.verb) {
          this.#afterHead = bytes.subarray(end + headEnd.length);
          return last.head;
        }
      } else if (this.#start.length === 0) {
        this.#start = Buffer.from(bytes.subarray(0, 16));
      }
    }
    this.#headReader ??= new Http1HeadReader('response', { maxFieldsBytes: maxHeadBytes });
    const raw = this.#headReader.push(bytes);
    if (raw === undefined) return undefined;
    this.#afterHead = this.#headReader.rest;
    this.#headReader.rest = nothing;
    const head = replyHead(raw, call.verb);
    if (text !== '') {
      last.text = text;
      last.verb = call.verb;
      last.head = head;
    }
    return head;
  }

  #skipInterim(head: ReplyHead): void {
    if (head.status === 101) throw new PluginError('badReply', 'the answer switches to another protocol');
    if (++this.#interimReplies > maxInterimReplies) {
      throw new PluginError('badReply', 'too many interim answers (1xx) before the answer');
    }
  }

  #readBody(call: ConnectionCall, head: ReplyHead, input: Buffer): void {
    const { framing } = head;
    const { maxReplyBytes } = this.#owner;
    if (this.#bodyReader === undefined) {
      if (framing.kind === 'length') {
        if (framing.length > maxReplyBytes) throw tooLarge(maxReplyBytes);
        if (input.length >= framing.length) {
          this.#finish(
            call,
            head,
            Buffer.from(input.subarray(0, framing.length)),
            input.length === framing.length,
          );
          return;
        }
      }
      this.#bodyReader = new Http1BodyReader(framing, 'response');
    }
    const reader = this.#bodyReader;
    for (const part of reader.push(input)) this.#keep(part, maxReplyBytes);
    if (reader.done) this.#finish(call, head, this.#keptBody(), reader.rest.length === 0);
  }

  #keep(part: Buffer, maxBytes: number): void {
    const needed = this.#bodyBytes + part.length;
    if (needed > maxBytes) throw tooLarge(maxBytes);
    if (needed > this.#body.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#body.length, 1024));
      this.#body.copy(larger, 0, 0, this.#bodyBytes);
      this.#body = larger;
    }
    part.copy(this.#body, this.#bodyBytes);
    this.#bodyBytes = needed;
  }

  #keptBody(): Buffer {
    return this.#body.subarray(0, this.#bodyBytes);
  }

  #finish(call: ConnectionCall, head: ReplyHead, encoded: Buffer, isClean: boolean): void {
    const { endpoint, maxReplyBytes } = this.#owner;
    let error: PluginError | undefined;
    let body = encoded;
    if (head.coding !== '') {
      try {
        body = decodeContent(encoded, head.coding, maxReplyBytes);
      } catch (failure) {
        error = this.#asPluginError(failure, nothing);
      }
    }
    if (head.status !== 200) error = statusError(endpoint, head.status, head.reason, head.headers, body);
    const bytesReceived = this.#bytesReceived;
    // A server that answers before it has read everything may wait for the rest as the next request's beginning.
    const isReusable = isClean && head.keepsAlive && this.#socket!.writableLength === 0 && !this.#isLost;
    this.#reset();
    if (isReusable) this.#owner.onFree(this);
    else this.#lose(undefined);
    if (error !== undefined) call.fail(error);
    else {
      const { status, headers } = head;
      call.succeed({ status, headers, body, bytesSent: call.bytesSent, bytesReceived });
    }
  }

  #reset(): void {
    this.#call = undefined;
    this.#head = undefined;
    this.#interimReplies = 0;
    this.#bodyReader = undefined;
    this.#body = nothing;
    this.#bodyBytes = 0;
    this.#afterHead = nothing;
  }

  /** The peer has half-closed: the end of a body that has no other, or of an answer that was to go on. */
  #end(): void {
    const call = this.#call;
    const head = this.#head;
    if (call !== undefined && head?.framing.kind === 'untilClose') {
      this.#finish(call, head, this.#keptBody(), false);
      return;
    }
    const { endpoint } = this.#owner;
    const at = formatAddress(endpoint.connect);
    // The first call: perhaps not HTTP at all.
    const hint = this.#calls === 1 && endpoint.tls === undefined ? ' (does it speak TLS?)' : '';
    this.#lose(
      this.#bytesReceived === 0
        ? new PluginError('unreachable', `${at} closed the connection without an answer${hint}`, {
            endpoint: endpoint.url,
          })
        : new PluginError('badReply', `the answer of ${endpoint.url} was cut short`, {
            endpoint: endpoint.url,
          }),
    );
  }

  /** Ends the connection, and its call with it: by `error`, or by what a close without any other reason means. */
  #lose(error: PluginError | undefined): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#socket?.destroy();
    this.#owner.onLost(this);
    const call = this.#call;
    if (call === undefined) return;
    const { endpoint } = this.#owner;
    const at = formatAddress(endpoint.connect);
    const why =
      error ??
      new PluginError('unreachable', `${at} closed the connection during the call`, {
        endpoint: endpoint.url,
      });
    const status = this.statusSoFar();
    const isStale = this.#calls > 1 && this.#bytesReceived === 0;
    this.#reset();
    if (!isStale || !this.#owner.onStale(call, why)) call.fail(status ?? why);
  }
}

function tooLarge(maxBytes: number): PluginError {
  return new PluginError('badReply', `the answer is larger than ${maxBytes} bytes`);
}

function replyHead(head: Http1ResponseHead, verb: string): ReplyHead {
  const headers: string[] = [];
  for (let i = 0; i < head.headers.length; i += 2) {
    headers.push(head.headers[i]!.toLowerCase(), head.headers[i + 1]!);
  }
  const codings = headerTokens(headers, 'content-encoding').filter((coding) => coding !== 'identity');
  return {
    status: head.status,
    reason: head.reason,
    headers,
    framing: bodyFraming(head, verb),
    keepsAlive: keepsAlive(head),
    coding: codings.join(', '),
  };
}
