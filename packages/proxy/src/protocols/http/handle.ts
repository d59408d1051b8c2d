import { formatHead, headerValues } from '@sallyport/plugin/wire';
import { formatAddress } from '../../core/address.ts';
import type { Conn, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { parseBasic } from '../../core/http/credentials.ts';
import { exchange } from '../../core/http/exchange.ts';
import type { Origins } from '../../core/http/origins.ts';
import type { HttpRequest } from '../../core/http/request.ts';
import { serveRequests } from '../../core/http/serve-requests.ts';
import type { HandlerOptions } from '../../core/protocol.ts';
import type { Session } from '../../core/session.ts';
import type { HandlerMetadata } from './options.ts';
import { requestTarget } from './target.ts';
import type { RequestTarget } from './target.ts';

/**
 * Serves an HTTP/1 proxy connection: CONNECT, and requests for `http://` one after the other. Rejects with ProxyError where
 * the connection ended otherwise than by its peers' wish.
 */
export async function handleHttp(client: End, session: Session, options: HandlerOptions): Promise<void> {
  if (client.kind !== 'stream') throw new ProxyError('unsupported', 'self', 'HTTP needs a connection');
  const proxy = new Proxy(client, session, options.metadata as HandlerMetadata);
  await serveRequests(client, session, proxy);
}

/** One client's connection. */
class Proxy {
  readonly idleMs: number | undefined;
  readonly realm: string | undefined;
  readonly fields: readonly string[];
  readonly #client: Conn;
  readonly #session: Session;
  readonly #metadata: HandlerMetadata;
  /** The `Proxy-Authorization` that was accepted, and whom it stands for. */
  #accepted: { readonly value: string | undefined } | undefined;

  constructor(client: Conn, session: Session, metadata: HandlerMetadata) {
    this.#client = client;
    this.#session = session;
    this.#metadata = metadata;
    this.idleMs = metadata.idleTimeoutMs;
    this.realm = metadata.authBasicRealm;
    this.fields = ownFields(metadata);
  }

  async serve(request: HttpRequest, origins: Origins): Promise<boolean> {
    const target = requestTarget(request.head);
    request.target = target.address;
    request.isTunnel = target.kind === 'tunnel';
    await this.#authenticate(request);
    return target.kind === 'tunnel' ? this.#tunnel(request, target) : this.#forward(request, target, origins);
  }

  /** Asks who this is, unless exactly this was asked and accepted before on this connection. */
  async #authenticate({ head }: HttpRequest): Promise<void> {
    if (!this.#session.authenticates) return;
    const values = headerValues(head.headers, 'proxy-authorization');
    if (values.length > 1) {
      const message = 'the request has more than one Proxy-Authorization';
      throw new ProxyError('malformedRequest', 'client', message, { status: 400 });
    }
    const value = values[0];
    if (this.#accepted !== undefined && this.#accepted.value === value) return;
    // Whoever fails to prove who they are must not go on as who they were.
    this.#accepted = undefined;
    await this.#session.authenticate(parseBasic(value));
    this.#accepted = { value };
  }

  #forward(request: HttpRequest, target: RequestTarget, origins: Origins): Promise<boolean> {
    const session = this.#session;
    const { readTimeoutMs, keepalive, idleTimeoutMs } = this.#metadata;
    const key = `${formatAddress(target.address)} ${session.user}`;
    return exchange({
      client: this.#client,
      session,
      origins,
      request,
      where: formatAddress(target.address),
      reach: () =>
        origins.use(async (kept) => {
          // Each request is asked about, whether or not it needs a connection of its own.
          if (kept?.key !== key) return { conn: await session.open(target.address), key };
          await session.check(target.address);
          return kept;
        }),
      outgoing: () => ({
        target: target.path,
        host: target.host,
        closes: keepalive === false,
        editAnswer: (fields) => void fields.push(...this.fields),
      }),
      answerMs: readTimeoutMs,
      keepsAlive: keepalive,
      idleMs: idleTimeoutMs,
    });
  }

  async #tunnel({ requests, progress }: HttpRequest, { address }: RequestTarget): Promise<false> {
    const { idleTimeoutMs } = this.#metadata;
    const upstream = await this.#session.open(address);
    progress.status = 200;
    progress.fields = this.fields;
    progress.untilClose = true;
    requests.release();
    try {
      await this.#client.write(established(this.fields));
    } catch (error) {
      upstream.reset();
      throw error;
    }
    const options = { ...(idleTimeoutMs !== undefined && { idleMs: idleTimeoutMs }) };
    const broke = await this.#session.relay(this.#client, upstream, options);
    if (broke !== undefined) throw broke;
    return false;
  }
}

function ownFields({ header = [], proxyAgent }: HandlerMetadata): string[] {
  return [...header.flat(), ...(proxyAgent === undefined ? [] : ['Proxy-Agent', proxyAgent])];
}

function established(fields: readonly string[]): Buffer {
  return Buffer.from(formatHead('HTTP/1.1 200 Connection established', fields), 'latin1');
}
