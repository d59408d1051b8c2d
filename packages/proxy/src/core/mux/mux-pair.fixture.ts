import type { Conn } from '../conn.ts';
import { memoryConnPair } from '../memory-conn.fixture.ts';
import type { MemoryEnd } from '../memory-conn.fixture.ts';
import { createMuxSession } from './mux-session.ts';
import type { MuxSession } from './mux-session.ts';
import type { MuxSettings } from './settings.ts';

/** The protocols, as tests name them. */
export const muxKinds: readonly (readonly [string, MuxSettings])[] = [
  ['smux 1', { type: 'smux', version: 1 }],
  ['smux 2', { type: 'smux', version: 2 }],
  ['yamux', { type: 'yamux' }],
];

/** One end of a pair of sessions, and the streams that its peer opened, in order. */
export interface MuxEnd {
  readonly session: MuxSession;
  readonly conn: Conn;
  /** The next stream that the peer opens. */
  next(): Promise<Conn>;
}

/** A session over one end of a connection. */
export function muxEnd(conn: Conn, role: 'client' | 'server', settings: MuxSettings): MuxEnd {
  const ready: Conn[] = [];
  const waiting: ((stream: Conn) => void)[] = [];
  const session = createMuxSession(conn, {
    role,
    side: role === 'client' ? 'upstream' : 'client',
    settings,
    accept: (stream) => {
      const next = waiting.shift();
      if (next === undefined) ready.push(stream);
      else next(stream);
    },
  });
  return {
    session,
    conn,
    next: () => {
      const stream = ready.shift();
      return stream === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(stream);
    },
  };
}

/** Two sessions that are each other's peer. `split` says into how many bytes at most the next read is cut. */
export function muxPair(
  settings: MuxSettings,
  split?: () => number,
): { readonly client: MuxEnd; readonly server: MuxEnd } {
  const [a, b] = memoryConnPair();
  const cut = (conn: MemoryEnd): Conn => (split === undefined ? conn : inPieces(conn, split));
  return { client: muxEnd(cut(b), 'client', settings), server: muxEnd(cut(a), 'server', settings) };
}

function inPieces(conn: MemoryEnd, split: () => number): Conn {
  return {
    kind: 'stream',
    local: conn.local,
    remote: conn.remote,
    closed: conn.closed,
    async read() {
      const bytes = await conn.read();
      if (bytes === null) return null;
      const count = split();
      conn.unread(bytes.subarray(count));
      return bytes.subarray(0, count);
    },
    unread: (bytes) => {
      conn.unread(bytes);
    },
    write: (bytes) => conn.write(bytes),
    end: () => conn.end(),
    reset: () => {
      conn.reset();
    },
    get stream() {
      return conn.stream;
    },
  };
}

/** All bytes until the end. */
export async function readAll(conn: Conn): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) parts.push(bytes);
  return Buffer.concat(parts);
}
