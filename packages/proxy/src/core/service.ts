import { performance } from 'node:perf_hooks';
import type { Address, Conn } from './conn.ts';
import { ProxyError } from './errors.ts';
import type { Protocol } from './protocol.ts';
import { createSession } from './session.ts';
import type { LiveSession, SessionSettings } from './session.ts';
import type { Way } from './way.ts';

/** A service that is served. */
export interface RunningService {
  /** Where it listens; a port 0 has become the one that the system chose. */
  readonly address: Address;
  /** Stops accepting; resolves when the last connection has ended. */
  stop(): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
}

/** What a service is made of. */
export interface ServiceParts extends SessionSettings {
  readonly address: Address;
  /** How clients reach it. */
  readonly entry: Way;
  readonly protocol: Protocol;
  /** Told what goes wrong outside any session. Returns at once and never throws. */
  readonly problem: (error: ProxyError) => void;
}

/**
 * Binds, and serves every connection with the protocol, each as a session of its own. One connection's error never
 * reaches another. Rejects with ProxyError when it cannot bind, nothing being left open.
 */
export async function startService(parts: ServiceParts): Promise<RunningService> {
  const { entry, protocol, publish } = parts;
  const live = new Map<LiveSession, { readonly conn: Conn; readonly ended: Promise<void> }>();

  const serve = async (conn: Conn, session: LiveSession): Promise<void> => {
    const started = performance.now();
    publish(session, { kind: 'opened' });
    let error: ProxyError | undefined;
    try {
      await protocol.handle(conn, session);
    } catch (cause) {
      error = ProxyError.from(cause);
      conn.reset();
    }
    await conn.closed;
    live.delete(session);
    publish(session, {
      kind: 'closed',
      ms: performance.now() - started,
      traffic: session.traffic,
      error,
    });
  };

  const accept = (conn: Conn) => {
    const session = createSession(conn, parts);
    live.set(session, { conn, ended: serve(conn, session) });
  };
  const listening = await entry.listen(parts.address, accept, parts.problem);
  const allEnded = async () => {
    await Promise.all([...live.values()].map(({ ended }) => ended));
  };
  let stopped: Promise<void> | undefined;
  const stop = () =>
    (stopped ??= (async () => {
      const closed = listening.close();
      for (const session of live.keys()) session.stop();
      await closed;
      await allEnded();
    })());
  return {
    address: listening.address,
    stop,
    async close() {
      const closed = stop();
      for (const { conn } of live.values()) conn.reset();
      await closed;
    },
  };
}
