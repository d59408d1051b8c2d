import type { MuxSettings } from './settings.ts';
import { metadataDurationMs } from '../../schema/durations.ts';
import { flag, optional, whole, word } from '../../schema/read.ts';
import type { Fields, FromFields, Located } from '../../schema/read.ts';

/** Numbers of GOST's configuration are Go's `int`, and its buffers are counted by 32 bits. */
const bytes = () => whole(0, 2 ** 31 - 1);

/** GOST's keys of both ends. What is 0 has its default. */
export const muxFields = {
  muxType: optional(word('mux type', ['smux', 'yamux']), 'mux.type'),
  muxVersion: optional(whole(0, 2), 'mux.version'),
  muxKeepAliveMs: optional(metadataDurationMs(), 'mux.keepaliveInterval'),
  muxKeepAliveDisabled: optional(flag(), 'mux.keepaliveDisabled'),
  muxKeepAliveTimeoutMs: optional(metadataDurationMs(), 'mux.keepaliveTimeout'),
  muxMaxFrameBytes: optional(whole(0, 65_535), 'mux.maxFrameSize'),
  muxMaxReceiveBytes: optional(bytes(), 'mux.maxReceiveBuffer'),
  muxMaxStreamBytes: optional(bytes(), 'mux.maxStreamBuffer'),
  muxMaxWindowBytes: optional(bytes(), 'mux.maxStreamWindow'),
} as const satisfies Fields;

/** What a WebSocket beneath reads for itself. */
export const handshakeFields = {
  handshakeTimeoutMs: optional(metadataDurationMs(), 'handshakeTimeout'),
} as const satisfies Fields;

/** The same, of a listener. */
export const backlogFields = { backlog: optional(whole(0)) } as const satisfies Fields;

/** What the file says, and what the layers beneath may have read. */
export type MuxOptions = Partial<
  Omit<FromFields<typeof muxFields & typeof handshakeFields & typeof backlogFields>, keyof Located>
>;

/** The session that the file asks for; `version` is what the row of the list has where the file has none. */
export function muxSettings(options: MuxOptions, version: 1 | 2): MuxSettings {
  const { muxType, muxKeepAliveMs, muxKeepAliveDisabled = false } = options;
  return {
    ...(muxType !== undefined && { type: muxType }),
    version: (options.muxVersion || version) as 1 | 2,
    ...(muxKeepAliveDisabled ? { keepAliveMs: 0 } : muxKeepAliveMs ? { keepAliveMs: muxKeepAliveMs } : {}),
    keepAliveTimeoutMs: options.muxKeepAliveTimeoutMs ?? 0,
    maxFrameBytes: options.muxMaxFrameBytes ?? 0,
    maxReceiveBytes: options.muxMaxReceiveBytes ?? 0,
    maxStreamBytes: options.muxMaxStreamBytes ?? 0,
    maxWindowBytes: options.muxMaxWindowBytes ?? 0,
  };
}
