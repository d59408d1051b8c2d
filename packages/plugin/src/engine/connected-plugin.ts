import { createMethodCodec } from '../codec.ts';
import type { Contract, Methods, OnError, PluginTransport, Policy } from '../contract.ts';
import type { Endpoint, TlsSettings } from '../wire/endpoint.ts';
import type { GrpcClient } from '../wire/grpc.ts';
import type { HttpClient } from '../wire/http.ts';
import { parseEndpoints } from './addresses.ts';
import type { PluginEndpoint } from './addresses.ts';
import { createAsker } from './asker.ts';
import type { AskerSettings, PluginState } from './asker.ts';
import { grpcCarrier, httpCarrier } from './carrier.ts';
import type { Carrier } from './carrier.ts';
import { checkEndpoint } from './check-endpoint.ts';
import { combine } from './combine.ts';
import { createEndpointHealth } from './endpoint-health.ts';
import { createGate } from './gate.ts';

/** How a plugin is reached, and what is done to spare it and those who ask. */
export interface ConnectPluginOptions {
  /** The plugin's name in the configuration; it appears in events. */
  readonly name?: string;
  /** Default `grpc`, as in GOST. */
  readonly transport?: PluginTransport;
  /** One or several addresses, as `parseEndpoints` reads them. The first that is well is asked, the others stand in for it. */
  readonly addr: string | readonly string[];
  /** Present: TLS is spoken. */
  readonly tls?: TlsSettings;
  readonly token?: string;
  /** In place of the contract's deadline of each method, in milliseconds. */
  readonly timeoutMs?: number;
  /**
   * How long answers are remembered whose reply does not say it: `ttlMs`, and `negativeTtlMs` for a no. Default 0 each:
   * only what a plugin allows is remembered. `maxEntries` for each method, default 10,000.
   */
  readonly cache?: { readonly ttlMs?: number; readonly negativeTtlMs?: number; readonly maxEntries?: number };
  /**
   * After so many failures in a row (default 5) an endpoint is left alone but for one call in each `cooldownMs` (default
   * 250: a plugin that is back must be in use again within a second, the transport's own back-off included).
   */
  readonly breaker?: { readonly failures?: number; readonly cooldownMs?: number };
  /** Calls under way at once. Default 256: what a server that handles 100 ms of work each turns into 2,560 a second. */
  readonly maxConcurrent?: number;
  /** Calls that may wait for one of those to end, within their deadline. Default 8,192. */
  readonly maxQueued?: number;
  /** The longest reply, decoded. Default 1 MiB. */
  readonly maxReplyBytes?: number;
  /** What counts as the answer when the plugin could not be asked. Absent: the call rejects. A group applies its own. */
  readonly onError?: OnError<unknown>;
}

/** A plugin as a {@link Policy}: every method rejects with PluginError, and nothing else, when it could not be asked. */
export type ConnectedPlugin<M extends Methods> = Policy<M> & {
  /** What is accepted because GOST accepts it, and worth a line in the log. */
  readonly warnings: readonly string[];
  /**
   * Connects and shakes hands, and asks nothing. Resolves when one endpoint at least can be reached; rejects with the
   * PluginError of the first one otherwise.
   */
  check(): Promise<void>;
  /** Waits for running calls, at most `drainMs`, and closes all connections. Calls after it are `unreachable`. */
  close(drainMs?: number): Promise<void>;
};

/** The clients of both transports, for one endpoint each. */
export interface Transports {
  grpc(options: { readonly endpoint: Endpoint; readonly maxReplyBytes: number }): GrpcClient;
  http(options: { readonly endpoint: Endpoint; readonly maxReplyBytes: number }): HttpClient;
}

const defaults = {
  maxEntries: 10_000,
  failures: 5,
  cooldownMs: 250,
  maxConcurrent: 256,
  maxQueued: 8_192,
  maxReplyBytes: 1024 * 1024,
};

/** As `connectPlugin`, over the transports that it is given. */
export function connectOver<M extends Methods>(
  transports: Transports,
  contract: Contract<M>,
  options: ConnectPluginOptions,
): ConnectedPlugin<M> {
  const { transport = 'grpc', token, cache = {}, breaker = {} } = options;
  const { maxReplyBytes = defaults.maxReplyBytes } = options;
  const { endpoints, warnings } = parseEndpoints(contract.kind, transport, options.addr, options.tls);
  const gate = createGate({
    maxConcurrent: options.maxConcurrent ?? defaults.maxConcurrent,
    maxQueued: options.maxQueued ?? defaults.maxQueued,
  });
  const plugin: PluginState = {
    kind: contract.kind,
    name: options.name,
    urls: endpoints.map(({ url }) => url),
    health: createEndpointHealth(endpoints.length, {
      failures: breaker.failures ?? defaults.failures,
      cooldownMs: breaker.cooldownMs ?? defaults.cooldownMs,
    }),
    gate,
    closed: false,
  };
  const grpc: GrpcClient[] = [];
  const http: HttpClient[] = [];
  for (const endpoint of endpoints) {
    if (transport === 'grpc') grpc.push(transports.grpc({ endpoint, maxReplyBytes }));
    else http.push(transports.http({ endpoint, maxReplyBytes }));
  }

  const asked: Record<string, unknown> = {};
  for (const [name, method] of Object.entries(contract.methods)) {
    const codec = createMethodCodec(contract, name);
    const carrier: Carrier<unknown, unknown> =
      transport === 'grpc' ? grpcCarrier(codec, grpc, token) : httpCarrier(codec, http, endpoints, token);
    const settings: AskerSettings = {
      timeoutMs: options.timeoutMs ?? method.timeoutMs,
      ttlMs: cache.ttlMs ?? 0,
      negativeTtlMs: cache.negativeTtlMs ?? 0,
      maxEntries: cache.maxEntries ?? defaults.maxEntries,
    };
    asked[name] = createAsker(plugin, name, method, carrier, settings);
  }
  let policy = asked as Policy<M>;
  const { name = contract.kind, onError } = options;
  if (onError !== undefined) policy = combine(contract, [{ name, policy, onError }]);

  // Not enumerable: whoever goes through a policy finds its methods and nothing else.
  return Object.defineProperties(policy, {
    warnings: { value: warnings },
    check: {
      value: () => checkEndpoints(endpoints, transport, options.timeoutMs ?? longestDeadline(contract)),
    },
    close: {
      async value(drainMs?: number) {
        plugin.closed = true;
        gate.close();
        await Promise.all([...grpc, ...http].map((client) => client.close(drainMs)));
      },
    },
  }) as ConnectedPlugin<M>;
}

function longestDeadline(contract: Contract<Methods>): number {
  return Math.max(...Object.values(contract.methods).map(({ timeoutMs }) => timeoutMs));
}

/** Resolves when one of them can be reached. */
async function checkEndpoints(
  endpoints: readonly PluginEndpoint[],
  transport: PluginTransport,
  timeoutMs: number,
): Promise<void> {
  try {
    await Promise.any(endpoints.map((endpoint) => checkEndpoint(endpoint, transport, timeoutMs)));
  } catch (error) {
    // All have failed then, in the order of the endpoints.
    throw (error as AggregateError).errors[0];
  }
}
