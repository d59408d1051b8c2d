import { parseLimitRule } from '../../core/match/limit-rules.ts';
import { checked } from '../../schema/checked.ts';
import { list, optional } from '../../schema/read.ts';
import { readRateLimit } from './list.ts';

/** The keys of a rate limiter in the file that say what it is, beside its name and where limits may also come from. */
export const rateLimiterFields = {
  limits: optional(list(checked('a limit', (line) => parseLimitRule(line, readRateLimit)))),
};
