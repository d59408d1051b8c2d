export { routerFields } from './fields.ts';
export { listRouter } from './list.ts';
