export { bypassFields } from './fields.ts';
export { listBypass } from './list.ts';
export type { ListBypass, ListBypassOptions } from './list.ts';
