import type { Transport } from '../../core/way.ts';
import { dialTcp } from './dial.ts';
import { listenTcp } from './listen.ts';
import { tcpFields } from './options.ts';

/** Plain TCP of the operating system, the lowest layer. */
export const tcp: Transport = {
  type: 'tcp',
  listener: tcpFields,
  dialer: tcpFields,
  wrap: (_under, { metadata }) => ({
    dial: (to, context) => dialTcp(to, context, metadata),
    listen: (at, accept, problem) => listenTcp(at, accept, problem, metadata),
    close: () => Promise.resolve(),
  }),
};
