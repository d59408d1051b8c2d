export { hostsFields } from './fields.ts';
export { listHosts } from './list.ts';
export type { HostMapping } from './list.ts';
