import type { Address } from '../conn.ts';
import { ProxyError } from '../errors.ts';
import type { Credentials } from '../session.ts';
import { relayCommands, relayUdpFlag } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import { relayNetworks } from '../../wire/relay-features.ts';
import type { RelayFeature } from '../../wire/relay-features.ts';

/** What a client wants, as its request comes to. */
export interface Wish {
  readonly command: 'connect' | 'bind' | 'associate';
  readonly network: 'tcp' | 'udp';
  /** As the client wrote it. */
  readonly address: Address | undefined;
}

type FeatureOf<Type extends RelayFeature['type']> = Extract<RelayFeature, { readonly type: Type }>;

/** Who the client says it is; empty where it does not. Throws ProxyError `malformedRequest` where it says so twice. */
export function credentialsOf(request: RelayRequest): Credentials {
  const { username = '', password = '' } = onlyFeature(request, 'userAuth') ?? {};
  return { username, password };
}

/**
 * What a request asks of a service that serves targets or a forwarder's nodes. Metadata and features that are not known say
 * nothing. Throws ProxyError `malformedRequest` where it contradicts itself, `unsupported` where it asks for something else.
 */
export function wishOf(request: RelayRequest): Wish {
  if (onlyFeature(request, 'tunnel') !== undefined) {
    throw new ProxyError('unsupported', 'client', 'the request names a tunnel, and this service has none');
  }
  const address = onlyFeature(request, 'addr')?.address;
  return { command: commandOf(request), network: networkOf(request), address };
}

function commandOf({ command }: RelayRequest): Wish['command'] {
  switch (command) {
    case 0:
    case relayCommands.connect:
      return 'connect';
    case relayCommands.bind:
      return 'bind';
    case relayCommands.associate:
      return 'associate';
    default: {
      const message = `${String(command)} is no command of the relay protocol`;
      throw new ProxyError('unsupported', 'client', message);
    }
  }
}

/** What a request says that it carries. Throws ProxyError `malformedRequest` where it says two things, `unsupported` for neither. */
export function networkOf(request: RelayRequest): Wish['network'] {
  const network = onlyFeature(request, 'network')?.network;
  if ((request.flags & relayUdpFlag) !== 0) {
    if (network === undefined || network === relayNetworks.udp) return 'udp';
    throw malformed(`the request is for datagrams, and for network ${String(network)}`);
  }
  switch (network) {
    case undefined:
    case relayNetworks.tcp:
      return 'tcp';
    case relayNetworks.udp:
      return 'udp';
    default: {
      const message = `network ${String(network)} of the relay protocol is not served by this version`;
      throw new ProxyError('unsupported', 'self', message);
    }
  }
}

/**
 * The one feature of its kind. Of several GOST takes the last, and whoever sends two means something that we do not know: throws
 * ProxyError `malformedRequest`.
 */
export function onlyFeature<Type extends RelayFeature['type']>(
  { features }: RelayRequest,
  type: Type,
): FeatureOf<Type> | undefined {
  const found = features.filter((feature): feature is FeatureOf<Type> => feature.type === type);
  if (found.length > 1) throw malformed(`the request has the feature ${type} ${String(found.length)} times`);
  return found[0];
}

function malformed(message: string): ProxyError {
  return new ProxyError('malformedRequest', 'client', message);
}
