import type { ProxyError } from '../../core/errors.ts';
import { socks5Codes, socks5Commands } from '../../wire/socks5.ts';

/**
 * The code that says to a client what went wrong; undefined: nobody is left to be told. As GOST has it, everything that goes
 * wrong on the way to the target is 3, because clients know what to make of that.
 */
export function codeOf({ code, at, status }: ProxyError, command: number | undefined): number | undefined {
  switch (code) {
    case 'clientClosed':
    case 'handshakeTimeout':
      return undefined;
    case 'forbidden':
    case 'tooManyRequests':
      return socks5Codes.notAllowed;
    case 'couldNotAsk':
      return status === 403 ? socks5Codes.notAllowed : socks5Codes.networkUnreachable;
    case 'unsupported':
      if (at === 'client') return socks5Codes.addressTypeNotSupported;
      // The command is served; it is some node on the way that has no words for the target.
      if (command === socks5Commands.connect) return socks5Codes.networkUnreachable;
      return socks5Codes.commandNotSupported;
    case 'malformedRequest':
    case 'wrongCredentials':
    case 'requestTooLarge':
    case 'addressInUse':
    case 'listenFailed':
    case 'shuttingDown':
    case 'internal':
      return socks5Codes.generalFailure;
    default:
      return socks5Codes.networkUnreachable;
  }
}
