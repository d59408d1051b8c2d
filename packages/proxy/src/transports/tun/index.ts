import { ProxyError } from '../../core/errors.ts';
import type { Transport } from '../../core/way.ts';
import { listenTun } from './listen.ts';
import { tunListenerFields, tunOptionsOf } from './options.ts';
import type { TunMetadata } from './options.ts';

/** A network device of Linux whose packets are the datagrams of one end. A lowest layer. The address of its service says nothing. */
export const tun: Transport = {
  type: 'tun',
  listener: tunListenerFields,
  dialer: {},
  accepts: 'datagrams',
  wrap: (_under, { metadata, inform }) => ({
    dial: () =>
      Promise.reject(new ProxyError('unsupported', 'self', 'nothing is dialled through a network device')),
    listen: (_at, accept, problem) =>
      listenTun(accept, problem, tunOptionsOf(metadata as TunMetadata), inform),
    close: () => Promise.resolve(),
  }),
};
