import { formatAddress } from '../../core/address.ts';
import type { Address, Conn } from '../../core/conn.ts';
import type { Datagrams } from '../../core/datagrams.ts';
import { Handshake } from '../../core/handshake.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { createUdpTunnel } from '../../core/udp-tunnel.ts';
import type { Context, Way } from '../../core/way.ts';
import { formatRelayRequest, relayCommands, relayUdpFlag } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { relayNetworks } from '../../wire/relay-features.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import { askRelay, readRelayAnswer } from '../../core/relay-messages/ask.ts';
import type { Asked } from '../../core/relay-messages/ask.ts';
import { createRelayDatagrams } from '../../core/relay-messages/datagrams.ts';
import { glueConn } from './glued-conn.ts';
import type { ConnectorMetadata } from './options.ts';

/** GOST asks so for datagrams to any peer. */
const unspecified: Address = { host: '0.0.0.0', port: 0 };

/**
 * Asks a relay node for a connection to the target. With `nodelay` the node's answer is waited for, and it rejects with
 * ProxyError as {@link Connector.connect}. Without, the answer comes with the first bytes of the target, because GOST's nodes
 * hold it back until then; where it is a no, that is the error of the first read.
 */
export function connectRelay(
  node: Conn,
  target: Address,
  options: ConnectorOptions,
  context: Context,
): Promise<Conn> {
  return open(node, { target, network: 'tcp' }, options, context);
}

/** As {@link connectRelay}, for the datagrams of one target. */
export async function connectRelayDatagrams(
  node: Conn,
  target: Address,
  options: ConnectorOptions,
  context: Context,
): Promise<Datagrams> {
  return createRelayDatagrams(await open(node, { target, network: 'udp' }, options, context), target);
}

/** Asks a relay node to carry datagrams to any peer; GOST's needs `bind: true`. Rejects as {@link Connector.associate}. */
export async function associateRelay(
  node: Conn,
  _under: Way,
  options: ConnectorOptions,
  context: Context,
): Promise<Datagrams> {
  const wish: Wish = { target: undefined, network: 'udp' };
  return createUdpTunnel(await ask(node, wish, options, context), 'upstream');
}

/** What is asked of a node. Without a target: datagrams to any peer. */
interface Wish {
  readonly target: Address | undefined;
  readonly network: 'tcp' | 'udp';
}

async function open(node: Conn, wish: Wish, options: ConnectorOptions, context: Context): Promise<Conn> {
  if ((options.metadata as ConnectorMetadata).nodelay === true) return ask(node, wish, options, context);
  try {
    return glueConn(node, {
      head: formatRelayRequest(requestOf(wish, options)),
      async before() {
        const handshake = new Handshake(node, { side: 'upstream' });
        try {
          await readRelayAnswer(handshake, askedOf(wish), options);
        } catch (error) {
          node.reset();
          throw error;
        } finally {
          handshake.done();
        }
      },
    });
  } catch (error) {
    node.reset();
    throw error;
  }
}

/** Asks, and waits for the answer. Where it rejects the connection has been reset. */
async function ask(node: Conn, wish: Wish, options: ConnectorOptions, { signal }: Context): Promise<Conn> {
  const { connectTimeoutMs: timeoutMs } = options.metadata as ConnectorMetadata;
  await askRelay(node, requestOf(wish, options), askedOf(wish), options, { signal, timeoutMs });
  return node;
}

/** The features stand in the order in which GOST sends them. */
function requestOf({ target, network }: Wish, { auth }: ConnectorOptions): RelayRequest {
  const features: RelayFeature[] = [];
  if (network === 'udp') features.push({ type: 'network', network: relayNetworks.udp });
  if (auth !== undefined) features.push({ type: 'userAuth', ...auth });
  features.push({ type: 'addr', address: target ?? unspecified });
  return {
    command: target === undefined ? relayCommands.bind : relayCommands.connect,
    flags: network === 'udp' ? relayUdpFlag : 0,
    features,
  };
}

/** The same in words. */
function askedOf({ target }: Wish): Asked {
  return target === undefined
    ? { what: 'datagrams to any peer', verb: 'carry' }
    : { what: formatAddress(target) };
}
