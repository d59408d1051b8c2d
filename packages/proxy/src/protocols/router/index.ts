import { ProxyError } from '../../core/errors.ts';
import type { Protocol } from '../../core/protocol.ts';
import { associateRouter, connectRouter, joinRouter } from './connect.ts';
import { startRouter } from './handle.ts';
import { connectorFields, handlerFields } from './options.ts';

/** GOST's router protocol: IP packets between sites that have joined the network of one router. */
export const router: Protocol = {
  type: 'router',
  handler: {
    metadata: handlerFields,
    serves: 'stream',
    openWithoutAuther: 'anybody who can connect may join any network, as any gateway',
    start: startRouter,
    // Sites know each other by what is kept for the service.
    handle: () =>
      Promise.reject(new ProxyError('unsupported', 'self', 'a router serves a service of its own')),
  },
  connector: {
    metadata: connectorFields,
    joins: true,
    connect: connectRouter,
    connectDatagrams: joinRouter,
    associate: associateRouter,
  },
};
