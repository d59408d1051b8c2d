import type { ProxyError } from '../errors.ts';
import { relayStatus } from '../../wire/relay.ts';

/** The status that says to a client what went wrong; undefined: nobody is left to be told. */
export function statusOf({ code, at, status }: ProxyError): number | undefined {
  switch (code) {
    case 'clientClosed':
    case 'handshakeTimeout':
      return undefined;
    case 'malformedRequest':
    case 'requestTooLarge':
      return relayStatus.badRequest;
    case 'unsupported':
      return at === 'client' ? relayStatus.badRequest : relayStatus.serviceUnavailable;
    case 'wrongCredentials':
      return relayStatus.unauthorized;
    case 'forbidden':
    case 'tooManyRequests':
      return relayStatus.forbidden;
    case 'couldNotAsk':
      if (status === 407) return relayStatus.unauthorized;
      return status === 403 ? relayStatus.forbidden : relayStatus.serviceUnavailable;
    case 'dialTimeout':
    case 'upstreamTimeout':
      return relayStatus.timeout;
    case 'noRoute':
    case 'upstreamRefused':
    case 'addressInUse':
    case 'listenFailed':
    case 'shuttingDown':
      return relayStatus.serviceUnavailable;
    case 'internal':
    case 'loop':
      return relayStatus.internalError;
    default:
      return relayStatus.hostUnreachable;
  }
}
