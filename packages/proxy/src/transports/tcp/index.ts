import type { Transport } from '../../core/way.ts';
import { dialTcp } from './dial.ts';
import { listenTcp } from './listen.ts';

/** Plain TCP of the operating system, the lowest layer. */
export const tcp: Transport = {
  type: 'tcp',
  wrap: () => ({ dial: dialTcp, listen: listenTcp, close: () => Promise.resolve() }),
};
