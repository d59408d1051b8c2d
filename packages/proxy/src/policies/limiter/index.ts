export { limiterFields } from './fields.ts';
export { listLimiter } from './list.ts';
