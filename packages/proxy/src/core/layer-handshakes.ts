import { formatAddress } from './address.ts';
import type { Accept, Address, Conn, End } from './conn.ts';
import { ProxyError } from './errors.ts';

/** How long a layer's handshake may take where the file does not say: enough for a slow line, short enough for a descriptor. */
const defaultHandshakeMs = 10_000;

/** Handshakes that one listener has under way at once, where the file does not say. Each holds a descriptor and some 50 KB. */
const defaultMaxPending = 4096;

/** What a listener's layer is told about its handshakes. */
export interface LayerHandshakeOptions {
  /** What hands are shaken for, as a message names it: `TLS`. */
  readonly what: string;
  /** In milliseconds. Absent or 0: 10 s. */
  readonly timeoutMs?: number;
  /** More at once are turned away. Absent or 0: 4,096. */
  readonly maxPending?: number;
  readonly accept: Accept;
  readonly problem: (error: ProxyError) => void;
}

/** The handshakes of a listener's layer: done beside its accept loop, bounded in time and number. */
export interface LayerHandshakes {
  /**
   * Gives `accept` what `shake` resolves with. When that takes too long the connection is reset; when it fails, the
   * connection is reset and `problem` is told why. No handshake harms another.
   */
  begin(under: Conn, shake: () => Promise<End>): void;
  /** Resolves when none is under way. */
  idle(): Promise<void>;
}

/** Makes the keeper of a listener's handshakes. It holds nothing while none is under way. */
export function createLayerHandshakes(options: LayerHandshakeOptions): LayerHandshakes {
  const { what, accept, problem } = options;
  const timeoutMs = options.timeoutMs || defaultHandshakeMs;
  const maxPending = options.maxPending || defaultMaxPending;
  const pending = new Set<Promise<void>>();
  const run = async (under: Conn, shake: () => Promise<End>) => {
    let late: ProxyError | undefined;
    const deadline = setTimeout(() => {
      const who = formatAddress(under.remote);
      const message = `${who} did not finish its ${what} handshake within ${seconds(timeoutMs)}`;
      late = new ProxyError('handshakeTimeout', 'client', message);
      under.reset();
    }, timeoutMs);
    let end: End;
    try {
      end = await shake();
    } catch (cause) {
      under.reset();
      problem(late ?? ProxyError.from(cause));
      return;
    } finally {
      clearTimeout(deadline);
    }
    accept(end);
  };
  return {
    begin(under, shake) {
      if (pending.size >= maxPending) {
        under.reset();
        const who = formatAddress(under.remote);
        const message = `${who} was turned away: ${String(maxPending)} ${what} handshakes are under way`;
        problem(new ProxyError('tooManyRequests', 'client', message));
        return;
      }
      const running = run(under, shake).finally(() => pending.delete(running));
      pending.add(running);
    },
    async idle() {
      await Promise.allSettled(pending);
    },
  };
}

/** Whom a dialer's layer shakes hands with, and for how long. */
export interface UpstreamHandshake {
  readonly what: string;
  readonly to: Address;
  readonly signal: AbortSignal;
  /** In milliseconds. Absent or 0: 10 s. */
  readonly timeoutMs?: number;
}

/**
 * Runs the handshake of a dialer's layer over a connection that has just been opened. Rejects with what `shake` rejects
 * with, `dialTimeout`, or `clientClosed` when the signal fires; the connection has then been reset.
 */
export async function shakeUpstream(
  under: Conn,
  { what, to, signal, ...options }: UpstreamHandshake,
  shake: () => Promise<Conn>,
): Promise<Conn> {
  const timeoutMs = options.timeoutMs || defaultHandshakeMs;
  let reason: ProxyError | undefined;
  const giveUp = (error: ProxyError) => {
    reason ??= error;
    under.reset();
  };
  const onAbort = () => {
    giveUp(new ProxyError('clientClosed', 'client', 'the client went away while its target was dialled'));
  };
  const deadline = setTimeout(() => {
    const message = `${formatAddress(to)} did not finish the ${what} handshake within ${seconds(timeoutMs)}`;
    giveUp(new ProxyError('dialTimeout', 'upstream', message, { retryable: true }));
  }, timeoutMs);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    if (signal.aborted) onAbort();
    const conn = await shake();
    if (reason !== undefined) throw reason;
    return conn;
  } catch (cause) {
    under.reset();
    throw reason ?? ProxyError.from(cause);
  } finally {
    clearTimeout(deadline);
    signal.removeEventListener('abort', onAbort);
  }
}

function seconds(ms: number): string {
  return `${String(ms / 1000)} s`;
}
