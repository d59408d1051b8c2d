export { connLimiterFields } from './fields.ts';
export { createConnLimiter } from './list.ts';
export type { ConnLimits, ListConnLimiter } from './list.ts';
