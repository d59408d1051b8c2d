import { performance } from 'node:perf_hooks';
import { bodyFraming, headerValue, headerValues, Http1Error, keepsAlive } from '@sallyport/plugin/wire';
import type { BodyFraming, Http1RequestHead } from '@sallyport/plugin/wire';
import { formatAddress } from '../address.ts';
import type { Conn } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import { lingeringClose } from '../linger.ts';
import type { Session } from '../session.ts';
import { recordOf } from './http-record.ts';
import { MessageReader } from './message-reader.ts';
import { Origins } from './origins.ts';
import { errorReply, statusOf } from './replies.ts';
import type { HttpRequest, Progress } from './request.ts';

/** How long a connection may stay without a request. Browsers open some in advance; most servers close after a minute or so. */
const defaultIdleMs = 60_000;

/** From a head's first byte to its last. A head is one packet or two; half a minute is for the worst of lines. */
const defaultHeadMs = 30_000;

/** Who answers the requests of a connection. */
export interface RequestServer {
  /**
   * Answers one request. Resolves with whether the connection may carry another one. Rejects with ProxyError; where the
   * client has got nothing yet it is told what went wrong.
   */
  serve(request: HttpRequest, origins: Origins): Promise<boolean>;
  /** In place of the reply to an error. True: the client has been answered, and the connection ends. */
  answersError?(error: ProxyError, request: HttpRequest | undefined): Promise<boolean>;
  /** As in {@link MessageReader}. */
  readonly repair?: ((bytes: Buffer) => Buffer) | undefined;
  /** How long the client may take to begin a request. Default 60 s. */
  readonly idleMs?: number | undefined;
  /** How long a head may take from its first byte to its last. Default 30 s. */
  readonly headMs?: number | undefined;
  readonly realm?: string | undefined;
  /** Fields of our own replies. */
  readonly fields?: readonly string[];
  /** The scheme in records. Default `http`. */
  readonly scheme?: string;
}

/**
 * Serves the requests of a connection, one after the other. A request that breaks the protocol is answered with 400 (or a
 * more exact status) and the connection is closed, because nobody can say where the next one would begin. Rejects with
 * ProxyError where the connection ended otherwise than by its peers' wish.
 */
export async function serveRequests(client: Conn, session: Session, server: RequestServer): Promise<void> {
  const connection = new Connection(client, session, server);
  // An answer that nobody will read is not waited for.
  void client.closed.then(() => {
    connection.origins.close();
  });
  try {
    await connection.serve();
  } finally {
    connection.origins.close();
  }
}

class Connection {
  readonly origins = new Origins();
  readonly #client: Conn;
  readonly #session: Session;
  readonly #server: RequestServer;
  readonly #requests: MessageReader<'request'>;

  constructor(client: Conn, session: Session, server: RequestServer) {
    this.#client = client;
    this.#session = session;
    this.#server = server;
    this.#requests = new MessageReader(client, 'request', server.repair);
  }

  async serve(): Promise<void> {
    // A request that is here already, unread, was sent under a promise to serve it: two turns are enough to see it.
    const interruption = (stop: () => void) =>
      this.#session.onStopping(() => setImmediate(() => setImmediate(stop)));
    const { idleMs = defaultIdleMs, headMs = defaultHeadMs } = this.#server;
    for (;;) {
      const started = performance.now();
      let request: HttpRequest | undefined;
      let progress: Progress = {};
      let keep: boolean;
      let error: ProxyError | undefined;
      try {
        const head = await this.#requests.head({ idleMs, headMs, interruption });
        if (typeof head === 'string') return await this.#end(progress);
        const framing = frame(head);
        this.#requests.beginBody(framing);
        request = { head, framing, requests: this.#requests, progress };
        requireHost(head);
        keep = await this.#server.serve(request, this.origins);
      } catch (cause) {
        error = ProxyError.from(cause);
        keep = await this.#tell(error, request, progress);
      }
      progress = request?.progress ?? progress;
      // A peer that leaves between two requests is no fact worth telling.
      if (request !== undefined || error?.code !== 'clientClosed')
        this.#note(request, progress, started, error);
      if (keep) continue;
      if (error !== undefined && (progress.untilClose || error.code === 'clientClosed')) throw error;
      // A tunnel has ended in both directions; the client may take its time to read what is on its way.
      if (request?.isTunnel === true && progress.untilClose) return;
      return await this.#end(progress);
    }
  }

  /** Tells the client what went wrong, where it can be told. Answers whether the connection is still good for a request. */
  async #tell(error: ProxyError, request: HttpRequest | undefined, progress: Progress): Promise<boolean> {
    const status = statusOf(error);
    if (status === undefined || progress.status !== undefined) return false;
    const { realm, fields } = this.#server;
    const head = request?.head;
    // After a CONNECT come bytes that are no request, and after an unread body bytes that could look like one.
    const keep =
      head !== undefined &&
      head.method !== 'CONNECT' &&
      status !== 400 &&
      this.#requests.bodyDone &&
      keepsAlive(head) &&
      !this.#session.stopping;
    const close = !keep || head.version === '1.0';
    try {
      if ((await this.#server.answersError?.(error, request)) === true) return false;
      progress.status = status;
      const options = { close, method: head?.method, realm, ...(fields !== undefined && { fields }) };
      await this.#client.write(errorReply(error, status, this.#session.id, options));
    } catch {
      // The client has gone; the error that it was to be told is on its way to the log.
      return false;
    }
    return !close;
  }

  async #end({ sending }: Progress): Promise<void> {
    const closed = lingeringClose(this.#client, {
      read: async () => {
        // The body's reader may still wait for bytes that are not wanted any more; it takes the first of them.
        await sending;
        return this.#requests.read();
      },
    });
    this.origins.close();
    await closed;
  }

  #note(
    request: HttpRequest | undefined,
    { status }: Progress,
    started: number,
    error: ProxyError | undefined,
  ): void {
    const what = request === undefined ? 'request' : request.head.method;
    const target = request?.target;
    this.#session.note({
      what: target === undefined ? what : `${what} ${formatAddress(target)}`,
      target,
      user: this.#session.user,
      status,
      ms: performance.now() - started,
      error,
      ...(request !== undefined && {
        recordMode: recordMode(request.head),
        details: {
          http: recordOf(request, this.#server.scheme ?? 'http'),
          ...(request.node !== undefined && { node: request.node }),
          ...request.facts,
        },
      }),
    });
  }
}

function frame(head: Http1RequestHead): BodyFraming {
  try {
    return bodyFraming(head);
  } catch (cause) {
    if (!(cause instanceof Http1Error)) throw cause;
    throw new ProxyError('malformedRequest', 'client', cause.message, { cause, status: cause.status });
  }
}

/** As in GOST a CONNECT does not say what is recorded. */
function recordMode({ method, headers }: Http1RequestHead): string | undefined {
  return method === 'CONNECT' ? undefined : headerValue(headers, 'gost-record')?.toLowerCase();
}

/** RFC 9112, section 3.2. Many small clients leave it out of a CONNECT, where it says nothing that the target does not. */
function requireHost({ version, method, headers }: Http1RequestHead): void {
  if (version === '1.0' || method === 'CONNECT' || headerValues(headers, 'host').length === 1) return;
  throw new ProxyError('malformedRequest', 'client', 'a request of HTTP/1.1 needs a Host', { status: 400 });
}
