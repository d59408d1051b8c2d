import { formatAddress } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { createMuxSession } from '../../core/mux/mux-session.ts';
import type { MuxSession } from '../../core/mux/mux-session.ts';
import type { MuxSettings } from '../../core/mux/settings.ts';
import type { Context, Way } from '../../core/way.ts';

/**
 * A session without a stream is kept for so long: visitors come in bursts, and a connection costs a descriptor at both ends.
 * GOST keeps it for ever.
 */
const idleMs = 60_000;

/** A session may close in the moment in which it is chosen; more often than this somebody closes them on purpose. */
const maxAttempts = 3;

/** The sessions of one way. */
export interface MuxDialer {
  /**
   * Opens a stream in the session with this address, which is dialled where there is none: once, however many ask for it.
   * Rejects as the way below does; where the peer does not want the stream, that is seen by reading from it.
   */
  dial(to: Address, context: Context): Promise<Conn>;
  /** Ends sessions without a stream now, and the others when their last one has ended. */
  close(): Promise<void>;
}

/** A session that is being dialled, or is there. */
interface Kept {
  readonly ready: Promise<MuxSession>;
  session?: MuxSession;
  /** Those who wait for it; when the last one leaves it is given up. */
  waiters: number;
  readonly givenUp: AbortController;
}

/** Makes the keeper of the sessions over a way. */
export function createMuxDialer(under: Way, settings: MuxSettings): MuxDialer {
  const byAddress = new Map<string, Kept>();
  const open = new Set<MuxSession>();
  let isClosed = false;

  const start = (key: string, to: Address, context: Context): Kept => {
    const givenUp = new AbortController();
    const begin = async () => {
      // Others may come to wait for it; what is said of it is said in the name of the first.
      const conn = await under.dial(to, { ...context, signal: givenUp.signal });
      const session = createMuxSession(conn, {
        role: 'client',
        side: 'upstream',
        settings: { ...settings, idleMs },
      });
      open.add(session);
      void session.closed.then(() => {
        open.delete(session);
        forget(key, kept);
      });
      kept.session = session;
      if (isClosed) session.drain();
      return session;
    };
    const kept: Kept = { ready: begin(), waiters: 0, givenUp };
    byAddress.set(key, kept);
    kept.ready.catch(() => {
      forget(key, kept);
    });
    return kept;
  };
  const forget = (key: string, kept: Kept) => {
    if (byAddress.get(key) === kept) byAddress.delete(key);
  };

  return {
    async dial(to, context) {
      const key = formatAddress(to);
      for (let attempt = 1; ; attempt++) {
        checkWaited(context.signal);
        let kept = byAddress.get(key);
        if (kept?.session?.isOpen === false) kept = undefined;
        kept ??= start(key, to, context);
        const session = kept.session ?? (await waitFor(kept, context.signal, () => forget(key, kept)));
        if (session.isOpen || attempt === maxAttempts) return session.open();
      }
    },
    close() {
      isClosed = true;
      for (const session of open) session.drain();
      return Promise.resolve();
    },
  };
}

/** The session, or `clientClosed` when the signal fires first. */
async function waitFor(kept: Kept, signal: AbortSignal, abandon: () => void): Promise<MuxSession> {
  kept.waiters++;
  let onAbort!: () => void;
  const left = new Promise<never>((_, reject) => {
    onAbort = () => {
      reject(gaveUp());
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([kept.ready, left]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    kept.waiters--;
    if (kept.waiters === 0 && kept.session === undefined) {
      // Whoever comes now begins anew.
      abandon();
      kept.givenUp.abort(signal.reason);
    }
  }
}

function checkWaited(signal: AbortSignal): void {
  if (signal.aborted) throw gaveUp();
}

function gaveUp(): ProxyError {
  return new ProxyError('clientClosed', 'client', 'the client went away while its target was dialled');
}
