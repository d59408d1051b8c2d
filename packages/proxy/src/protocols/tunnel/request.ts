import type { Address } from '../../core/conn.ts';
import type { ConnectorOptions } from '../../core/protocol.ts';
import { parseIp } from '../../wire/ip.ts';
import { relayCommands, relayUdpFlag } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { relayNetworks } from '../../wire/relay-features.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';
import type { ConnectorMetadata } from './options.ts';

/** What is said where there is no address to tell. */
const unspecified: Address = { host: '0.0.0.0', port: 0 };

/** What a connector asks of a node. */
export interface TunnelAsk {
  readonly command: keyof Pick<typeof relayCommands, 'connect' | 'bind'>;
  readonly network: 'tcp' | 'udp';
  readonly tunnel: string;
  readonly source: Address;
  readonly target: Address;
}

/** The request; its features stand in the order in which GOST sends them. */
export function tunnelRequest(asked: TunnelAsk, { auth, metadata }: ConnectorOptions): RelayRequest {
  const { command, network, tunnel: id, source, target } = asked;
  const { tunnelWeight: weight = 0, recordMode } = metadata as ConnectorMetadata;
  const features: RelayFeature[] = [];
  if (network === 'udp') features.push({ type: 'network', network: relayNetworks.udp });
  if (auth !== undefined) features.push({ type: 'userAuth', ...auth });
  features.push(
    { type: 'addr', address: source },
    { type: 'addr', address: target },
    { type: 'tunnel', id, flags: 0, weight },
  );
  // A peer that speaks an older version of the protocol refuses a request that holds this one.
  if (recordMode !== undefined) features.push({ type: 'metadata', pairs: [['record.mode', recordMode]] });
  return { command: relayCommands[command], flags: network === 'udp' ? relayUdpFlag : 0, features };
}

/** The first of the addresses that is one of IP, which is all that the protocol can say of a source; none: `0.0.0.0:0`. */
export function sourceOf(...addresses: readonly (Address | undefined)[]): Address {
  return (
    addresses.find((address) => address !== undefined && parseIp(address.host) !== undefined) ?? unspecified
  );
}
