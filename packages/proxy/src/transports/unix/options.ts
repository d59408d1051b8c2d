import type { Fields } from '../../schema/read.ts';

/** GOST's `mode` of a listener is not served: a socket is as open as the process's umask makes it. */
export const unixFields = {} as const satisfies Fields;
