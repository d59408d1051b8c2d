import { formatAddress } from './address.ts';
import type { End } from './conn.ts';
import { ProxyError } from './errors.ts';
import type { SessionFacts } from './events.ts';
import type { Way } from './way.ts';

/** How often one connection may come through the same service. Somebody may mean it once; a circle never ends. */
const maxVisits = 2;

/**
 * How many turns of the event loop an arrival may be ahead of the news that we have departed. The system tells of both in
 * the same turn or in two that follow each other.
 */
const maxTurns = 3;

/**
 * Knows the connections that this process made and that come back to it: a service that forwards to itself, directly, by
 * a chain, or around a circle of services, would otherwise take every descriptor within seconds.
 */
export interface LoopGuard {
  /** The same way, whose connections to our own services are remembered. */
  over(way: Way): Way;
  /** One of our services listens at this port from now on, until what is answered is called. */
  listens(port: number): () => void;
  /** True where a connection of ours may be coming back, so that `check` has to be waited for. */
  readonly expects: boolean;
  /** Rejects with ProxyError `loop` where the connection has come through the same service too often. */
  check(end: End, session: SessionFacts): Promise<void>;
  /** The session is over. */
  ended(session: SessionFacts): void;
}

/** Makes the guard of one process; all its services share it. */
export function createLoopGuard(): LoopGuard {
  const ports = new Map<number, number>();
  /** By our own end's address, the services that a connection came through. */
  const ours = new Map<string, readonly string[]>();
  /** By session, the services that it came through, itself included. Absent: itself alone. */
  const visits = new Map<string, readonly string[]>();
  let dialing = 0;
  return {
    over(way) {
      return {
        ...way,
        async dial(to, context) {
          // A unix socket has no port, and nobody at its other end a name.
          if (to.port === 0 || !ports.has(to.port)) return way.dial(to, context);
          dialing++;
          try {
            const conn = await way.dial(to, context);
            const { session = '', service = '' } = context;
            const key = formatAddress(conn.local);
            const came = [...(visits.get(session) ?? [service])];
            ours.set(key, came);
            void conn.closed.then(() => {
              // The system gives the same port out again, to another target even at the same time.
              if (ours.get(key) === came) ours.delete(key);
            });
            return conn;
          } finally {
            dialing--;
          }
        },
      };
    },
    listens(port) {
      if (port === 0) return () => undefined;
      ports.set(port, (ports.get(port) ?? 0) + 1);
      let isLeft = false;
      return () => {
        if (isLeft) return;
        isLeft = true;
        const left = (ports.get(port) ?? 1) - 1;
        if (left > 0) ports.set(port, left);
        else ports.delete(port);
      };
    },
    get expects() {
      return dialing > 0 || ours.size > 0;
    },
    async check(end, { id, service }) {
      // Datagrams have ports of their own, which say nothing of connections.
      if (end.kind !== 'stream') return;
      const key = formatAddress(end.remote);
      for (let turn = 0; turn < maxTurns && dialing > 0 && !ours.has(key); turn++) {
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
      }
      const came = ours.get(key);
      if (came === undefined) return;
      const times = came.filter((one) => one === service).length;
      if (times >= maxVisits) {
        const circle = [...came, service].join(' → ');
        throw new ProxyError('loop', 'self', `the connection runs in a circle: ${circle}`, { status: 508 });
      }
      visits.set(id, [...came, service]);
    },
    ended({ id }) {
      visits.delete(id);
    },
  };
}
