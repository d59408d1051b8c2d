import type { Protocol } from '../../core/protocol.ts';
import { bindSocks5 } from './bind.ts';
import { associateSocks5, connectSocks5 } from './connect.ts';
import { handleSocks5 } from './handle.ts';
import { connectorFields, handlerFields } from './options.ts';

/** SOCKS5: CONNECT and datagrams, with GOST's TLS methods and its UDP tunnel, and BIND and MUX-BIND. */
export const socks5: Protocol = {
  type: 'socks5',
  aliases: ['socks'],
  handler: { metadata: handlerFields, serves: 'stream', handle: handleSocks5 },
  connector: {
    metadata: connectorFields,
    connect: connectSocks5,
    associate: associateSocks5,
    bind: bindSocks5,
  },
};
