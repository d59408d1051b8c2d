import type { Accept, Address, Conn, Listening, RemoteListening } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import type { ProxyError } from './errors.ts';
import type { ClientTls, ServerTls } from './tls.ts';
import type { Fields } from '../schema/read.ts';

/** What a dial, or a question on the way to it, is told of whom it is for. */
export interface Context {
  /** Fires when nobody waits for the connection any more. */
  readonly signal: AbortSignal;
  /** The id of the session, for whoever logs or asks in its name. */
  readonly session?: string;
  readonly service?: string;
  /** The address that connected. */
  readonly client?: Address;
  /** Who that proved to be; empty where nobody was asked. */
  readonly user?: string;
  /** The target as the client asked for it, before hosts and resolver. */
  readonly target?: Address;
  /** Says why an address that the name turned out to have must not be dialled; undefined: it may. */
  refuses?(address: Address): ProxyError | undefined;
}

/** Where somebody wants to be reached, and by what. */
export interface BindRequest {
  readonly network: 'tcp' | 'udp';
  /** The port 0 is for the other end to choose. */
  readonly address: Address;
  /** Of datagrams: silence after which a peer's session ends, in milliseconds. Default: as a UDP listener's. */
  readonly peerTtlMs?: number;
  /** Told what goes wrong with one that comes, where nobody else would learn of it. Returns at once. */
  readonly problem?: (error: ProxyError) => void;
}

/** A way to reach addresses and to be reached. Made once and kept; whoever made it closes it. */
export interface Way {
  /** Opens a connection. Rejects with ProxyError `nameNotFound`, `dialFailed`, `dialTimeout` or `clientClosed`. */
  dial(to: Address, context: Context): Promise<Conn>;
  /**
   * Opens a place to send datagrams from: to one peer, or to any where `to` is absent. Absent: datagrams cannot go this
   * way. Whoever asked closes it. Rejects as `dial`.
   */
  packets?(to: Address | undefined, context: Context): Promise<Datagrams>;
  /**
   * Binds, and calls `accept` for each connection (for datagrams: for each peer), and `problem` when one could not be
   * accepted. Absent: this way cannot be listened on. Rejects with ProxyError `addressInUse` or `listenFailed`.
   */
  listen?(at: Address, accept: Accept, problem: (error: ProxyError) => void): Promise<Listening>;
  /**
   * Asks the far end of the way to listen there, and calls `accept` for each connection (for datagrams: for each peer) that
   * comes to it. Absent: the far end cannot. Rejects with ProxyError as `dial`, with `upstreamRefused` where the far end does
   * not let us, and as `listen` where the far end is this machine.
   */
  bind?(request: BindRequest, accept: Accept, context: Context): Promise<RemoteListening>;
  /** Ends what the way keeps open for itself; connections that it gave away live on. */
  close(): Promise<void>;
}

/** What the file says of one listener or one dialer. All layers of a stack are given the same. */
export interface LayerOptions {
  /** Of a listener: the certificate that it shows, and whom it lets in. */
  readonly serverTls?: ServerTls;
  /** Of a dialer: whom it believes, and who it is. */
  readonly clientTls?: ClientTls;
  /** What the layers' `listener` or `dialer` fields read from `metadata`. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** How long another machine may take that is to listen for us, in milliseconds. Default: the layer's. */
  readonly dialTimeoutMs?: number;
  /** Told what becomes of a listener that another machine holds. Returns at once. */
  readonly inform?: (text: string) => void;
}

/**
 * A layer that carries bytes. A stack is a list of layers, the lowest first: `wss` is tcp, tls, ws. The same layer listens
 * and dials, so that both ends of what it says to its peer live in one folder.
 */
export interface Transport {
  /** GOST's word for it in a configuration. */
  readonly type: string;
  /** The keys of `listener.metadata` that this layer reads. */
  readonly listener: Fields;
  /** The keys of `dialer.metadata` that this layer reads. */
  readonly dialer: Fields;
  /** Present: a listener of this type is not a socket of ours, but what the listener's chain binds. A lowest layer. */
  readonly overChain?: true;
  /** What a listener of which this is the lowest layer accepts. Default: connections. */
  readonly accepts?: 'datagrams';
  /** Makes a way of the one below it; the lowest layer has none below, or the way along the listener's chain. */
  wrap(under: Way | undefined, options: LayerOptions): Way;
}

/** The same context for an address that the file names: rules about targets do not speak of it. */
export function withoutRules({ refuses: _refuses, ...context }: Context): Context {
  return context;
}
