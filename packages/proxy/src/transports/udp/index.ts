import { ProxyError } from '../../core/errors.ts';
import type { Transport } from '../../core/way.ts';
import { openPackets } from './dial.ts';
import { listenUdp } from './listen.ts';
import { udpDialerFields, udpListenerFields } from './options.ts';

/** UDP of the operating system: datagrams, and no connections. A lowest layer. */
export const udp: Transport = {
  type: 'udp',
  listener: udpListenerFields,
  dialer: udpDialerFields,
  accepts: 'datagrams',
  wrap: (_under, { metadata }) => ({
    dial: () =>
      Promise.reject(new ProxyError('unsupported', 'self', 'UDP carries datagrams, and no connections')),
    packets: openPackets,
    listen: (at, accept, problem) => listenUdp(at, accept, problem, metadata),
    close: () => Promise.resolve(),
  }),
};
