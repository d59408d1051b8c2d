import { performance } from 'node:perf_hooks';
import { bodyFraming, headerValues, Http1Error, keepsAlive } from '@sallyport/plugin/wire';
import type { BodyFraming, Http1RequestHead } from '@sallyport/plugin/wire';
import { formatAddress } from '../../core/address.ts';
import type { Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { lingeringClose } from '../../core/linger.ts';
import type { Session } from '../../core/session.ts';
import { parseBasic } from './credentials.ts';
import { forward } from './forward.ts';
import type { Progress } from './forward.ts';
import { MessageReader } from './message-reader.ts';
import { Origins } from './origin.ts';
import { errorReply, statusOf } from './replies.ts';
import { requestTarget } from './target.ts';
import type { RequestTarget } from './target.ts';

/** How long a connection may stay without a request. Browsers open some in advance; most servers close after a minute or so. */
const idleMs = 60_000;

/** From a head's first byte to its last. A head is one packet or two; half a minute is for the worst of lines. */
const headMs = 30_000;

const established = Buffer.from('HTTP/1.1 200 Connection established\r\n\r\n');

/**
 * Serves an HTTP/1 proxy connection: CONNECT, and requests for `http://` one after the other. A request that breaks the
 * protocol is answered with 400 (or a more exact status) and the connection is closed, because nobody can say where the next
 * one would begin. Rejects with ProxyError where the connection ended otherwise than by its peers' wish.
 */
export async function handleHttp(client: Conn, session: Session): Promise<void> {
  const connection = new Connection(client, session);
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
  readonly origins: Origins;
  readonly #client: Conn;
  readonly #session: Session;
  readonly #requests: MessageReader<'request'>;
  /** The `Proxy-Authorization` that was accepted, and whom it stands for. */
  #accepted: { readonly value: string | undefined } | undefined;

  constructor(client: Conn, session: Session) {
    this.#client = client;
    this.#session = session;
    this.#requests = new MessageReader(client, 'request');
    this.origins = new Origins(session);
  }

  async serve(): Promise<void> {
    const interruption = (stop: () => void) => this.#session.onStopping(stop);
    for (;;) {
      const started = performance.now();
      const progress: Progress = {};
      let head: Http1RequestHead | undefined;
      let target: RequestTarget | undefined;
      let keep: boolean;
      let error: ProxyError | undefined;
      try {
        const next = await this.#requests.head({ idleMs, headMs, interruption });
        if (typeof next === 'string') return await this.#end(progress);
        head = next;
        const framing = frame(head);
        this.#requests.beginBody(framing);
        target = requestTarget(head);
        requireHost(head);
        await this.#authenticate(head);
        keep =
          target.kind === 'tunnel'
            ? await this.#tunnel(target, progress)
            : await forward({
                client: this.#client,
                session: this.#session,
                origins: this.origins,
                requests: this.#requests,
                head,
                framing,
                target,
                progress,
              });
      } catch (cause) {
        error = ProxyError.from(cause);
        keep = await this.#tell(error, head, progress);
      }
      // A peer that leaves between two requests is no fact worth telling.
      if (head !== undefined || error?.code !== 'clientClosed')
        this.#note(head, target, progress, started, error);
      if (keep) continue;
      if (error !== undefined && (progress.untilClose || error.code === 'clientClosed')) throw error;
      // A tunnel has ended in both directions; the client may take its time to read what is on its way.
      if (progress.status === 101 || (target?.kind === 'tunnel' && progress.status === 200)) return;
      return await this.#end(progress);
    }
  }

  /** Asks who this is, unless exactly this was asked and accepted before on this connection. */
  async #authenticate(head: Http1RequestHead): Promise<void> {
    if (!this.#session.authenticates) return;
    const values = headerValues(head.headers, 'proxy-authorization');
    if (values.length > 1) {
      throw new ProxyError(
        'malformedRequest',
        'client',
        'the request has more than one Proxy-Authorization',
        {
          status: 400,
        },
      );
    }
    const value = values[0];
    if (this.#accepted !== undefined && this.#accepted.value === value) return;
    // Whoever fails to prove who they are must not go on as who they were.
    this.#accepted = undefined;
    await this.#session.authenticate(parseBasic(value));
    this.#accepted = { value };
  }

  async #tunnel({ address }: RequestTarget, progress: Progress): Promise<false> {
    const upstream = await this.#session.open(address);
    progress.status = 200;
    progress.untilClose = true;
    this.#requests.release();
    try {
      await this.#client.write(established);
    } catch (error) {
      upstream.reset();
      throw error;
    }
    const broke = await this.#session.relay(this.#client, upstream);
    if (broke !== undefined) throw broke;
    return false;
  }

  /** Tells the client what went wrong, where it can be told. Answers whether the connection is still good for a request. */
  async #tell(error: ProxyError, head: Http1RequestHead | undefined, progress: Progress): Promise<boolean> {
    const status = statusOf(error);
    if (status === undefined || progress.status !== undefined) return false;
    progress.status = status;
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
      await this.#client.write(errorReply(error, status, this.#session.id, { close, method: head?.method }));
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
    head: Http1RequestHead | undefined,
    target: RequestTarget | undefined,
    { status }: Progress,
    started: number,
    error: ProxyError | undefined,
  ): void {
    const what = head === undefined ? 'request' : head.method;
    this.#session.note({
      what: target === undefined ? what : `${what} ${formatAddress(target.address)}`,
      target: target?.address,
      user: this.#session.user,
      status,
      ms: performance.now() - started,
      error,
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

/** RFC 9112, section 3.2. Many small clients leave it out of a CONNECT, where it says nothing that the target does not. */
function requireHost({ version, method, headers }: Http1RequestHead): void {
  if (version === '1.0' || method === 'CONNECT' || headerValues(headers, 'host').length === 1) return;
  throw new ProxyError('malformedRequest', 'client', 'a request of HTTP/1.1 needs a Host', { status: 400 });
}
