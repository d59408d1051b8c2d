import { parseLimitRule } from '../../core/match/limit-rules.ts';
import { checked } from '../../schema/checked.ts';
import { list, optional } from '../../schema/read.ts';
import { readTrafficLimit } from './traffic-limit.ts';

/** The keys of a traffic limiter in the file that say what it is, beside its name and where limits may also come from. */
export const limiterFields = {
  limits: optional(list(checked('a limit', (line) => parseLimitRule(line, readTrafficLimit)))),
};
