import { metadataDurationMs } from '../../schema/durations.ts';
import { optional } from '../../schema/read.ts';
import type { Fields } from '../../schema/read.ts';

/** GOST's `handshakeTimeout` of a dialer. A listener has none there; here both are bounded, see `core/layer-handshakes`. */
export const tlsDialerFields = {
  handshakeTimeoutMs: optional(metadataDurationMs(), 'handshakeTimeout'),
} as const satisfies Fields;

/** GOST has no key of its own for a TLS listener; that `handshakeTimeout` is served there too is ours. */
export const tlsListenerFields = tlsDialerFields;

export interface TlsLayerOptions {
  /** From the open connection to the end of the handshake, in milliseconds. Default 10,000; 0 is the default, as in GOST. */
  readonly handshakeTimeoutMs?: number;
}
