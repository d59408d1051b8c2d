import type { Fields } from '../schema/read.ts';
import type { Address, Conn, End } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import type { Credentials, Session } from './session.ts';
import type { ClientTls, ServerTls } from './tls.ts';
import type { Context, Way } from './way.ts';

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
  /**
   * Serves one accepted connection to its end; when it settles, the connection is closed or closing. It rejects with
   * ProxyError where the connection ended badly; the client has been told by then, as far as the protocol can.
   */
  handle(end: End, session: Session, options: HandlerOptions): Promise<void>;
}

/** What the file says of a handler. */
export interface HandlerOptions {
  /** What the handler's fields read from `metadata`. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** For protocols that speak TLS within themselves: the service's certificate. */
  readonly tls?: ServerTls;
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
