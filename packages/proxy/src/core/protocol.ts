import type { Fields } from '../schema/read.ts';
import type { Accept, Address, Conn, End, Listening, RemoteListening } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import type { ProxyError } from './errors.ts';
import type { PolicyOf } from './policies.ts';
import type { Credentials, Session } from './session.ts';
import type { ClientTls, ServerTls } from './tls.ts';
import type { BindRequest, Context, Way } from './way.ts';

/** What the bytes of a connection ask for: the end that is asked and the end that asks, both in one folder. */
export interface Protocol {
  /** GOST's word for it in a configuration. */
  readonly type: string;
  /** GOST's other words for the same. */
  readonly aliases?: readonly string[];
  readonly handler?: Handler;
  readonly connector?: Connector;
}

/** The end that clients speak to. */
export interface Handler {
  /** The keys of `handler.metadata` that it reads. */
  readonly metadata: Fields;
  /** What it serves; a service whose listener accepts the other is refused at load. */
  readonly serves: 'stream' | 'datagrams' | 'both';
  /**
   * `always`: it goes where the service's `forwarder` says, and a service without one is refused at load. `optional`: it does
   * where there is one. Absent: a service with one is refused.
   */
  readonly forwards?: 'always' | 'optional';
  /** What anybody may do where no auther is asked; whoever loads such a service is told. Absent: what the file says, and no more. */
  readonly openWithoutAuther?: string;
  /**
   * True: the nodes of its forwarder are gateways of a router's network, which have no port, and the last node of its chain is a
   * router; a service without such a chain is refused.
   */
  readonly joins?: true;
  /**
   * Serves one accepted connection to its end; when it settles, the connection is closed or closing. It rejects with
   * ProxyError where the connection ended badly; the client has been told by then, as far as the protocol can.
   */
  handle(end: End, session: Session, options: HandlerOptions): Promise<void>;
  /**
   * Called once for each service before it listens, by handlers that keep something for as long as the service runs: further
   * sockets, who has registered. What is answered then handles the connections in place of `handle`. `before` is what the
   * handler of the same service in the configuration before keeps, undefined where there is none. Rejects with ProxyError, and
   * has closed what it opened.
   */
  start?(host: ServiceHost, options: HandlerOptions, before: unknown): Promise<StartedHandler>;
}

/** A handler that keeps something for its service. */
export interface StartedHandler {
  /** As {@link Handler.handle}. */
  handle(end: End, session: Session): Promise<void>;
  /** The service accepts nothing new from now on; what has begun may go on. */
  retire?(): void;
  /** Ends what it keeps, except what the handler of the next configuration has taken over. */
  close(): Promise<void>;
  /** Given as `before` to the handler that a new configuration puts in its place. */
  readonly keeps?: unknown;
}

/** What a service does for the sockets that its handler opens beside the listener. */
export interface ServiceHost {
  readonly name: string;
  /** The way out that no chain leads along: to other nodes of the same kind. */
  readonly direct: Way;
  /**
   * Listens there as well. Whatever connects counts against the service's connection limit, must not run in a circle and is
   * asked about at admission, and then is a session of its own. A reload hands the socket over. It is closed with the
   * service. Rejects with ProxyError `addressInUse` or `listenFailed`.
   */
  entrypoint(request: BindRequest, each: ServeVisitor): Promise<Listening>;
  /** Told what goes wrong outside any session. Returns at once and never throws. */
  problem(error: ProxyError): void;
  /** Told what is worth a line in the log. Returns at once and never throws. */
  inform(text: string): void;
}

/** Serves one connection to its end, as {@link Handler.handle}. */
export type ServeVisitor = (end: End, session: Session) => Promise<void>;

/** The modules that a handler's own options name; undefined: there is none of this name. */
export interface NamedModules {
  ingress(name: string): PolicyOf<'ingress'> | undefined;
  sd(name: string): PolicyOf<'sd'> | undefined;
  router(name: string): PolicyOf<'router'> | undefined;
  /** An ingress of rules that stand in the handler's own options. Throws TypeError for one that cannot be read. */
  ingressOf(rules: readonly { readonly hostname: string; readonly endpoint: string }[]): PolicyOf<'ingress'>;
}

/** What the file says of a handler. */
export interface HandlerOptions {
  /** What the handler's fields read from `metadata`. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** For protocols that speak TLS within themselves: the service's certificate. */
  readonly tls?: ServerTls;
  /** Default: none. */
  readonly modules?: NamedModules;
  /** What of GOST is switched on. */
  readonly compat?: {
    /** A request's `Gost-Target` or `X-Gost-Target` names its target. Default false. */
    readonly gostTarget?: boolean;
  };
}

/** The end that speaks to a node. */
export interface Connector {
  /** The keys of `connector.metadata` that it reads. */
  readonly metadata: Fields;
  /** True: its datagrams are IP packets, and its targets gateways of a router's network. */
  readonly joins?: true;
  /**
   * Asks the node for a connection to the target. From now on the connection with the node belongs to what is answered;
   * where it rejects, it has been reset. Rejects with ProxyError: `badUpstreamReply` where the node breaks the protocol,
   * `upstreamRefused` where it does not let us, `dialFailed` where it could not reach the target.
   */
  connect(node: Conn, target: Address, options: ConnectorOptions, context: Context): Promise<Conn>;
  /**
   * Asks the node to carry datagrams to this target and back, and rejects as `connect`. Absent: `associate` is asked, and
   * everything else that comes is dropped.
   */
  connectDatagrams?(
    node: Conn,
    target: Address,
    options: ConnectorOptions,
    context: Context,
  ): Promise<Datagrams>;
  /** Asks the node to carry datagrams to any peer. `under` leads to the node's own address. Absent: it cannot. */
  associate?(node: Conn, under: Way, options: ConnectorOptions, context: Context): Promise<Datagrams>;
  /**
   * Asks the node to listen in our name, and calls `accept` for each connection (for datagrams: for each peer) that comes to
   * it. It lasts as long as the connection with the node, which belongs to it. Rejects as `connect`. Absent: it cannot.
   */
  bind?(
    node: Conn,
    request: BindRequest,
    accept: Accept,
    options: ConnectorOptions,
    context: Context,
  ): Promise<RemoteListening>;
}

/** What the file says of a connector. */
export interface ConnectorOptions {
  /** What the connector's fields read from `metadata`. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Who we are to the node. */
  readonly auth?: Credentials;
  /** For protocols that speak TLS within themselves. */
  readonly tls?: ClientTls;
  /** The node's address as the file has it. */
  readonly node: Address;
}
