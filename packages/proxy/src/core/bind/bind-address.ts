import { canonicalTarget } from '../address.ts';
import type { Address } from '../conn.ts';

/**
 * Where a client wants to be listened for, as `listen` takes it: an empty host stands for every address, IPv6 and IPv4, and so
 * do `0.0.0.0` and `::`, as in GOST. Names are looked up by who listens. Throws ProxyError `malformedRequest` for what can be no
 * address of a machine: GOST's relay client writes the host `0.0.0.0::2222` where its file says `:2222`.
 */
export function bindAddress({ host, port }: Address): Address {
  if (host === '' || host === '0.0.0.0' || host === '::') return { host: '', port };
  // Any port will do there, and none here.
  return { host: canonicalTarget({ host, port: 1 }).host, port };
}
