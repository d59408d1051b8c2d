import type { Conn } from './conn.ts';

/** How long a peer may take to read our last words. Long enough for a slow line, short enough for a descriptor. */
const defaultLingerMs = 5000;

/** How long it may take until the system has taken our last words, when the peer reads slowly. */
const maxFlushMs = 300_000;

/** What a peer may still send before it has read our last words. */
const maxLingerBytes = 1024 * 1024;

/**
 * Ends a connection whose peer may still be sending: half-closes, reads and drops what comes for at most `ms`
 * milliseconds after our last byte was taken by the system, and at most 1 MiB, then resets. Closing at once instead would make the kernel send RST, and the peer could lose the
 * reply that says what was wrong (RFC 9112, section 9.6). `read` is for a connection that is read through something
 * else. Resolves when the connection is closed; never rejects.
 */
export async function lingeringClose(
  conn: Conn,
  {
    ms = defaultLingerMs,
    read = () => conn.read(),
  }: { ms?: number; read?: () => Promise<Buffer | null> } = {},
): Promise<void> {
  const reset = () => {
    conn.reset();
  };
  let timer = setTimeout(reset, maxFlushMs);
  let over = false;
  const ended = conn.end();
  conn.leave?.();
  void ended.then(() => {
    if (over) return;
    clearTimeout(timer);
    timer = setTimeout(reset, ms);
  });
  try {
    let dropped = 0;
    for (let bytes = await read(); bytes !== null; bytes = await read()) {
      dropped += bytes.length;
      if (dropped > maxLingerBytes) conn.reset();
    }
    // Our own last bytes may still wait for the peer to read them.
    await conn.closed;
  } catch {
    // A peer that goes while its connection is being closed is what was wanted.
    conn.reset();
  } finally {
    over = true;
    clearTimeout(timer);
  }
}
