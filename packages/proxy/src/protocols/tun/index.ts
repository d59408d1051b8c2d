import { ProxyError } from '../../core/errors.ts';
import type { Protocol } from '../../core/protocol.ts';
import { createTunStart } from './handle.ts';
import { handlerFields } from './options.ts';

/** A network device that is a site of a router's network. GOST's VPN over UDP, of the same name, is not served. */
export const tunSite: Protocol = {
  type: 'tun',
  handler: {
    metadata: handlerFields,
    serves: 'datagrams',
    forwards: 'always',
    joins: true,
    start: createTunStart(),
    // What it keeps is for the next configuration to go on with.
    handle: () =>
      Promise.reject(new ProxyError('unsupported', 'self', 'a device serves a service of its own')),
  },
};
