/**
 * The wire and the SDK of Sallyport's plugins: every decision of a GOST-style proxy, asked over gRPC or HTTP.
 * It knows nothing of proxies.
 */
export * from './contract.ts';
export * from './errors.ts';
export * from './contracts/index.ts';
export type { JsonObject, JsonValue } from './wire/go-json.ts';
