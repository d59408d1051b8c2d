import type { Protocol } from '../../core/protocol.ts';
import { handleAuto } from './handle.ts';
import { handlerFields } from './options.ts';

/** One port for SOCKS4, SOCKS5, HTTP, and TLS by its SNI. */
export const auto: Protocol = {
  type: 'auto',
  handler: { metadata: handlerFields, serves: 'stream', handle: handleAuto },
};
