import { performance } from 'node:perf_hooks';
import { formatRelayResponse, parseRelayRequest, relayStatus } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import type { Conn } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import { Handshake } from '../handshake.ts';
import { lingeringClose } from '../linger.ts';
import { statusOf } from './replies.ts';

/** How long a client may take from its first byte to the whole request; GOST's default, in milliseconds. */
export const defaultReadTimeoutMs = 15_000;

/** What a client that speaks in messages of the relay protocol has been told, and is to be told. */
export interface RelayExchange {
  readonly conn: Conn;
  /** What the client has been told, which it is once. */
  status?: number;
  /** What the client is told where it goes wrong now. Absent: what the error says. */
  refusal?: number;
  /** True once another node has been given the client: it answers, and nobody else. */
  isPassedOn?: boolean;
}

/** How the one request of a connection is served. */
export interface RelayServing {
  /** Default, and what 0 means: {@link defaultReadTimeoutMs}. */
  readonly timeoutMs?: number | undefined;
  /** Serves the request to its end. Resolves with what broke it after it was granted; rejects with ProxyError. */
  serve(request: RelayRequest): Promise<ProxyError | undefined>;
  /** Told what became of it, and after how many milliseconds. */
  note(error: ProxyError | undefined, ms: number): void;
}

/**
 * Reads the request that a connection begins with, and serves it. Where it is refused the client is told, unless it has gone, or
 * has not begun to speak this protocol: then nothing is said to it. Resolves when the connection has ended or is ending; rejects
 * with ProxyError where it broke, or nothing could be said.
 */
export async function serveRelayRequest(
  exchange: RelayExchange,
  { timeoutMs, serve, note }: RelayServing,
): Promise<void> {
  const started = performance.now();
  const { conn } = exchange;
  let hasBegun = false;
  let error: ProxyError | undefined;
  try {
    const handshake = new Handshake(conn, { side: 'client', timeoutMs: timeoutMs || defaultReadTimeoutMs });
    let request: RelayRequest;
    try {
      request = await handshake.read((bytes) => {
        hasBegun ||= bytes[0] === 1;
        return parseRelayRequest(bytes);
      });
    } finally {
      handshake.done();
    }
    error = await serve(request);
  } catch (cause) {
    error = ProxyError.from(cause);
    if (hasBegun) await tell(exchange, error);
  }
  note(error, performance.now() - started);
  if (error === undefined) return;
  if (exchange.status === undefined || exchange.status === relayStatus.ok) throw error;
  await lingeringClose(conn);
}

/** Tells the client what went wrong, where it can still be told. */
async function tell(exchange: RelayExchange, error: ProxyError): Promise<void> {
  const said = statusOf(error);
  if (exchange.status !== undefined || exchange.isPassedOn === true || said === undefined) return;
  const status = exchange.refusal ?? said;
  try {
    await exchange.conn.write(formatRelayResponse(status));
    exchange.status = status;
  } catch {
    // The client has gone; the error that it was to be told is on its way to the log.
  }
}
