import { Agent, request } from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { PluginError } from '@sallyport/plugin';
import { formatAddress } from '../../core/address.ts';
import type { NameserverAddress } from './address.ts';
import { abortable, arriving } from './exchange.ts';
import type { DialTcp, Exchange, Traffic } from './exchange.ts';
import { dialTls } from './exchange-stream.ts';
import type { TlsPeer } from './exchange-stream.ts';
import { maxMessageBytes, readReply } from './message.ts';
import type { Query, Reply } from './message.ts';
import { unreachable } from './reasons.ts';

const mediaType = 'application/dns-message';

/** How long a connection is kept without a question. */
const idleMs = 30_000;

/** How one server is reached. */
export interface HttpsExchangeOptions {
  readonly address: NameserverAddress;
  readonly dial: DialTcp;
  readonly peer: TlsPeer;
  /** Of opening a connection, which several questions may wait for. */
  readonly connectTimeoutMs: number;
}

/**
 * Asks by POST (RFC 8484, section 4.1) over HTTP/1.1 connections that are kept. Only status 200 with a whole DNS message is
 * an answer; redirects are not followed. A question on a kept connection that breaks before an answer is asked once more on
 * another one. `close` ends the kept connections.
 */
export function createHttpsExchange(options: HttpsExchangeOptions): { ask: Exchange; close(): void } {
  const { address } = options;
  const agent = new DialingAgent(options);
  const ask: Exchange = async (query, signal, traffic) => {
    for (;;) {
      const { reply, wasKept, error } = await post(agent, address, query, signal, traffic);
      if (reply !== undefined) return reply;
      if (signal.aborted || !wasKept) throw error;
      // The server has ended a connection that it had kept for long enough. The next may have been kept as well, but there
      // are only so many of them, and each that breaks is gone.
    }
  };
  return {
    ask,
    close() {
      agent.close();
    },
  };
}

/** Opens its connections through a {@link DialTcp}. */
class DialingAgent extends Agent {
  readonly #options: HttpsExchangeOptions;
  readonly #opening = new Set<AbortController>();

  constructor(options: HttpsExchangeOptions) {
    super({ keepAlive: true, maxFreeSockets: 4, timeout: idleMs });
    this.#options = options;
  }

  // The library's own hook: the stream may come later, through the callback.
  override createConnection(
    _options: unknown,
    callback: (error: unknown, stream?: Duplex) => void,
  ): undefined {
    const { address, dial, peer, connectTimeoutMs } = this.#options;
    // A connection is not one question's: it is ended by its own time, not by whoever asked first and left.
    const opening = new AbortController();
    this.#opening.add(opening);
    const timer = setTimeout(() => {
      opening.abort(new PluginError('timeout', 'it did not open a connection in time'));
    }, connectTimeoutMs);
    arriving(dialTls(dial, address.host, address.port, peer, opening.signal), opening.signal)
      .finally(() => {
        clearTimeout(timer);
        this.#opening.delete(opening);
      })
      .then(
        (socket) => {
          // An agent that is closed would keep it.
          if (opening.signal.aborted) socket.destroy();
          else callback(null, socket);
        },
        (error: unknown) => callback(error),
      );
  }

  close(): void {
    const reason = new PluginError('canceled', 'the resolver was closed');
    for (const opening of this.#opening) opening.abort(reason);
    this.destroy();
  }
}

interface Posted {
  readonly reply?: Reply;
  readonly error?: unknown;
  /** It broke on a connection that had been kept, before an answer began. */
  readonly wasKept?: boolean;
}

function post(
  agent: Agent,
  address: NameserverAddress,
  query: Query,
  signal: AbortSignal,
  traffic: Traffic,
): Promise<Posted> {
  let hasAnswered = false;
  let isKept = false;
  return abortable<Reply>(signal, (resolve, reject) => {
    traffic.sent += query.bytes.length;
    const { host, port } = address;
    const outgoing = request({
      agent,
      method: 'POST',
      host,
      port,
      path: address.path,
      headers: {
        host: port === 443 ? formatAddress(address).slice(0, -4) : formatAddress(address),
        accept: mediaType,
        'content-type': mediaType,
        'content-length': query.bytes.length,
      },
    });
    outgoing.on('error', (error) => {
      isKept = outgoing.reusedSocket && !hasAnswered;
      reject(unreachable(error));
    });
    outgoing.on('response', (incoming) => {
      hasAnswered = true;
      readBody(incoming, traffic)
        .then((body) => {
          resolve(readReply(body, query));
        }, reject)
        .catch(reject);
    });
    outgoing.end(query.bytes);
    return () => {
      // A connection whose answer was read to its end has been given back already, and stays.
      outgoing.destroy();
    };
  }).then(
    (reply) => ({ reply }),
    (error: unknown) => ({ error, wasKept: isKept }),
  );
}

/** Rejects with PluginError for everything but a whole DNS message. */
function readBody(incoming: IncomingMessage, traffic: Traffic): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const refuse = (code: 'badReply' | 'unreachable', what: string) => {
      incoming.destroy();
      reject(new PluginError(code, what, { httpStatus: incoming.statusCode }));
    };
    const status = incoming.statusCode ?? 0;
    if (status >= 300 && status < 400) {
      refuse('badReply', `it answered with HTTP status ${String(status)}; redirects are not followed`);
      return;
    }
    if (status !== 200) {
      refuse('unreachable', `it answered with HTTP status ${String(status)}`);
      return;
    }
    const type = (incoming.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
    if (type !== mediaType) {
      refuse('badReply', `its answer is not of type ${mediaType}`);
      return;
    }
    const chunks: Buffer[] = [];
    let length = 0;
    incoming.on('data', (chunk: Buffer) => {
      traffic.received += chunk.length;
      length += chunk.length;
      if (length > maxMessageBytes) refuse('badReply', 'its answer is longer than any DNS message');
      else chunks.push(chunk);
    });
    incoming.on('end', () => resolve(Buffer.concat(chunks)));
    incoming.on('error', () => refuse('badReply', 'its answer is cut short'));
  });
}
