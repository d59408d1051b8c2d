import { checked } from '../../schema/checked.ts';
import { flag, list, optional } from '../../schema/read.ts';
import { parseAdmissionRule } from './rules.ts';

/** The keys of an admission in the file that say what it is, beside its name and where its rules may also come from. */
export const admissionFields = {
  whitelist: { ...optional(flag()), aliases: ['reverse'] },
  matchers: optional(list(checked('a rule', parseAdmissionRule))),
};
