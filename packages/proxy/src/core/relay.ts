import { isSameAddress } from './address.ts';
import type { Conn } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import { ProxyError } from './errors.ts';
import { asMetered, noBuckets } from './metered-conn.ts';
import type { Shaped } from './metered-conn.ts';
import type { Bucket } from './meter.ts';
import { threadWheel } from './wheel.ts';
import type { Wheel } from './wheel.ts';

/** Bytes so far; whoever holds it may read it while the relay runs. */
export interface Traffic {
  /** From the client. */
  received: number;
  /** To the client. */
  sent: number;
  /** Datagrams of either direction that were not passed on, for their rate or for want of room. */
  dropped?: number;
}

/** How two connections are relayed. */
export interface RelayOptions {
  /** Where bytes are counted. A client that is metered with the same object counts them itself, and once. */
  readonly traffic?: Traffic;
  /**
   * After so many milliseconds without a byte either way both connections are reset. Default 0: never, as in GOST. Bytes that
   * wait for a rate are no idleness; a peer that does not read what waits for it is.
   */
  readonly idleMs?: number;
  /** For the idle timeout. Default: the thread's. */
  readonly wheel?: Wheel;
}

/**
 * Carries bytes both ways until both directions have ended. Each direction ends by itself: what one side half-closes is
 * half-closed on the other. A reset on one side resets the other. Nobody is read faster than the other side takes it; rates
 * are the business of a client that is a MeteredConn. Resolves with the error that broke it (`idleTimeout` when nothing
 * happened for too long), or undefined; both connections are then over or closing. Never rejects.
 */
export async function relay(
  client: Conn,
  upstream: Conn,
  { traffic, idleMs = 0, wheel = threadWheel }: RelayOptions = {},
): Promise<ProxyError | undefined> {
  const metered = [asMetered(client), asMetered(upstream)];
  const counted = metered[0]?.traffic === traffic ? undefined : traffic;
  // The first to fail is the reason; the other direction then fails because of it.
  let first: ProxyError | undefined;
  let lastMs = wheel.now();
  const isWatched = idleMs > 0;
  const idle = wheel.timer(() => {
    const leftMs = metered.some((conn) => conn?.isHeldBack) ? idleMs : lastMs + idleMs - wheel.now();
    if (leftMs > 0) {
      idle.start(leftMs);
      return;
    }
    first ??= new ProxyError('idleTimeout', 'client', `nothing came or went for ${String(idleMs)} ms`);
    client.reset();
    upstream.reset();
  });
  if (isWatched) idle.start(idleMs);
  const up = pump(client, upstream, (bytes) => {
    if (counted !== undefined) counted.received += bytes;
    if (isWatched) lastMs = wheel.now();
  });
  let isRead = false;
  const down = pump(
    upstream,
    client,
    (bytes) => {
      if (counted !== undefined) counted.sent += bytes;
      if (isWatched) lastMs = wheel.now();
    },
    () => {
      isRead = true;
    },
  );
  const watch = (direction: Promise<void>) =>
    direction.catch((error: unknown) => {
      first ??= ProxyError.from(error);
    });
  const ended = watch(up);
  // Nobody reads a client any more that has ended its direction. If it breaks after that, the other direction is for nobody.
  void Promise.all([ended, client.closed]).then(() => {
    if (isRead) return;
    first ??= new ProxyError('clientClosed', 'client', 'the client went away before it had everything');
    upstream.reset();
  });
  await Promise.all([ended, watch(down)]);
  idle.stop();
  return first;
}

async function pump(from: Conn, to: Conn, note: (bytes: number) => void, read?: () => void): Promise<void> {
  try {
    for (;;) {
      const bytes = await from.read();
      if (bytes === null) break;
      note(bytes.length);
      await to.write(bytes);
    }
    read?.();
    await to.end();
  } catch (error) {
    from.reset();
    to.reset();
    throw error;
  }
}

/** How datagrams are relayed. */
export interface RelayDatagramsOptions {
  readonly traffic?: Traffic;
  /** After so many milliseconds without a datagram either way it ends. Default 0: only when an end closes. */
  readonly ttlMs?: number;
  /** Whose buckets count, as they are at each datagram. One that a bucket does not hold is dropped, as in GOST. */
  readonly shaped?: Shaped;
  /** Default: the thread's. */
  readonly wheel?: Wheel;
}

/** Why datagrams are no longer relayed: none came for the whole time, or that end was closed. */
export type DatagramsEnd = 'ttl' | 'client' | 'upstream';

/**
 * Carries datagrams both ways until an end is closed or none has come for `ttlMs`. Then both are closed. A datagram that
 * cannot be passed on at once is dropped and counted; nothing waits. A client that names targets as its peers (an association)
 * is served by name in both directions; one whose peer is always itself (a listener's) speaks with the upstream's `remote`.
 * Never rejects.
 */
export async function relayDatagrams(
  client: Datagrams,
  upstream: Datagrams,
  { traffic, ttlMs = 0, shaped = { buckets: noBuckets }, wheel = threadWheel }: RelayDatagramsOptions = {},
): Promise<DatagramsEnd> {
  let end!: (why: DatagramsEnd) => void;
  const ended = new Promise<DatagramsEnd>((resolve) => (end = resolve));
  void client.closed.then(() => {
    end('client');
  });
  void upstream.closed.then(() => {
    end('upstream');
  });
  let lastMs = wheel.now();
  const timer = wheel.timer(() => {
    const leftMs = lastMs + ttlMs - wheel.now();
    if (leftMs > 0) timer.start(leftMs);
    else end('ttl');
  });
  if (ttlMs > 0) timer.start(ttlMs);
  const passes = (buckets: readonly Bucket[], bytes: number): boolean => {
    lastMs = wheel.now();
    return takesAll(buckets, bytes, lastMs);
  };
  const count = (direction: 'received' | 'sent', bytes: number, passed: boolean) => {
    if (traffic === undefined) return;
    if (passed) traffic[direction] += bytes;
    else traffic.dropped = (traffic.dropped ?? 0) + 1;
  };
  let isNaming = false;
  client.receive((data, peer) => {
    isNaming = !isSameAddress(peer, client.remote);
    const passed = passes(shaped.buckets.in, data.length) && upstream.send(data, isNaming ? peer : undefined);
    count('received', data.length, passed);
  });
  upstream.receive((data, peer) => {
    const passed = passes(shaped.buckets.out, data.length) && client.send(data, isNaming ? peer : undefined);
    count('sent', data.length, passed);
  });
  const why = await ended;
  timer.stop();
  client.close();
  upstream.close();
  return why;
}

/** A datagram that one bucket refuses has been paid for in those before it; that is the safe side of a limit. */
function takesAll(buckets: readonly Bucket[], bytes: number, nowMs: number): boolean {
  for (const bucket of buckets) if (!bucket.tryTake(bytes, nowMs)) return false;
  return true;
}
