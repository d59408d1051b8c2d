import type { Transport } from '../../core/way.ts';
import { dialUnix } from './dial.ts';
import { listenUnix } from './listen.ts';
import { unixFields } from './options.ts';

/** Sockets of this machine: a path, or `@name` for an abstract one (Linux). A lowest layer. */
export const unix: Transport = {
  type: 'unix',
  listener: unixFields,
  dialer: unixFields,
  wrap: () => ({ dial: dialUnix, listen: listenUnix, close: () => Promise.resolve() }),
};
