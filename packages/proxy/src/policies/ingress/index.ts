export { ingressFields } from './fields.ts';
export { listIngress } from './list.ts';
