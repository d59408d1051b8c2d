import { ProxyError } from '../../core/errors.ts';
import type { Transport } from '../../core/way.ts';
import { dialTls } from './dial.ts';
import { listenTls } from './listen.ts';
import { tlsDialerFields, tlsListenerFields } from './options.ts';

/**
 * TLS over any stream. A dialer believes only servers whose certificate is good, unless its settings say otherwise in so
 * many words. Half-closing sends close_notify (RFC 8446, section 6.1), after which the other direction goes on.
 */
export const tls: Transport = {
  type: 'tls',
  listener: tlsListenerFields,
  dialer: tlsDialerFields,
  wrap(under, { clientTls = {}, serverTls, metadata }) {
    if (under === undefined)
      throw new ProxyError('internal', 'self', 'TLS is a layer over another transport');
    return {
      dial: (to, context) => dialTls(under, to, context, clientTls, metadata),
      ...(under.listen !== undefined && {
        listen: (at, accept, problem) => listenTls(under, at, accept, problem, serverTls, metadata),
      }),
      close: () => Promise.resolve(),
    };
  },
};
