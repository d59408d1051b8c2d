import { flag, mapping, optional } from '../../schema/read.ts';
import type { Of } from './common.ts';

/**
 * GOST's behaviours that let somebody in, or somewhere, by mistake. Each is off, and is switched on by its name under
 * `compat:` at the top of a file.
 */
export const compatSwitches = {
  missingReferences: 'a name that nothing has is ignored, and for an auther everybody is let in',
  unverifiedTls: 'a `tls` block without `secure` does not verify whoever answers',
  directWithoutNode: 'a hop without a node, or that could not be asked, means a direct connection',
  headerAddresses: 'a websocket client is whoever its headers say, whoever sends them',
  recordCredentials: 'records hold `Authorization` and `Proxy-Authorization` as they are',
  gostTarget: 'a request goes where its `Gost-Target` says, whatever its first line says',
  gostRecord: 'a request that says `Gost-Record: off` is not recorded',
} as const;

export type CompatSwitch = keyof typeof compatSwitches;

/** The `compat` block. */
export const compat = mapping(
  Object.fromEntries(Object.keys(compatSwitches).map((name) => [name, optional(flag())])) as {
    [K in CompatSwitch]: ReturnType<typeof optional<boolean>>;
  },
);

export type CompatConfig = Of<typeof compat>;
