import type { Protocol } from './core/protocol.ts';
import type { Transport } from './core/way.ts';
import { listAuther } from './policies/auther/index.ts';
import { http } from './protocols/http/index.ts';
import { tcp } from './transports/tcp/index.ts';

/** THE list of what ships. A module that is not in it does not exist. */
export const modules = {
  transports: [tcp] satisfies readonly Transport[],
  protocols: [http] satisfies readonly Protocol[],
  policies: { auther: listAuther },
} as const;
