import { randomUUID } from 'node:crypto';
import net from 'node:net';
import { once } from 'node:events';
import { startHandler } from '../../core/http/proxy.fixture.ts';
import type { TestParts, TestProxy } from '../../core/http/proxy.fixture.ts';
import type { Cleanup } from '../../core/peer.fixture.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Handler, NamedModules } from '../../core/protocol.ts';
import { udp } from '../../transports/udp/index.ts';
import { PacketFrames } from '../../wire/packet-frames.ts';
import {
  formatRelayDatagram,
  formatRelayRequest,
  parseRelayResponse,
  relayCommands,
} from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { relayNetworks } from '../../wire/relay-features.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import { WireReader } from '../../wire/wire-reader.ts';
import { ipPacket } from '../../wire/packets.fixture.ts';
import { router } from './index.ts';

/** Modules by name, as a file has them. */
export interface TestModules {
  readonly ingress?: Readonly<Record<string, PolicyOf<'ingress'>>>;
  readonly sd?: Readonly<Record<string, PolicyOf<'sd'>>>;
  readonly router?: Readonly<Record<string, PolicyOf<'router'>>>;
}

export type RouterParts = TestParts & { readonly modules?: TestModules };

/** A service of the handler, whose entrypoint is a real one. */
export function startRouterService(
  cleanup: Cleanup,
  { modules = {}, ...parts }: RouterParts = {},
): Promise<TestProxy> {
  const named: NamedModules = {
    ingress: (name) => modules.ingress?.[name],
    sd: (name) => modules.sd?.[name],
    router: (name) => modules.router?.[name],
    ingressOf: () => {
      throw new Error('a router has no rules of its own');
    },
  };
  const handler: Handler = {
    ...router.handler!,
    start: (host, options, before) => router.handler!.start!(host, { ...options, modules: named }, before),
  };
  return startHandler(cleanup, handler, {
    sockets: ({ peerTtlMs }) => udp.wrap(undefined, { metadata: { ttlMs: peerTtlMs } }),
    ...parts,
  });
}

/** Routes by destination: the gateway; each question is told. */
export function routesTo(routes: Readonly<Record<string, string>>, asked: string[] = []): PolicyOf<'router'> {
  return {
    getRoute({ destination }) {
      asked.push(destination);
      const gateway = routes[destination];
      return gateway === undefined ? undefined : { network: destination, gateway };
    },
  };
}

/** A site as a program of GOST's would be, over the frames alone. */
export interface TestSite {
  readonly socket: net.Socket;
  /** What it was told when it joined. */
  readonly status: number;
  /** What its connection is called. */
  readonly connector: string | undefined;
  readonly send: (...packets: Buffer[]) => void;
  /** The next packet that nobody has taken yet; rejects when the connection ends first. */
  next(): Promise<Buffer>;
  /** Packets that came and were not taken. */
  readonly waiting: Buffer[];
  readonly closed: Promise<unknown>;
}

export const routerId = '01234567-89ab-4def-8123-456789abcdef';

/** A request to join, which a test may spoil. */
export function joins(gateway: string, request: Partial<RelayRequest> = {}, id = routerId): Buffer {
  const features: readonly RelayFeature[] = [
    { type: 'network', network: relayNetworks.ip },
    { type: 'addr', address: { host: '192.0.2.1', port: 1234 } },
    { type: 'addr', address: { host: gateway, port: 0 } },
    { type: 'tunnel', id, flags: 0, weight: 0 },
  ];
  return formatRelayRequest({ command: relayCommands.associate, flags: 0, features, ...request });
}

/** Connects, and says these bytes. */
export async function join(cleanup: Cleanup, port: number, request: Buffer): Promise<TestSite> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  cleanup.add(socket, () => socket.destroy());
  socket.on('error', () => undefined);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  socket.write(request);
  const reader = new WireReader(parseRelayResponse);
  const frames = new PacketFrames();
  const packets: Buffer[] = [];
  let wake: () => void = () => undefined;
  let joined!: (response: ReturnType<typeof reader.push>) => void;
  const response = new Promise<ReturnType<typeof reader.push>>((resolve) => (joined = resolve));
  let hasJoined = false;
  const take = (bytes: Buffer) => {
    frames.push(bytes, (held, start, end) => packets.push(Buffer.from(held.subarray(start + 2, end))));
    wake();
  };
  socket.on('data', (bytes: Buffer) => {
    if (hasJoined) {
      take(bytes);
      return;
    }
    const message = reader.push(bytes);
    if (message === undefined) return;
    hasJoined = true;
    joined(message);
    take(reader.rest);
  });
  void closed.then(() => {
    joined(undefined);
    wake();
  });
  const told = await response;
  const connector = told?.features.find((feature) => feature.type === 'tunnel');
  return {
    socket,
    status: told?.status ?? -1,
    connector: connector?.type === 'tunnel' ? connector.id : undefined,
    send: (...sent) => void socket.write(Buffer.concat(sent.map(formatRelayDatagram))),
    waiting: packets,
    closed,
    async next() {
      while (packets.length === 0) {
        if (socket.destroyed) throw new Error('the connection ended before a packet came');
        await new Promise<void>((resolve) => (wake = resolve));
      }
      return packets.shift()!;
    },
  };
}

/** A site that joins the network of a router. */
export function joinAs(cleanup: Cleanup, port: number, gateway: string, id = routerId): Promise<TestSite> {
  return join(cleanup, port, joins(gateway, {}, id));
}

export const anotherId = () => randomUUID();

/** Where the two sites of most tests are. */
export const routes = { '10.2.0.5': 'site-b', '10.1.0.2': 'site-a', 'fd00:2::5': 'site-b' };
export const toB = (text: string): Buffer => ipPacket('10.1.0.2', '10.2.0.5', text);
export const toA = (text: string): Buffer => ipPacket('10.2.0.5', '10.1.0.2', text);

/** A service that asks this router. */
export function serviceOf(
  cleanup: Cleanup,
  policy: PolicyOf<'router'>,
  parts: RouterParts = {},
): Promise<TestProxy> {
  return startRouterService(cleanup, {
    ...parts,
    metadata: { router: 'routes', ...parts.metadata },
    modules: { ...parts.modules, router: { routes: policy, ...parts.modules?.router } },
  });
}

/** Two sites of one network. */
export async function twoSites(
  cleanup: Cleanup,
  policy: PolicyOf<'router'> = routesTo(routes),
  parts: RouterParts = {},
): Promise<{ service: TestProxy; a: TestSite; b: TestSite }> {
  const service = await serviceOf(cleanup, policy, parts);
  const a = await joinAs(cleanup, service.port, 'site-a');
  const b = await joinAs(cleanup, service.port, 'site-b');
  return { service, a, b };
}
