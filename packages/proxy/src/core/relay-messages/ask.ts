import { formatAddress } from '../address.ts';
import type { Conn } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import { Handshake } from '../handshake.ts';
import type { ConnectorOptions } from '../protocol.ts';
import { formatRelayRequest, parseRelayResponse, relayStatus } from '../../wire/relay.ts';
import type { RelayRequest, RelayResponse } from '../../wire/relay.ts';

/** What is asked of a node, in the words of its errors. */
export interface Asked {
  /** A target, a tunnel, an address to be bound. */
  readonly what: string;
  /** Where it cannot be done, the node "could not …". Default `reach`. */
  readonly verb?: string;
}

/** How long it may take. */
export interface AskLimits {
  /** Nobody waits for the answer any more once it fires. */
  readonly signal: AbortSignal;
  /** Default, and 0: as long as `signal` allows. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Sends a request to a node that speaks the relay protocol, and waits for the answer; what follows it stays in the connection.
 * Rejects with ProxyError, and has reset the connection: `unsupported` for what there are no words for, `upstreamRefused`,
 * `dialFailed` or `badUpstreamReply` by what the node answers, `upstreamTimeout`, `upstreamClosed` or `clientClosed` where it
 * does not.
 */
export async function askRelay(
  node: Conn,
  request: RelayRequest,
  asked: Asked,
  options: ConnectorOptions,
  { signal, timeoutMs }: AskLimits,
): Promise<RelayResponse> {
  const handshake = new Handshake(node, {
    side: 'upstream',
    signal,
    ...(timeoutMs !== undefined && timeoutMs > 0 && { timeoutMs }),
  });
  try {
    await handshake.write(formatRelayRequest(request));
    return await readRelayAnswer(handshake, asked, options);
  } catch (error) {
    node.reset();
    throw error;
  } finally {
    handshake.done();
  }
}

/** Reads a node's answer to a request. Rejects with ProxyError where it is a no, and as {@link Handshake.read}. */
export async function readRelayAnswer(
  handshake: Handshake,
  { what, verb = 'reach' }: Asked,
  { node, auth }: ConnectorOptions,
): Promise<RelayResponse> {
  const answer = await handshake.read(parseRelayResponse);
  const { status } = answer;
  if (status === relayStatus.ok) return answer;
  const at = formatAddress(node);
  const refused = (message: string) =>
    new ProxyError('upstreamRefused', 'upstream', `the node ${at} ${message}`, { retryable: true });
  switch (status) {
    case relayStatus.unauthorized:
      throw refused(
        auth === undefined
          ? 'wants a user name and a password (relay says 2)'
          : 'does not accept our credentials (relay says 2)',
      );
    case relayStatus.forbidden:
      throw refused(`does not allow ${what} (relay says 3)`);
    case relayStatus.badRequest:
      throw refused(`does not serve ${what} (relay says 1)`);
    default: {
      const message = `the node ${at} could not ${verb} ${what} (relay says ${String(status)})`;
      throw new ProxyError('dialFailed', 'upstream', message, { retryable: true });
    }
  }
}
