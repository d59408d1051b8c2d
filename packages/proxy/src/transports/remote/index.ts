import { ProxyError } from '../../core/errors.ts';
import type { Transport } from '../../core/way.ts';
import type { Fields } from '../../schema/read.ts';
import { listenRemote } from './listen.ts';
import { rtcpFields, rudpFields } from './options.ts';
import type { RemoteOptions } from './options.ts';

/** Connections that come to the far end of the listener's chain: GOST's word for it is `rtcp`. */
export const rtcp = createRemote('rtcp', 'tcp', rtcpFields);

/** The same of datagrams, `rudp`: each peer at the far end is one end here. */
export const rudp = createRemote('rudp', 'udp', rudpFields);

function createRemote(type: string, network: 'tcp' | 'udp', fields: Fields): Transport {
  return {
    type,
    listener: fields,
    dialer: {},
    overChain: true,
    ...(network === 'udp' && { accepts: 'datagrams' as const }),
    wrap(under, { metadata, dialTimeoutMs, inform = () => undefined }) {
      const { ttlMs } = metadata as RemoteOptions;
      const nobody = () =>
        Promise.reject(new ProxyError('unsupported', 'self', `${type} listens, and reaches nobody`));
      return {
        dial: nobody,
        listen: (address, accept, problem) =>
          listenRemote(
            under,
            { network, address, ...(ttlMs !== undefined && ttlMs > 0 && { peerTtlMs: ttlMs }) },
            { accept, problem, inform },
            dialTimeoutMs,
          ),
        close: () => Promise.resolve(),
      };
    },
  };
}
