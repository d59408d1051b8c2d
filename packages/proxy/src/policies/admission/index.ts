export { admissionFields } from './fields.ts';
export { listAdmission } from './list.ts';
export type { ListAdmissionOptions } from './list.ts';
