import type { TcpNetConnectOpts } from 'node:net';

/**
 * What every TCP connection is opened with, in both directions. Half-open, because each direction ends by itself; no delay,
 * because others have gathered the bytes already; keep-alive after 15 s of silence as Go's network library has it, so that
 * a peer that lost its power does not hold a descriptor for ever.
 */
export const socketOptions = {
  allowHalfOpen: true,
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: 15_000,
} as const satisfies Partial<TcpNetConnectOpts>;
