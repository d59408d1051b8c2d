import type { Protocol } from '../../core/protocol.ts';
import { connectSocks4 } from './connect.ts';
import { handleSocks4 } from './handle.ts';
import { connectorFields, handlerFields } from './options.ts';

/** SOCKS4 and SOCKS4a: CONNECT. BIND is answered with a refusal. */
export const socks4: Protocol = {
  type: 'socks4',
  aliases: ['socks4a'],
  handler: { metadata: handlerFields, serves: 'stream', handle: handleSocks4 },
  connector: { metadata: connectorFields, connect: connectSocks4 },
};
