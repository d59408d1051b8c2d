import { lookup } from 'node:dns/promises';
import { ProxyError } from '../../core/errors.ts';
import { tellLocal } from '../../core/local-event.ts';
import { createIpSet } from '../../core/match/ip-set.ts';
import { formatIp, ipOfPeer, networkOfOne, parseIp } from '../../core/match/ip.ts';
import type { Ip } from '../../core/match/ip.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { parseAdmissionRule } from './rules.ts';

/** What an admission of the configuration is made of. */
export interface ListAdmissionOptions {
  /** Addresses, networks, ranges, host names. Default none. */
  readonly matchers?: readonly string[];
  /** True: only who matches is admitted. Default false: who matches is not. */
  readonly whitelist?: boolean;
  /** What a host name stands for: addresses as text. Default: what the system says. */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
  /** How long one name may take. Default 5 s, the deadline of resolvers. */
  readonly resolveTimeoutMs?: number;
}

/** More would only wait: the system's look-ups share four threads. */
const maxLookups = 4;

/**
 * The admission whose rules stand in the configuration. Host names are looked up once, here, and stand for all of their
 * addresses (in GOST for one). A client without an IP address, as behind a unix socket, matches nothing. Rejects with
 * TypeError for a rule that cannot be read, and with ProxyError `nameNotFound` for a name that does not resolve, which
 * GOST drops, so that a client that should be refused gets in.
 */
export async function listAdmission({
  matchers = [],
  whitelist = false,
  resolve = resolveBySystem,
  resolveTimeoutMs = 5_000,
}: ListAdmissionOptions): Promise<PolicyOf<'admission'>> {
  const rules = createIpSet<string>();
  const names = new Set<string>();
  for (const text of matchers) {
    const rule = parseAdmissionRule(text);
    if (rule.kind === 'name') names.add(rule.name);
    else for (const network of rule.networks) rules.add(network, text);
  }
  const waiting = names.values();
  const worker = async () => {
    for (const name of waiting) {
      for (const ip of await addressesOf(name, resolve, resolveTimeoutMs)) {
        rules.add(networkOfOne(ip), `${name} (${formatIp(ip)})`);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(maxLookups, names.size) }, worker));
  return {
    admit({ client }, call) {
      const ip = ipOfPeer(client);
      const rule = ip === undefined ? undefined : rules.mostSpecific(ip);
      const reason =
        rule !== undefined ? `matches ${rule}` : whitelist ? 'matches no rule of the whitelist' : undefined;
      tellLocal(call, 'admission', 'admit', reason);
      return (rule !== undefined) === whitelist;
    },
  };
}

async function addressesOf(
  name: string,
  resolve: (name: string) => Promise<readonly string[]>,
  timeoutMs: number,
): Promise<readonly Ip[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`no answer within ${String(timeoutMs)} ms`));
    }, timeoutMs);
  });
  let cause: unknown;
  try {
    const texts = await Promise.race([resolve(name), late]);
    const ips = texts.map(parseIp).filter((ip) => ip !== undefined);
    if (ips.length > 0) return ips;
  } catch (error) {
    cause = error;
  } finally {
    clearTimeout(timer);
  }
  const why = cause instanceof Error ? `: ${cause.message}` : '';
  throw new ProxyError('nameNotFound', 'self', `the matcher "${name}" does not resolve to an address${why}`, {
    cause,
  });
}

async function resolveBySystem(name: string): Promise<readonly string[]> {
  const found = await lookup(name, { all: true });
  return found.map(({ address }) => address);
}
