import type { Contract, Member, Policy } from '@sallyport/plugin';
import type { TlsSettings } from '@sallyport/plugin/wire';
import type { Logger } from 'pino';
import type { Address } from '../core/conn.ts';
import type { RunningService } from '../core/service.ts';
import type { AuthMethods } from '../core/session.ts';

export type { AuthMethods, RunningService };

/** What a graph is built of: the shipped parts, or others in a test. */
export interface Parts {
  /** Connects to a plugin that says who may come in. It connects when it is first asked. Throws when `addr` is no address. */
  connectAuther(options: PluginOptions): ConnectedPlugin<AuthMethods>;
  /** An auther whose users stand in the file. */
  listAuther(users: readonly { readonly username: string; readonly password: string }[]): Policy<AuthMethods>;
  /** One decision of several. */
  combineAuthers(members: readonly Member<AuthMethods>[]): Policy<AuthMethods>;
  /** Binds and begins to serve. Rejects with ProxyError, nothing being left open. */
  startService(options: ServiceOptions): Promise<RunningService>;
}

/** A plugin as the configuration describes it. */
export interface PluginOptions {
  readonly name: string;
  readonly transport: 'grpc' | 'http';
  /** Each as the file has it; one text may hold several endpoints. */
  readonly addresses: readonly string[];
  readonly token?: string;
  readonly tls?: TlsSettings;
  readonly timeoutMs?: number;
  readonly cache?: { readonly ttlMs?: number; readonly negativeTtlMs?: number; readonly maxEntries?: number };
  readonly breaker?: { readonly failures?: number; readonly cooldownMs?: number };
  readonly maxConcurrent?: number;
}

export interface ConnectedPlugin<M extends Contract['methods']> {
  readonly policy: Policy<M>;
  /** What is accepted although it is probably not meant, each as one sentence for the log. */
  readonly warnings?: readonly string[];
  /** Connects, shakes hands, and rejects with PluginError when that does not work. Asks nothing. */
  check(): Promise<void>;
  close(): Promise<void>;
}

export interface ServiceOptions {
  readonly name: string;
  readonly address: Address;
  readonly handler: string;
  readonly listener: string;
  /** Absent: everybody may use the service. */
  readonly authenticate: Policy<AuthMethods> | undefined;
  readonly log: Logger;
}
