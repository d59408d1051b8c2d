import type { SmuxVersion } from '../../wire/smux.ts';
import { smuxInitialWindowBytes, smuxMaxPayloadBytes } from '../../wire/smux.ts';
import { yamuxInitialWindowBytes } from '../../wire/yamux.ts';

/** How a session speaks. Both ends must be told the same `type` and `version`; nothing negotiates them. */
export interface MuxSettings {
  /** Default `smux`. `yamux` is HashiCorp's. */
  readonly type?: 'smux' | 'yamux';
  /** Of smux. Default 1, GOST's for most of what carries one; it uses 2 for mtcp and tunnels. */
  readonly version?: SmuxVersion;
  /** How often a sign of life is sent, in milliseconds; 0: never. Default 10,000, and 30,000 of yamux, as in GOST. */
  readonly keepAliveMs?: number;
  /** After so long without a byte the peer counts as dead. Default 30,000, and 40,000 of yamux; no less than `keepAliveMs`. */
  readonly keepAliveTimeoutMs?: number;
  /** Of smux: the most bytes in one frame. Default 32,768, as in GOST; at most 65,535. */
  readonly maxFrameBytes?: number;
  /**
   * Bytes that came and were not read, of all streams together; then nothing more is read from the connection. Default 4 MiB
   * as in GOST. Of yamux, where every stream has a quarter of a megabyte of its own and whoever does not answer a ping is
   * given up, 64 MiB.
   */
  readonly maxReceiveBytes?: number;
  /**
   * Of smux version 2: what a stream's peer may have under way, in bytes. Default 65,536, as in GOST, and four times as much while
   * the session holds little that waits to be read.
   */
  readonly maxStreamBytes?: number;
  /** Of yamux: the same. Default, and least: 262,144. */
  readonly maxWindowBytes?: number;
  /** Streams that may be open at once; the peer's further ones are refused. Default 4,096. */
  readonly maxStreams?: number;
  /** A session without a stream ends after so many milliseconds. Default 0: never. */
  readonly idleMs?: number;
}

/** The same, complete. */
export interface CompleteMuxSettings extends Required<MuxSettings> {
  /** Of smux version 2: `maxStreamBytes` while the session holds little. */
  readonly roomyStreamBytes: number;
}

/** Fills in defaults, and keeps numbers within what the protocols can say. As in GOST 0 means the default, except where it says "never". */
export function completeMuxSettings(settings: MuxSettings): CompleteMuxSettings {
  const { type = 'smux', version = 1, idleMs = 0 } = settings;
  const isYamux = type === 'yamux';
  const keepAliveMs = settings.keepAliveMs ?? (isYamux ? 30_000 : 10_000);
  const maxStreamBytes = settings.maxStreamBytes || 65_536;
  const maxReceiveBytes = settings.maxReceiveBytes || (isYamux ? 64 : 4) * 1024 * 1024;
  return {
    type,
    version,
    keepAliveMs,
    keepAliveTimeoutMs: Math.max(settings.keepAliveTimeoutMs || (isYamux ? 40_000 : 30_000), keepAliveMs),
    maxFrameBytes: Math.min(settings.maxFrameBytes || 32_768, smuxMaxPayloadBytes),
    maxReceiveBytes,
    maxStreamBytes: Math.min(maxStreamBytes, maxReceiveBytes),
    // Nobody can be let have less than this before the first update, so that it is nothing new.
    roomyStreamBytes: Math.min(settings.maxStreamBytes || smuxInitialWindowBytes, maxReceiveBytes),
    maxWindowBytes: Math.max(settings.maxWindowBytes ?? 0, yamuxInitialWindowBytes),
    maxStreams: settings.maxStreams || 4096,
    idleMs,
  };
}
