import type { Conn } from '../conn.ts';
import { memoryConnPair } from '../memory-conn.fixture.ts';
import type { MemoryEnd } from '../memory-conn.fixture.ts';
import { formatSmuxHead, parseSmuxHead } from '../../wire/smux.ts';
import type { SmuxCommand, SmuxHead, SmuxVersion } from '../../wire/smux.ts';
import { formatYamuxHead } from '../../wire/yamux.ts';
import type { YamuxHead } from '../../wire/yamux.ts';
import { muxEnd } from './mux-pair.fixture.ts';
import type { MuxEnd } from './mux-pair.fixture.ts';
import type { MuxSettings } from './settings.ts';

/** A session whose peer is whatever a test writes: the frames themselves. */
export function rawPeer(
  settings: MuxSettings,
  role: 'client' | 'server' = 'server',
): MuxEnd & { raw: MemoryEnd } {
  const [client, upstream] = memoryConnPair();
  const [own, raw] = role === 'server' ? [client, upstream] : [upstream, client];
  return { ...muxEnd(own, role, settings), raw };
}

/** One smux frame. */
export function smuxFrame(
  version: SmuxVersion,
  command: SmuxCommand,
  stream: number,
  data: Buffer = Buffer.alloc(0),
): Buffer {
  return Buffer.concat([formatSmuxHead(version, { command, stream, length: data.length }), data]);
}

/** One yamux frame; `length` is that of the data unless it says otherwise. */
export function yamuxFrame(head: Partial<YamuxHead>, data: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([
    formatYamuxHead({ type: 'data', flags: 0, stream: 1, length: data.length, ...head }),
    data,
  ]);
}

/** Reads smux frames that a session writes, leaving out signs of life and what two Sallyports say to each other. */
export function smuxFrames(raw: Conn, version: 1 | 2) {
  let rest = Buffer.alloc(0);
  return async (): Promise<SmuxHead & { data: Buffer }> => {
    for (;;) {
      const head = parseSmuxHead(rest, version, 'client')?.message;
      if (head !== undefined && rest.length >= 8 + head.length) {
        const data = rest.subarray(8, 8 + head.length);
        rest = rest.subarray(8 + head.length);
        if (head.command !== 'nop') return { ...head, data };
        continue;
      }
      const bytes = await raw.read();
      if (bytes === null) throw new Error('ended');
      rest = Buffer.concat([rest, bytes]);
    }
  };
}
