import type { contractByKind, ModuleKind, Policy } from '@sallyport/plugin';

/** A module's decisions as functions, whoever makes them: a built-in, a plugin, or a group of both. */
export type PolicyOf<K extends ModuleKind> = Policy<(typeof contractByKind)[K]['methods']>;
