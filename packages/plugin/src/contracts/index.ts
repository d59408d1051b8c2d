import type { Contract, ModuleKind } from '../contract.ts';
import { admission } from './admission.ts';
import { auth } from './auth.ts';
import { bypass } from './bypass.ts';
import { hop } from './hop.ts';
import { hosts } from './hosts.ts';
import { ingress } from './ingress.ts';
import { limiter } from './limiter.ts';
import { observer } from './observer.ts';
import { recorder } from './recorder.ts';
import { resolver } from './resolver.ts';
import { rewriter } from './rewriter.ts';
import { router } from './router.ts';
import { sd } from './sd.ts';

export * from './admission.ts';
export * from './auth.ts';
export * from './bypass.ts';
export * from './hop.ts';
export * from './hosts.ts';
export * from './ingress.ts';
export * from './limiter.ts';
export * from './observer.ts';
export * from './recorder.ts';
export * from './resolver.ts';
export * from './rewriter.ts';
export * from './router.ts';
export * from './sd.ts';

/** Every contract by its module's name: `contractByKind.auth`. The types of its methods are kept. */
export const contractByKind = {
  admission,
  auth,
  bypass,
  hop,
  hosts,
  ingress,
  limiter,
  observer,
  recorder,
  resolver,
  rewriter,
  router,
  sd,
} as const;

/** All thirteen contracts, sorted by name, for whoever treats them alike. */
export const contracts: readonly Contract[] = Object.values<Contract>(contractByKind);

/** The contract of a module whose name is only known at run time. */
export function contractOf(kind: ModuleKind): Contract {
  return contractByKind[kind];
}
