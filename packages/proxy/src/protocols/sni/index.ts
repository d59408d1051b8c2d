import type { Protocol } from '../../core/protocol.ts';
import { handleSni } from './handle.ts';
import { handlerFields } from './options.ts';

/** Whatever a client says to its target, with the target read from it: SNI of TLS, `Host` of HTTP. GOST's connector is not served. */
export const sni: Protocol = {
  type: 'sni',
  handler: { metadata: handlerFields, serves: 'stream', handle: handleSni },
};
