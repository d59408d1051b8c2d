import type { CallEvent } from '@sallyport/plugin';
import type { BackgroundQueue } from '../../core/background-queue.ts';
import { ProxyError } from '../../core/errors.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Decider } from '../../core/route.ts';
import { formatUuid, parseUuid } from '../../wire/uuid.ts';
import type { TunnelRule } from './tunnels.ts';

/** What an ingress has for a host, read: GOST's UUID with `$` in front for a private tunnel. What is no UUID leads nowhere. */
export function parseTunnelRule(endpoint: string | undefined): TunnelRule | undefined {
  if (endpoint === undefined) return undefined;
  const isPrivate = endpoint.startsWith('$');
  const uuid = parseUuid(isPrivate ? endpoint.slice(1) : endpoint);
  if (uuid?.some((byte) => byte !== 0) !== true) return undefined;
  return { id: formatUuid(uuid), isPrivate };
}

/** Which ingress is asked, in whose name. */
export interface RuleAsk {
  readonly ingress: PolicyOf<'ingress'>;
  readonly service: string;
  readonly host: string;
}

/** Asks what the ingress has for a host. Rejects as {@link Decider.decide}. */
export function askEndpoint(
  { ingress, service, host }: RuleAsk,
  decider: Decider,
): Promise<string | undefined> {
  return decider.decide({
    module: 'ingress',
    about: host,
    ask: (call) => ingress.getRule({ host, service }, call),
    tell: (answer) => ({ outcome: answer === undefined ? 'no' : 'yes', answer: answer ?? '' }),
  });
}

/**
 * Tells the ingress in the background that a host leads to a tunnel. A rule that makes the same tunnel private is left as it is:
 * GOST overwrites it, and from then on the tunnel is open to everybody. `claims`: the host is a name that anybody may want, and
 * whoever has it by then keeps it.
 */
export function setRule(
  { ingress, service, host }: RuleAsk,
  { tunnel, claims }: { readonly tunnel: string; readonly claims: boolean },
  queue: BackgroundQueue,
): void {
  queue.push(host, {
    kind: 'rule',
    async run(signal) {
      let last: CallEvent | undefined;
      const observe = (event: CallEvent) => (last = event);
      const endpoint = await ingress.getRule({ host, service }, { meta: {}, signal, observe });
      // That nobody could be asked is no answer, and what `onError` says in its place is none either.
      if (last !== undefined && last.outcome !== 'ok')
        throw new ProxyError('couldNotAsk', 'plugin', last.error ?? last.outcome);
      const rule = parseTunnelRule(endpoint);
      const isOurs = rule?.id === tunnel;
      if (isOurs ? rule.isPrivate : claims && endpoint !== undefined) return;
      await ingress.setRule({ host, endpoint: tunnel, service }, { meta: {}, signal });
    },
  });
}
