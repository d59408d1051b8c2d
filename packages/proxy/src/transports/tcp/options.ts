import type { TcpNetConnectOpts } from 'node:net';
import { metadataDurationMs } from '../../schema/durations.ts';
import { flag, optional } from '../../schema/read.ts';
import type { Fields } from '../../schema/read.ts';

/**
 * GOST's `keepalive` and `keepalive.idle`, for both ends. Where an upper layer has a `keepalive` of its own (a WebSocket
 * dialer), GOST calls these `tcp.keepalive` and `tcp.keepalive.idle`. GOST's `keepalive.interval`, `keepalive.count`,
 * `mptcp` and `reuseport` cannot be reached from Node and are not served.
 */
export const tcpFields = {
  keepAlive: optional(flag(), 'keepalive'),
  keepAliveIdleMs: optional(metadataDurationMs(), 'keepalive.idle'),
  tcpKeepAlive: optional(flag(), 'tcp.keepalive'),
  tcpKeepAliveIdleMs: optional(metadataDurationMs(), 'tcp.keepalive.idle'),
} as const satisfies Fields;

/** How the TCP connections of a listener or a dialer are kept alive. Those with `tcp` go before those without. */
export interface TcpDialerOptions {
  /** False: a peer that has lost its power is not noticed while nothing is sent. Default true. */
  readonly keepAlive?: boolean;
  /** Silence after which the system asks whether the peer is still there, in milliseconds. Default 15,000. */
  readonly keepAliveIdleMs?: number;
  readonly tcpKeepAlive?: boolean;
  readonly tcpKeepAliveIdleMs?: number;
}

/** The same as for a dialer. */
export type TcpListenerOptions = TcpDialerOptions;

/**
 * What every TCP connection is opened with, in both directions. Half-open, because each direction ends by itself; no delay,
 * because others have gathered the bytes already; keep-alive after 15 s of silence as Go's network library has it, so that
 * a peer that lost its power does not hold a descriptor for ever.
 */
export function socketOptions(options: TcpDialerOptions) {
  return {
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: options.tcpKeepAlive ?? options.keepAlive ?? true,
    keepAliveInitialDelay: options.tcpKeepAliveIdleMs ?? options.keepAliveIdleMs ?? 15_000,
  } as const satisfies Partial<TcpNetConnectOpts>;
}
