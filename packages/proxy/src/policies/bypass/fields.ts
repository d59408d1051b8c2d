import { parseAddressRule } from '../../core/match/address-matcher.ts';
import { checked } from '../../schema/checked.ts';
import { flag, list, optional, word } from '../../schema/read.ts';

/** The keys of a bypass in the file that say what it is, beside its name and where its rules may also come from. */
export const bypassFields = {
  whitelist: { ...optional(flag()), aliases: ['reverse'] },
  network: optional(word('network', ['tcp', 'udp'])),
  matchers: optional(list(checked('a rule', parseAddressRule))),
};
