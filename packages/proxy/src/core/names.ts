import { lookup } from 'node:dns/promises';
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
}

/**
 * What a target's name stands for: what `hosts` say, or else what the resolver says, or else the name itself, which then
 * means what the system, or the last node of the chain, takes it for. `hosts` are asked about addresses too, as in GOST;
 * a resolver is not, as there is nothing to resolve. Of several addresses the first counts, as in GOST. Rejects with
 * ProxyError `nameNotFound` where the resolver knows none, and `couldNotAsk`; system DNS never stands in for a module.
 */
export async function resolveName(target: Address, names: Names): Promise<Address> {
  const { hosts, resolver, user, decider } = names;
  const { host, port } = target;
  // A unix socket has a path, which is no name.
  if (port === 0) return target;
  const ask = { network: 'ip', host, user };
  const tell = (ips: readonly string[]) => ({ outcome: 'yes', answer: ips.join(', ') }) as const;
  if (hosts !== undefined) {
    const ips = await decider.decide({
      module: 'hosts',
      about: host,
      ask: (call) => hosts.lookup(ask, call),
      tell,
    });
    if (ips[0] !== undefined) return canonicalTarget({ host: ips[0], port });
  }
  if (resolver === undefined || isIP(host) !== 0) return target;
  const ips = await decider.decide({
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

/**
 * The first of the addresses that the system knows of a name which may be dialled; an address stays as it is. Rejects with
 * ProxyError `nameNotFound`, or with what `refuses` says of the first where all are refused.
 */
export async function systemAddress(
  target: Address,
  refuses: (address: Address) => ProxyError | undefined,
): Promise<Address> {
  const { host, port } = target;
  if (isIP(host) !== 0) return target;
  const unknown = (cause?: unknown) =>
    new ProxyError('nameNotFound', 'upstream', `there is no such name: ${host}`, { cause, status: 503 });
  const found = await lookup(host, { all: true, verbatim: true }).catch((cause: unknown) => {
    throw unknown(cause);
  });
  let refusal: ProxyError | undefined;
  for (const { address } of found) {
    const to = canonicalTarget({ host: address, port });
    const refused = refuses(to);
    if (refused === undefined) return to;
    refusal ??= refused;
  }
  throw refusal ?? unknown();
}
