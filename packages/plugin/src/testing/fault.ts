import type { PluginTransport } from '../contract.ts';
import type { PluginErrorCode } from '../errors.ts';
import type { TlsSettings } from '../wire/endpoint.ts';

/** A server that misbehaves in one way. */
export interface Fault {
  /** `cut short`, `an expired certificate`, … */
  readonly name: string;
  readonly transport: PluginTransport;
  /** What a call to it may end in; nothing else is right. */
  readonly expected: readonly PluginErrorCode[];
  /** Only the caller's deadline ends such a call; all others must end by themselves, well before it. */
  readonly hangs: boolean;
  /** The methods to which it makes a difference: where only the status counts, a body cannot be wrong. */
  readonly methods: readonly string[];
  /** Opens the server on a free port of 127.0.0.1. Whoever starts it calls `close`. */
  start(): Promise<FaultServer>;
}

/** A fault's server, and how a client is told to reach it. */
export interface FaultServer {
  /** As in a configuration. */
  readonly addr: string;
  readonly tls: TlsSettings | undefined;
  readonly token: string | undefined;
  /** Connections that are open at this moment. */
  readonly openSockets: number;
  /** Resolves when no connection is open, which is for the other end to bring about: from now on this one reads everything. */
  vacant(): Promise<void>;
  /** Stops listening and cuts all connections. */
  close(): Promise<void>;
}
