import { ProxyError } from '../../core/errors.ts';
import type { Transport } from '../../core/way.ts';
import { createMuxDialer } from './dial.ts';
import { listenMux } from './listen.ts';
import { backlogFields, handshakeFields, muxFields, muxSettings } from '../../core/mux/options.ts';

/** What the row of the list says of a mux layer. */
export interface MuxRow {
  /** smux's version where the file names none. GOST has 2 for mtcp and 1 for the others. */
  readonly version: 1 | 2;
  /** True where a layer beneath reads `handshakeTimeout` and `backlog`, under other names as well. */
  readonly overWebSocket?: boolean;
}

/** Many connections in one, over any stream: smux, or yamux where the file says `mux.type: yamux`, as GOST has them. */
export function createMux({ version, overWebSocket = false }: MuxRow): Transport {
  return {
    type: 'mux',
    listener: { ...(!overWebSocket && { ...handshakeFields, ...backlogFields }), ...muxFields },
    dialer: { ...(!overWebSocket && handshakeFields), ...muxFields },
    wrap(under, { metadata }) {
      if (under === undefined)
        throw new ProxyError('internal', 'self', 'a mux is a layer over another transport');
      const settings = muxSettings(metadata, version);
      const dialer = createMuxDialer(under, settings);
      return {
        dial: (to, context) => dialer.dial(to, context),
        ...(under.listen !== undefined && {
          listen: (at, accept, problem) => listenMux(under, at, accept, problem, settings, metadata),
        }),
        close: () => dialer.close(),
      };
    },
  };
}
