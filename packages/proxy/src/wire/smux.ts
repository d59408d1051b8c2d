import { malformed } from './fault.ts';
import type { WireSide } from './fault.ts';
import type { Parsed } from './wire-reader.ts';

/** Both ends of a session must be configured with the same; nothing negotiates it. Version 2 adds windows to streams. */
export type SmuxVersion = 1 | 2;

/** What a frame does: opens a stream, ends it, carries bytes, keeps the session alive, or (version 2) moves a window. */
export type SmuxCommand = 'syn' | 'fin' | 'psh' | 'nop' | 'upd';

/** The commands by their number on the wire. */
const commands = ['syn', 'fin', 'psh', 'nop', 'upd'] as const satisfies readonly SmuxCommand[];

/** Bytes before the payload: version, command, length (16 bits) and stream (32 bits), the last two little-endian. */
export const smuxHeadBytes = 8;

/** The most that one frame can carry. */
export const smuxMaxPayloadBytes = 0xffff;

/** What a peer of version 2 may have under way on a stream before it has heard of any window. */
export const smuxInitialWindowBytes = 262_144;

/** A frame without its payload, of which `length` bytes follow. */
export interface SmuxHead {
  readonly command: SmuxCommand;
  readonly length: number;
  readonly stream: number;
}

/** What a peer of version 2 has read of a stream in all, modulo 2^32, and how much more than that it takes. */
export interface SmuxUpdate {
  readonly consumed: number;
  readonly window: number;
}

/** The payload of `upd`: two numbers of 32 bits, little-endian. */
export const smuxUpdateBytes = 8;

/**
 * Reads the head of a frame. Only `psh` and `upd` have a payload, and `upd` exactly 8 bytes, in version 2 alone; a frame that
 * says otherwise would be read differently by every implementation. Throws `malformedRequest` or `badUpstreamReply`.
 */
export function parseSmuxHead(
  bytes: Buffer,
  version: SmuxVersion,
  side: WireSide,
): Parsed<SmuxHead> | undefined {
  const [first, second] = bytes;
  if (first === undefined) return undefined;
  if (first !== version)
    throw malformed(side, `the peer speaks no smux of version ${String(version)}: it said ${String(first)}`);
  if (second === undefined) return undefined;
  const command = commands[second];
  if (command === undefined || (command === 'upd' && version === 1))
    throw malformed(side, `smux version ${String(version)} has no command ${String(second)}`);
  if (bytes.length < smuxHeadBytes) return undefined;
  const length = bytes.readUInt16LE(2);
  const expected = command === 'upd' ? smuxUpdateBytes : 0;
  if (command !== 'psh' && length !== expected)
    throw malformed(side, `an smux frame \`${command}\` of ${String(length)} bytes`);
  return { message: { command, length, stream: bytes.readUInt32LE(4) }, length: smuxHeadBytes };
}

/** Writes what {@link parseSmuxHead} reads. */
export function formatSmuxHead(version: SmuxVersion, { command, length, stream }: SmuxHead): Buffer {
  const head = Buffer.allocUnsafe(smuxHeadBytes);
  head[0] = version;
  head[1] = commands.indexOf(command);
  head.writeUInt16LE(length, 2);
  head.writeUInt32LE(stream, 4);
  return head;
}

/** Reads the payload of `upd`. Nothing can be wrong with its 8 bytes themselves. */
export function parseSmuxUpdate(bytes: Buffer): Parsed<SmuxUpdate> | undefined {
  if (bytes.length < smuxUpdateBytes) return undefined;
  const message = { consumed: bytes.readUInt32LE(0), window: bytes.readUInt32LE(4) };
  return { message, length: smuxUpdateBytes };
}

/** Writes a whole `upd` frame. */
export function formatSmuxUpdate(stream: number, { consumed, window }: SmuxUpdate): Buffer {
  const frame = Buffer.allocUnsafe(smuxHeadBytes + smuxUpdateBytes);
  formatSmuxHead(2, { command: 'upd', length: smuxUpdateBytes, stream }).copy(frame);
  frame.writeUInt32LE(consumed % 2 ** 32, smuxHeadBytes);
  frame.writeUInt32LE(window, smuxHeadBytes + 4);
  return frame;
}
