export { createResolver } from './resolver.ts';
export type { BuiltInResolver, ResolverOptions } from './resolver.ts';
export { parseNameserver } from './address.ts';
export type { NameserverAddress, NameserverScheme } from './address.ts';
export type { DialTcp } from './exchange.ts';
export type { Nameserver } from './nameserver.ts';
export { resolverFields } from './fields.ts';
