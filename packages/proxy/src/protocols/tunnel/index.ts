import { ProxyError } from '../../core/errors.ts';
import type { Protocol } from '../../core/protocol.ts';
import { registerTunnel } from './bind.ts';
import { visitTunnel, visitTunnelDatagrams } from './connect.ts';
import { connectorFields, handlerFields } from './options.ts';
import { startTunnel } from './start.ts';

/** GOST's reverse tunnels: a node that clients register at and visitors come to, and the client's end. */
export const tunnel: Protocol = {
  type: 'tunnel',
  handler: {
    metadata: handlerFields,
    serves: 'stream',
    openWithoutAuther: 'anybody who can connect may register any tunnel id',
    start: (host, options, before) => startTunnel(host, options, before),
    // Tunnels are kept for the service.
    handle: () =>
      Promise.reject(new ProxyError('unsupported', 'self', 'tunnels need a service of their own')),
  },
  connector: {
    metadata: connectorFields,
    connect: visitTunnel,
    connectDatagrams: visitTunnelDatagrams,
    bind: registerTunnel,
  },
};
