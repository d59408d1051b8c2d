import { ProxyError } from '../core/errors.ts';

/** Who wrote the bytes that are parsed; it decides whose fault it is when they are wrong. */
export type WireSide = 'client' | 'upstream';

/** What a codec throws for bytes that break the protocol: `malformedRequest` of a client, `badUpstreamReply` of an upstream. */
export function malformed(side: WireSide, message: string): ProxyError {
  return side === 'client'
    ? new ProxyError('malformedRequest', 'client', message)
    : new ProxyError('badUpstreamReply', 'upstream', message, { retryable: true });
}

/** What a codec throws for bytes that are right, and ask for something that is not served: `unsupported` of a client. */
export function notServed(side: WireSide, message: string): ProxyError {
  return side === 'client' ? new ProxyError('unsupported', 'client', message) : malformed(side, message);
}

/** What an encoder throws for what its protocol has no words for: `unsupported` of our own. */
export function unsayable(message: string): ProxyError {
  return new ProxyError('unsupported', 'self', message);
}
