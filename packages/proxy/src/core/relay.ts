import type { Conn } from './conn.ts';
import { ProxyError } from './errors.ts';

/** Bytes so far; whoever holds it may read it while the relay runs. */
export interface Traffic {
  /** From the client. */
  received: number;
  /** To the client. */
  sent: number;
}

/**
 * Carries bytes both ways until both directions have ended. Each direction ends by itself: what one side half-closes is
 * half-closed on the other. A reset on one side resets the other. Resolves with the error that broke it, or undefined;
 * both connections are then over or closing. Never rejects.
 */
export async function relay(client: Conn, upstream: Conn, traffic: Traffic): Promise<ProxyError | undefined> {
  const up = pump(client, upstream, (bytes) => (traffic.received += bytes));
  const down = pump(upstream, client, (bytes) => (traffic.sent += bytes));
  // The first to fail is the reason; the other direction then fails because of it.
  let first: ProxyError | undefined;
  const watch = (direction: Promise<void>) =>
    direction.catch((error: unknown) => {
      first ??= ProxyError.from(error);
    });
  await Promise.all([watch(up), watch(down)]);
  return first;
}

async function pump(from: Conn, to: Conn, count: (bytes: number) => void): Promise<void> {
  try {
    for (;;) {
      const bytes = await from.read();
      if (bytes === null) break;
      count(bytes.length);
      await to.write(bytes);
    }
    await to.end();
  } catch (error) {
    from.reset();
    to.reset();
    throw error;
  }
}
