import { parseLimitRule } from '../../core/match/limit-rules.ts';
import { checked } from '../../schema/checked.ts';
import { list, optional } from '../../schema/read.ts';
import { readConnLimit } from './list.ts';

/** The keys of a connection limiter in the file that say what it is, beside its name and where limits may also come from. */
export const connLimiterFields = {
  limits: optional(list(checked('a limit', (line) => parseLimitRule(line, readConnLimit)))),
};
