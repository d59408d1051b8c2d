import type { Address } from '../../core/conn.ts';
import { formatRelayRequest } from '../../wire/relay.ts';
import type { RelayRequest } from '../../wire/relay.ts';
import type { TunnelWish } from './wish.ts';

/**
 * A visitor's request as another node is sent it: with the tunnel that it leads to in place of what the visitor said, since that
 * node need not know who is public here, and one of GOST's goes by the tunnel alone.
 */
export function passedOnAs(request: RelayRequest, tunnel: string): Buffer {
  const features = request.features.map((one) => (one.type === 'tunnel' ? { ...one, id: tunnel } : one));
  return formatRelayRequest({ ...request, features });
}

/** On whose behalf a visitor comes: whom it says, or itself where it says no address. */
export function visitorOf({ source }: TunnelWish, client: Address): Address {
  const isNobody = source === undefined || ['', '0.0.0.0', '::'].includes(source.host);
  return isNobody ? client : source;
}
