import { formatHead, headerValue, headerValues } from '@sallyport/plugin/wire';
import { formatAddress } from '../../core/address.ts';
import type { Conn, End } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { parseBasic } from '../../core/http/credentials.ts';
import { exchange } from '../../core/http/exchange.ts';
import type { Origins } from '../../core/http/origins.ts';
import { isEmpty } from '../../core/http/request.ts';
import type { HttpRequest } from '../../core/http/request.ts';
import { serveRequests } from '../../core/http/serve-requests.ts';
import type { HandlerOptions } from '../../core/protocol.ts';
import type { Session } from '../../core/session.ts';
import { relaySniffed } from '../../core/sniffing/relay-sniffed.ts';
import { createUdpTunnel } from '../../core/udp-tunnel.ts';
import type { HandlerMetadata } from './options.ts';
import { resistProbe } from './probe-resist.ts';
import { gostTarget, requestTarget } from './target.ts';
import type { RequestTarget } from './target.ts';

/**
 * Serves an HTTP/1 proxy connection: CONNECT, and requests for `http://` one after the other. Rejects with ProxyError where
 * the connection ended otherwise than by its peers' wish.
 */
export async function handleHttp(client: End, session: Session, options: HandlerOptions): Promise<void> {
  if (client.kind !== 'stream') throw new ProxyError('unsupported', 'self', 'HTTP needs a connection');
  const proxy = new HttpProxy(client, session, options);
  await serveRequests(client, session, proxy);
}

/** One client's connection. */
class HttpProxy {
  readonly idleMs: number | undefined;
  readonly realm: string | undefined;
  readonly fields: readonly string[];
  readonly repair: ((bytes: Buffer) => Buffer) | undefined;
  readonly #client: Conn;
  readonly #session: Session;
  readonly #metadata: HandlerMetadata;
  readonly #gostTarget: boolean;
  /** The `Proxy-Authorization` that was accepted, and whom it stands for. */
  #accepted: { readonly value: string | undefined } | undefined;

  constructor(client: Conn, session: Session, options: HandlerOptions) {
    const metadata = options.metadata as HandlerMetadata;
    this.#client = client;
    this.#session = session;
    this.#metadata = metadata;
    this.#gostTarget = options.compat?.gostTarget === true;
    this.idleMs = metadata.idleTimeoutMs;
    this.realm = metadata.authBasicRealm;
    this.fields = ownFields(metadata);
    if (metadata.udp === true) this.repair = repairTunnelRequest;
  }

  async serve(request: HttpRequest, origins: Origins): Promise<boolean> {
    if (
      request.head.method === 'CONNECT' &&
      headerValue(request.head.headers, 'x-gost-protocol')?.toLowerCase() === 'udp'
    ) {
      request.isTunnel = true;
      await this.#authenticate(request);
      return this.#datagrams(request);
    }
    const written = requestTarget(request.head);
    const target = this.#gostTarget ? gostTarget(request.head, written) : written;
    request.target = target.address;
    request.isTunnel = target.kind === 'tunnel';
    await this.#authenticate(request);
    return target.kind === 'tunnel' ? this.#tunnel(request, target) : this.#forward(request, target, origins);
  }

  /** With `probeResist` nobody who has not proved who they are learns that this is a proxy. */
  async answersError({ code }: ProxyError, request: HttpRequest | undefined): Promise<boolean> {
    const { probeResist, knock } = this.#metadata;
    if (probeResist === undefined || !this.#session.authenticates || this.#accepted !== undefined)
      return false;
    const knocks = knock !== undefined && request?.target?.host === knock.toLowerCase();
    if (knocks && code === 'wrongCredentials') return false;
    await resistProbe(probeResist, this.#client, this.#session, request);
    return true;
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

  /** GOST's UDP over HTTP. Whatever the request line names is not looked at, as each datagram names its peer. */
  async #datagrams(request: HttpRequest): Promise<false> {
    if (!isEmpty(request.framing)) {
      const message = 'a request for a UDP tunnel has no body';
      throw new ProxyError('malformedRequest', 'client', message, { status: 400 });
    }
    if (this.#metadata.udp !== true) {
      const message = 'this service carries no datagrams; `udp: true` would allow them';
      throw new ProxyError('forbidden', 'client', message);
    }
    const upstream = await this.#session.associate();
    try {
      await this.#establish(request);
    } catch (error) {
      upstream.close();
      throw error;
    }
    const broke = await this.#session.relay(createUdpTunnel(this.#client, 'client'), upstream);
    if (broke !== undefined) throw broke;
    return false;
  }

  async #tunnel(request: HttpRequest, { address }: RequestTarget): Promise<false> {
    const { idleTimeoutMs, sniffing, sniffingTimeoutMs } = this.#metadata;
    const upstream = await this.#session.open(address);
    try {
      await this.#establish(request);
    } catch (error) {
      upstream.reset();
      throw error;
    }
    const options = { ...(idleTimeoutMs !== undefined && { idleMs: idleTimeoutMs }) };
    const broke =
      sniffing === true
        ? await relaySniffed(this.#client, upstream, this.#session, {
            ...options,
            target: address,
            timeoutMs: sniffingTimeoutMs,
          })
        : await this.#session.relay(this.#client, upstream, options);
    if (broke !== undefined) throw broke;
    return false;
  }

  /** Says yes; what follows on the connection is no HTTP any more. */
  async #establish({ requests, progress }: HttpRequest): Promise<void> {
    progress.status = 200;
    progress.fields = this.fields;
    progress.untilClose = true;
    requests.release();
    await this.#client.write(established(this.fields));
  }
}

function ownFields({ header = [], proxyAgent }: HandlerMetadata): string[] {
  return [...header.flat(), ...(proxyAgent === undefined ? [] : ['Proxy-Agent', proxyAgent])];
}

function established(fields: readonly string[]): Buffer {
  return Buffer.from(formatHead('HTTP/1.1 200 Connection established', fields), 'latin1');
}

const withoutTarget = Buffer.from('CONNECT  HTTP/1.');
const withTarget = Buffer.from('CONNECT 0.0.0.0:1 HTTP/1.');

/**
 * GOST asks for a UDP tunnel by a CONNECT of nothing at all, which is no request line. It is sent in one piece, at the
 * beginning of a connection, and stands for nothing else.
 */
function repairTunnelRequest(bytes: Buffer): Buffer {
  if (!bytes.subarray(0, withoutTarget.length).equals(withoutTarget)) return bytes;
  return Buffer.concat([withTarget, bytes.subarray(withoutTarget.length)]);
}
