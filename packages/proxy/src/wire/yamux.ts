import { malformed } from './fault.ts';
import type { WireSide } from './fault.ts';
import type { Parsed } from './wire-reader.ts';

/** What a frame does. */
export type YamuxType = 'data' | 'windowUpdate' | 'ping' | 'goAway';

/** The types by their number on the wire. */
const types = ['data', 'windowUpdate', 'ping', 'goAway'] as const satisfies readonly YamuxType[];

/** The bits of the flags: the first and the second frame of a stream, the end of a direction, the end of both. */
export const yamuxFlags = { syn: 1, ack: 2, fin: 4, rst: 8 } as const;

/** Version, type, flags (16 bits), stream and length (32 bits each), big-endian. */
export const yamuxHeadBytes = 12;

/** What may be under way on a stream before any window update. */
export const yamuxInitialWindowBytes = 262_144;

/** Why a session takes no more streams. */
export const yamuxGoAway = { normal: 0, protocolError: 1, internalError: 2 } as const;

/**
 * The head of a frame of HashiCorp's yamux, version 0. `length` is how many bytes of data follow; or by how much a window
 * grows; or what a ping holds; or why the peer goes away. A stream's number is 0 where the session is meant.
 */
export interface YamuxHead {
  readonly type: YamuxType;
  readonly flags: number;
  readonly stream: number;
  readonly length: number;
}

const allFlags = Object.values(yamuxFlags).reduce<number>((all, flag) => all | flag, 0);

/**
 * Reads the head of a frame. Throws `malformedRequest` or `badUpstreamReply` for another version, an unknown type or flag,
 * data of the session itself, and what concerns the session but names a stream.
 */
export function parseYamuxHead(bytes: Buffer, side: WireSide): Parsed<YamuxHead> | undefined {
  const [version, second] = bytes;
  if (version === undefined) return undefined;
  if (version !== 0) throw malformed(side, `the peer speaks no yamux: it began with ${String(version)}`);
  if (second === undefined) return undefined;
  const type = types[second];
  if (type === undefined) throw malformed(side, `yamux has no frame of type ${String(second)}`);
  if (bytes.length < yamuxHeadBytes) return undefined;
  const flags = bytes.readUInt16BE(2);
  const stream = bytes.readUInt32BE(4);
  if ((flags & ~allFlags) !== 0) throw malformed(side, `a yamux frame has the flags ${flags.toString(16)}`);
  const isOfSession = type === 'ping' || type === 'goAway';
  if (isOfSession !== (stream === 0))
    throw malformed(side, `a yamux frame \`${type}\` of stream ${String(stream)}`);
  return { message: { type, flags, stream, length: bytes.readUInt32BE(8) }, length: yamuxHeadBytes };
}

/** Writes what {@link parseYamuxHead} reads. */
export function formatYamuxHead({ type, flags, stream, length }: YamuxHead): Buffer {
  const head = Buffer.allocUnsafe(yamuxHeadBytes);
  head[0] = 0;
  head[1] = types.indexOf(type);
  head.writeUInt16BE(flags, 2);
  head.writeUInt32BE(stream, 4);
  head.writeUInt32BE(length, 8);
  return head;
}
