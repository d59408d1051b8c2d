import { tellLocal } from '../../core/local-event.ts';
import { createAddressMatcher } from '../../core/match/address-matcher.ts';
import { splitTarget } from '../../core/match/ports.ts';
import type { PolicyOf } from '../../core/policies.ts';

/** What a bypass of the configuration is made of. */
export interface ListBypassOptions {
  /** In the language of `core/match/address-matcher`. Default none. */
  readonly matchers?: readonly string[];
  /** True: what matches goes through, all else is passed by. Default false: what matches is passed by. */
  readonly whitelist?: boolean;
  /** Only targets of this network are looked at, all others go through. Default both. */
  readonly network?: 'tcp' | 'udp';
}

/** A bypass whose rules stand in the configuration. */
export interface ListBypass extends PolicyOf<'bypass'> {
  /**
   * True when what a name resolves to must be asked about once more, as a target of its own. Only of a blacklist: a name
   * that a whitelist lets through is let through whatever it resolves to, and no address makes up for one that it does not.
   */
  readonly speaksOfAddresses: boolean;
}

/**
 * The bypass whose rules stand in the configuration. As in GOST, a blacklist for one network without matchers passes by
 * all targets of that network. Unlike GOST: a whitelist without matchers passes by everything, as it names nothing that
 * may go through; and at a hop or node the target counts as matched when either the address that is dialled or the name
 * that was asked for is, so that rules about names keep working where names are resolved first. Throws TypeError for a rule
 * that cannot be read.
 */
export function listBypass({ matchers = [], whitelist = false, network }: ListBypassOptions): ListBypass {
  const rules = createAddressMatcher(matchers);
  const find = (target: string): string | undefined => {
    if (target === '') return undefined;
    const { host, port } = splitTarget(target);
    return rules.find(host, port);
  };
  const decide = (
    target: string,
    asked: string,
    over: string,
  ): { readonly passedBy: boolean; readonly reason: string | undefined } => {
    if (network !== undefined && over.replace(/[46]$/, '') !== network) {
      return { passedBy: false, reason: `is about ${network} only` };
    }
    if (rules.size === 0 && network !== undefined && !whitelist) {
      return { passedBy: true, reason: `matches all of ${network}` };
    }
    const rule = find(target) ?? find(asked);
    if (rule !== undefined) return { passedBy: !whitelist, reason: `matches ${rule}` };
    return { passedBy: whitelist, reason: whitelist ? 'matches no rule of the whitelist' : undefined };
  };
  return {
    speaksOfAddresses: !whitelist && rules.speaksOfAddresses,
    bypass(ask, call) {
      const { passedBy, reason } = decide(ask.target, ask.host, ask.network);
      tellLocal(call, 'bypass', 'bypass', reason);
      return passedBy;
    },
  };
}
