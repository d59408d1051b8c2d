import { isIP } from 'node:net';
import { canonicalTarget, formatAddress } from './address.ts';
import type { Address } from './conn.ts';
import { ProxyError } from './errors.ts';
import type { PolicyOf } from './policies.ts';
import type { Decider } from './route.ts';

/** Who says what names stand for. */
export interface Names {
  readonly hosts?: PolicyOf<'hosts'> | undefined;
  readonly resolver?: PolicyOf<'resolver'> | undefined;
  readonly user: string;
  readonly decider: Decider;
  /** Ends the questions early: the deadline of the connection that they are asked for. */
  readonly signal?: AbortSignal;
}

/**
 * What a target's name stands for: what `hosts` say, or else what the resolver says, or else the name itself, which then
 * means what the system, or the last node of the chain, takes it for. `hosts` are asked about addresses too, as in GOST;
 * a resolver is not, as there is nothing to resolve. Of several addresses the first counts, as in GOST. Rejects with
 * ProxyError `nameNotFound` where the resolver knows none, and `couldNotAsk`; system DNS never stands in for a module.
 */
export async function resolveName(target: Address, names: Names): Promise<Address> {
  const { hosts, resolver, user, decider, signal } = names;
  const early = signal === undefined ? {} : { signal };
  const { host, port } = target;
  // A unix socket has a path, which is no name.
  if (port === 0) return target;
  const ask = { network: 'ip', host, user };
  const tell = (ips: readonly string[]) => ({ outcome: 'yes', answer: ips.join(', ') }) as const;
  if (hosts !== undefined) {
    const ips = await decider.decide({
      ...early,
      module: 'hosts',
      about: host,
      ask: (call) => hosts.lookup(ask, call),
      tell,
    });
    if (ips[0] !== undefined) return canonicalTarget({ host: ips[0], port });
  }
  if (resolver === undefined || isIP(host) !== 0) return target;
  const ips = await decider.decide({
    ...early,
    module: 'resolver',
    about: host,
    ask: (call) => resolver.resolve(ask, call),
    tell: (found) => (found.length === 0 ? { outcome: 'no', answer: 'no address' } : tell(found)),
  });
  if (ips[0] === undefined) {
    throw new ProxyError(
      'nameNotFound',
      'upstream',
      `the resolver knows no address of ${formatAddress(target)}`,
      {
        status: 503,
      },
    );
  }
  return canonicalTarget({ host: ips[0], port });
}
