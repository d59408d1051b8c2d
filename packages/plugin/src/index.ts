/**
 * The wire and the SDK of Sallyport's plugins: every decision of a GOST-style proxy, asked over gRPC or HTTP.
 * It knows nothing of proxies.
 */
export * from './contract.ts';
export * from './errors.ts';
export * from './contracts/index.ts';
export type { JsonObject, JsonValue } from './wire/go-json.ts';
export { combine } from './engine/combine.ts';
export { callChannel } from './engine/events.ts';
export { parseEndpoints } from './engine/addresses.ts';
export type { ParsedEndpoints, PluginEndpoint } from './engine/addresses.ts';
export { parseReply } from './codec.ts';
export { connectPlugin } from './client.ts';
export type { ConnectedPlugin, ConnectPluginOptions } from './engine/connected-plugin.ts';
export { servePlugins } from './server.ts';
export type { PluginServer, ServePluginsOptions } from './server.ts';
export { implement } from './server/routes.ts';
export type { ServedModule } from './server/routes.ts';
export type { ServerTls } from './server/listener.ts';
