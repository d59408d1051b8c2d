import type { Contract, Methods } from './contract.ts';
import { connectOver } from './engine/connected-plugin.ts';
import type { ConnectedPlugin, ConnectPluginOptions } from './engine/connected-plugin.ts';
import { createGrpcClient } from './wire/grpc-client.ts';
import { createHttpClient } from './wire/http-client.ts';

/**
 * Connects to a plugin that serves a contract, over gRPC or HTTP. The value is the contract's policy: each method asks the
 * plugin and rejects with PluginError when it could not. Nothing is dialled before the first question, and a plugin that is
 * down or comes back needs no attention; `check` tries the connection at once. Whoever connects calls `close`.
 *
 * Throws PluginError when an address or the token cannot be used.
 */
export function connectPlugin<M extends Methods>(
  contract: Contract<M>,
  options: ConnectPluginOptions,
): ConnectedPlugin<M> {
  return connectOver({ grpc: createGrpcClient, http: createHttpClient }, contract, options);
}
