import { tcp } from '../../transports/tcp/index.ts';
import type { SessionEvent } from '../events.ts';
import type { Handler } from '../protocol.ts';
import { startService } from '../service.ts';
import type { RunningService, ServiceParts } from '../service.ts';
import type { Cleanup } from '../peer.fixture.ts';

export { Cleanup, connectPeer, startOrigin } from '../peer.fixture.ts';
export type { Peer, TestOrigin } from '../peer.fixture.ts';

/** A real service on a free port, and everything that became known of its sessions. */
export interface TestProxy {
  readonly port: number;
  readonly service: RunningService;
  readonly events: SessionEvent[];
  /** Resolves with the first event, past or to come, that satisfies `wanted`. */
  event<K extends SessionEvent['kind']>(
    kind: K,
    wanted?: (event: Extract<SessionEvent, { kind: K }>) => boolean,
  ): Promise<Extract<SessionEvent, { kind: K }>>;
}

/** What a test says of its service beside the handler. */
export type TestParts = Partial<Omit<ServiceParts, 'options' | 'handler'>> & {
  readonly metadata?: Readonly<Record<string, unknown>>;
};

/** Starts a service with this handler as the program does. */
export async function startHandler(
  cleanup: Cleanup,
  handler: Handler,
  { metadata = {}, ...parts }: TestParts = {},
): Promise<TestProxy> {
  const way = tcp.wrap(undefined, { metadata: {} });
  const events: SessionEvent[] = [];
  const watchers = new Set<() => void>();
  const service = await startService({
    service: 'test',
    address: { host: '127.0.0.1', port: 0 },
    base: way,
    layers: (under) => under,
    direct: way,
    handler,
    options: { metadata },
    retries: 0,
    dialTimeoutMs: 5000,
    idleMs: 0,
    serve: () => Promise.reject(new Error('no other protocol')),
    publish(_session, event) {
      events.push(event);
      for (const watcher of [...watchers]) watcher();
    },
    problem(error) {
      throw error;
    },
    ...parts,
  });
  cleanup.add(service, () => service.close());
  return {
    port: service.address.port,
    service,
    events,
    event(kind, wanted = () => true) {
      return new Promise((resolve) => {
        const look = () => {
          const found = events.find(
            (event): event is Extract<SessionEvent, { kind: typeof kind }> =>
              event.kind === kind && wanted(event as Extract<SessionEvent, { kind: typeof kind }>),
          );
          if (found === undefined) return;
          watchers.delete(look);
          resolve(found);
        };
        watchers.add(look);
        look();
      });
    },
  };
}
