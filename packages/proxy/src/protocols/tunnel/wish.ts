import { canonicalTarget } from '../../core/address.ts';
import type { Address } from '../../core/conn.ts';
import { ProxyError } from '../../core/errors.ts';
import { networkOf, onlyFeature } from '../../core/relay-messages/request.ts';
import { relayCommands } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';

/** What a client of a tunnel's node asks for, as its request comes to. */
export interface TunnelWish {
  /** A visit, or to be visited. */
  readonly command: 'connect' | 'bind';
  readonly network: 'tcp' | 'udp';
  /** The tunnel's UUID, in small letters with its dashes. */
  readonly tunnel: string;
  /** How often a connector wants to be chosen beside others, 0 to 255. */
  readonly weight: number;
  /** Of a visitor: on whose behalf. As it was written. */
  readonly source: Address | undefined;
  /** Of a visitor: what is wanted; of a connector: as what it wants to be known. As it was written. */
  readonly target: Address | undefined;
}

const noTunnel = '00000000-0000-0000-0000-000000000000';

/**
 * What a request asks of a tunnel's node. The first address is the source, the second the target, as in GOST. Metadata and
 * features that are not known say nothing. Throws ProxyError `malformedRequest` where it names no tunnel or contradicts itself,
 * `unsupported` where it asks for something else.
 */
export function tunnelWishOf(request: RelayRequest): TunnelWish {
  const named = onlyFeature(request, 'tunnel');
  if (named === undefined || named.id === noTunnel)
    throw new ProxyError('malformedRequest', 'client', 'the request names no tunnel');
  const addresses = request.features.flatMap((one) => (one.type === 'addr' ? [one.address] : []));
  if (addresses.length > 2)
    throw new ProxyError(
      'malformedRequest',
      'client',
      `the request has ${String(addresses.length)} addresses`,
    );
  const [source, target] = addresses;
  const { id: tunnel, weight } = named;
  return { command: commandOf(request), network: networkOf(request), tunnel, weight, source, target };
}

function commandOf({ command }: RelayRequest): TunnelWish['command'] {
  if (command === relayCommands.connect) return 'connect';
  if (command === relayCommands.bind) return 'bind';
  throw new ProxyError('unsupported', 'client', `a tunnel's node knows no command ${String(command)}`);
}

/**
 * The host by which ingress is asked, made canonical as a target's; undefined: none is named, or any address. Throws ProxyError
 * `malformedRequest` for what no host can be called.
 */
export function hostOf(target: Address | undefined): string | undefined {
  if (target === undefined || ['', '0.0.0.0', '::'].includes(target.host)) return undefined;
  return canonicalTarget({ host: target.host, port: target.port || 1 }).host;
}
