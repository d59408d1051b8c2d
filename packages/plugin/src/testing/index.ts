/**
 * The conformance suite: what a plugin server and a plugin client must do, derived from the contracts, as cases that any
 * test framework can run; and what tests of plugins and proxies need besides: samples, servers that misbehave, a plugin
 * without a port, certificates.
 */
export type { ConformanceCase } from './conformance-case.ts';
export { serverConformance } from './server-conformance.ts';
export type { ServerConformanceOptions } from './server-conformance.ts';
export { clientConformance } from './client-conformance.ts';
export type { ClientConformanceOptions, ClientOptions, ConformingClient } from './client-conformance.ts';
export { faultsOf } from './faults.ts';
export type { Fault, FaultServer } from './fault.ts';
export { samplesOf } from './samples.ts';
export type { Sample } from './samples.ts';
export { echoPlugin } from './echo-plugin.ts';
export type { EchoedAsk, EchoPlugin } from './echo-plugin.ts';
export { inMemoryPlugin } from './in-memory-plugin.ts';
export type { InMemoryPluginOptions } from './in-memory-plugin.ts';
export { createAuthority } from './certificates.ts';
export type { Authority, CertificateRequest, IssuedCertificate } from './certificates.ts';
