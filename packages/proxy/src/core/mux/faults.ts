import { ProxyError } from '../errors.ts';

/** Whose connection carries a session. */
export type MuxSide = 'client' | 'upstream';

/** What ends a session whose peer keeps to the protocol's letters and asks for more than anybody needs. */
export function abused(side: MuxSide, how: string): ProxyError {
  return side === 'client'
    ? new ProxyError('tooManyRequests', 'client', `the client's mux session ${how}`)
    : new ProxyError('badUpstreamReply', 'upstream', `the node's mux session ${how}`, { retryable: true });
}

/** Why nothing more comes or goes. `cause` is what the connection beneath, or the peer's bytes, ended with. */
export function over(side: MuxSide, what: string, cause?: ProxyError): ProxyError {
  const code = side === 'client' ? 'clientClosed' : 'upstreamClosed';
  const why = cause === undefined ? '' : `: ${cause.message}`;
  return new ProxyError(code, side, `${what} with the ${side} is closed${why}`, { cause });
}
