import { createForwarder } from '../../chain/chain.ts';
import { createHop } from '../../chain/hop.ts';
import { defaultSelector } from '../../chain/selector.ts';
import { startHandler } from '../../core/http/proxy.fixture.ts';
import type { TestParts, TestProxy } from '../../core/http/proxy.fixture.ts';
import { connectPeer, startOrigin } from '../../core/peer.fixture.ts';
import type { Cleanup, Peer, TestOrigin } from '../../core/peer.fixture.ts';
import type { Address } from '../../core/conn.ts';
import { formatRelayRequest, formatRelayResponse, relayUdpFlag } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { relayNetworks } from '../../wire/relay-features.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import { directWay } from '../socks5/scene.fixture.ts';
import { relay } from './index.ts';

/** Bytes as a peer of a test says them. */
const text = (bytes: Buffer) => bytes.toString('latin1');

/** An answer without features. */
export const answer = (status: number) => text(formatRelayResponse(status));
export const ok = answer(0);

/** A request of any kind. */
export function asks(request: Partial<RelayRequest>): string {
  return text(formatRelayRequest({ command: 1, flags: 0, features: [], ...request }));
}

/** A request for a connection. */
export function connects(host: string, port: number, ...more: RelayFeature[]): string {
  return asks({ features: [...more, { type: 'addr', address: { host, port } }] });
}

/** A request for datagrams, as GOST writes it: of one target, or with BIND of any. */
export function connectsUdp(address: Address, command = 1): string {
  return asks({
    command,
    flags: relayUdpFlag,
    features: [
      { type: 'network', network: relayNetworks.udp },
      { type: 'addr', address },
    ],
  });
}

export function userAuth(username: string, password: string): RelayFeature {
  return { type: 'userAuth', username, password };
}

/** A user is right whose password is their name. */
export const auth: TestParts['auth'] = {
  authenticate: ({ username, password }) => ({
    ok: username !== '' && username === password,
    user: `id-${username}`,
  }),
};

/** A service of the handler, with UDP. */
export function startRelay(cleanup: Cleanup, parts: TestParts = {}): Promise<TestProxy> {
  return startHandler(cleanup, relay.handler!, { direct: directWay, ...parts });
}

/** A service, an origin, and a client that has said nothing yet. */
export async function scene(
  cleanup: Cleanup,
  parts: TestParts = {},
): Promise<{ origin: TestOrigin; service: TestProxy; client: Peer }> {
  const origin = await startOrigin(cleanup);
  const service = await startRelay(cleanup, parts);
  return { origin, service, client: await connectPeer(cleanup, service.port) };
}

/** A forwarder to ports of this machine. */
export function forwarderTo(...ports: number[]): NonNullable<TestParts['forwarder']> {
  return createForwarder(
    createHop({
      name: 'test',
      selector: { ...defaultSelector, strategy: 'fifo' },
      nodes: ports.map((port, index) => ({
        name: `node-${String(index)}`,
        address: { host: '127.0.0.1', port },
        dialer: (under) => under,
        connector: { metadata: {}, connect: () => Promise.reject(new Error('not a chain')) },
        options: { metadata: {}, node: { host: '127.0.0.1', port } },
      })),
    }),
  );
}
