import type { Conn } from '../../core/conn.ts';

/** A connection's next bytes for several who take turns: whoever asks while a read is under way shares it. */
export function sharedReads(conn: Conn): () => Promise<Buffer | null> {
  let pending: Promise<Buffer | null> | undefined;
  return () =>
    (pending ??= conn.read().finally(() => {
      pending = undefined;
    }));
}

/** Resolves when the peer of a connection that carries nothing more has gone, or has half-closed. Never rejects. */
export async function untilPeerLeaves(read: () => Promise<Buffer | null>): Promise<void> {
  try {
    while ((await read()) !== null);
  } catch {
    // However it went, it has gone.
  }
}
