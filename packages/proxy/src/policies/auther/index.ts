export { listAuther } from './list.ts';
