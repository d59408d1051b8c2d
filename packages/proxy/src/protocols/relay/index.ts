import type { Protocol } from '../../core/protocol.ts';
import { bindRelay } from './bind.ts';
import { associateRelay, connectRelay, connectRelayDatagrams } from './connect.ts';
import { handleRelay } from './handle.ts';
import { connectorFields, handlerFields } from './options.ts';

/** GOST's relay protocol: connections and datagrams, to targets or to a forwarder's nodes, and BIND, by which a node listens. */
export const relay: Protocol = {
  type: 'relay',
  handler: { metadata: handlerFields, serves: 'stream', forwards: 'optional', handle: handleRelay },
  connector: {
    metadata: connectorFields,
    connect: connectRelay,
    connectDatagrams: connectRelayDatagrams,
    associate: associateRelay,
    bind: bindRelay,
  },
};
