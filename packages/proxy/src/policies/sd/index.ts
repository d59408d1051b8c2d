export { sdFields } from './fields.ts';
export { redisSd } from './redis.ts';
export type { RedisSd } from './redis.ts';
