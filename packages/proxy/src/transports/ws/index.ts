import { ProxyError } from '../../core/errors.ts';
import type { Transport } from '../../core/way.ts';
import { dialWs } from './dial.ts';
import { listenWs } from './listen.ts';
import { wsDialerFields, wsListenerFields } from './options.ts';

/** WebSocket (RFC 6455) over any stream, as GOST has it: binary frames, no subprotocol, `/ws`. Over TLS it is `wss`. */
export const ws: Transport = {
  type: 'ws',
  listener: wsListenerFields,
  dialer: wsDialerFields,
  wrap(under, { metadata }) {
    if (under === undefined)
      throw new ProxyError('internal', 'self', 'WebSocket is a layer over another transport');
    return {
      dial: (to, context) => dialWs(under, to, context, metadata),
      ...(under.listen !== undefined && {
        listen: (at, accept, problem) => listenWs(under, at, accept, problem, metadata),
      }),
      close: () => Promise.resolve(),
    };
  },
};
