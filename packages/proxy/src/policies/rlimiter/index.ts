export { rateLimiterFields } from './fields.ts';
export { createRateLimiter } from './list.ts';
export type { ListRateLimiter, RateLimits } from './list.ts';
