import type { Connector, Protocol } from '../../core/protocol.ts';
import { handleSni } from './handle.ts';
import { handlerFields } from './options.ts';

/**
 * A node that reads the target from what is said to it is told nothing else. GOST's key `host`, which hides the name that
 * is really wanted behind another one, is not served.
 */
const connector: Connector = { metadata: {}, connect: (node) => Promise.resolve(node) };

/** Whatever a client says to its target, with the target read from it: SNI of TLS, `Host` of HTTP. */
export const sni: Protocol = {
  type: 'sni',
  handler: { metadata: handlerFields, serves: 'stream', handle: handleSni },
  connector,
};
