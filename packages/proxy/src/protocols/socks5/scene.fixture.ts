import { createSocket } from 'node:dgram';
import type { Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Address } from '../../core/conn.ts';
import { createDatagramInbox } from '../../core/datagrams.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import type { SessionEvent } from '../../core/events.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Handler, HandlerOptions } from '../../core/protocol.ts';
import { startService } from '../../core/service.ts';
import type { RunningService, ServiceParts } from '../../core/service.ts';
import type { Context, Way } from '../../core/way.ts';
import { tcp } from '../../transports/tcp/index.ts';
import type { Cleanup } from '../../core/peer.fixture.ts';

/** A service of one handler on a free port, and everything that became known of its sessions. */
export interface TestService {
  readonly port: number;
  readonly service: RunningService;
  readonly events: SessionEvent[];
  /** Resolves with the first event, past or to come, of the kind. */
  event<K extends SessionEvent['kind']>(kind: K): Promise<Extract<SessionEvent, { kind: K }>>;
}

/** What a test service differs in. */
export interface TestServiceOptions {
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly tls?: HandlerOptions['tls'];
  readonly auth?: PolicyOf<'auth'>['authenticate'];
  readonly bypass?: PolicyOf<'bypass'>['bypass'];
  /** The way to targets. Default: {@link directWay}. */
  readonly way?: Way;
  readonly sockets?: NonNullable<ServiceParts['sockets']>;
}

/** Starts the handler behind plain TCP as the program does. */
export async function startHandler(
  cleanup: Cleanup,
  handler: Handler,
  { metadata = {}, tls, auth, bypass, way = directWay, sockets }: TestServiceOptions = {},
): Promise<TestService> {
  const events: SessionEvent[] = [];
  const watchers = new Set<() => void>();
  const service = await startService({
    service: 'test',
    address: { host: '127.0.0.1', port: 0 },
    base: directWay,
    layers: (under) => under,
    handler,
    options: { metadata, ...(tls !== undefined && { tls }) },
    ...(auth !== undefined && { auth: { authenticate: auth } }),
    ...(bypass !== undefined && { bypass: { bypass } }),
    ...(sockets !== undefined && { sockets }),
    direct: way,
    serve: () => Promise.reject(new Error('no other protocol here')),
    retries: 0,
    dialTimeoutMs: 10_000,
    idleMs: 0,
    publish(_session, event) {
      events.push(event);
      for (const watcher of watchers) watcher();
    },
    problem(error) {
      throw error;
    },
  });
  cleanup.add(service, () => service.close());
  return {
    port: service.address.port,
    service,
    events,
    event(kind) {
      return new Promise((resolve) => {
        const look = () => {
          const found = events.find((event) => event.kind === kind);
          if (found === undefined) return;
          watchers.delete(look);
          resolve(found as Extract<SessionEvent, { kind: typeof kind }>);
        };
        watchers.add(look);
        look();
      });
    },
  };
}

/** Plain TCP and UDP of the system. */
export const directWay: Way = { ...tcp.wrap(undefined, { metadata: {} }), packets: openPackets };

/** What a dial of a test is told. */
export function testContext(signal = new AbortController().signal): Context {
  return { signal };
}

/** A UDP socket of the system, to one peer or to any, on 127.0.0.1. */
async function openPackets(to?: Address): Promise<Datagrams> {
  const socket = await openUdp();
  const inbox = createDatagramInbox();
  socket.on('message', (bytes, { address, port }) => inbox.deliver(bytes, { host: address, port }));
  const closed = once(socket, 'close').then(() => undefined);
  let open = true;
  return {
    kind: 'datagrams',
    local: { host: '127.0.0.1', port: socket.address().port },
    remote: to ?? { host: '', port: 0 },
    closed,
    receive: inbox.receive,
    send(data, peer = to) {
      if (!open || peer === undefined) return false;
      socket.send(data, (to ?? peer).port, (to ?? peer).host);
      return true;
    },
    close() {
      if (open) socket.close();
      open = false;
    },
  };
}

/** A bound UDP socket of a loopback address, by default on a free port. */
export async function openUdp(address = '127.0.0.1', port = 0): Promise<UdpSocket> {
  const socket = createSocket('udp4');
  socket.bind({ address, port });
  await once(socket, 'listening');
  return socket;
}

/** A UDP server that answers each datagram with `echo:` and the same bytes. Answers its port and what it got. */
export async function startUdpEcho(cleanup: Cleanup): Promise<{ port: number; got: string[] }> {
  const socket = cleanup.add(await openUdp(), (open) => open.close());
  const got: string[] = [];
  socket.on('message', (bytes, { address, port }) => {
    got.push(bytes.toString());
    socket.send(Buffer.concat([Buffer.from('echo:'), bytes]), port, address);
  });
  return { port: socket.address().port, got };
}
