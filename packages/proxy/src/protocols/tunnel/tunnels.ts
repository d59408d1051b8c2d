import type { Address, End } from '../../core/conn.ts';
import type { PolicyOf } from '../../core/policies.ts';
import type { Decider } from '../../core/route.ts';
import type { Context } from '../../core/way.ts';

/** What a visitor wants of a tunnel. */
export interface Visit {
  /** A connector of the other network is never taken. */
  readonly network: 'tcp' | 'udp';
  /** Who visits, as the connector is told. */
  readonly source: Address;
  /** What is wanted, as the connector is told. */
  readonly target: Address;
  /** The relay request that another node is to be sent before anything else. Absent: it is sent only what the visitor says. */
  readonly request?: Buffer;
}

/** Where a visit ended up. */
export interface Visited {
  /**
   * `here`: a stream of a connector, whose head with source and target is written already; datagrams for `udp`. `elsewhere`: a
   * connection to another node's entrypoint, to which `request` is written already; never datagrams. Whoever visits ends it.
   */
  readonly end: End;
  readonly where: 'here' | 'elsewhere';
  /** What it led through, for the log: `connector@<its UUID>`, or `<the other node's UUID>@<address>`. */
  readonly path: readonly string[];
}

/** Which tunnel a host leads to. */
export interface TunnelRule {
  /** The tunnel's UUID in small letters, without `$`. */
  readonly id: string;
  /** It was written with `$`: who comes without saying the tunnel's UUID does not get in. */
  readonly isPrivate: boolean;
}

/** The tunnels of a service: those of its own clients, and those that other nodes have. */
export interface Tunnels {
  /** The service's name, as modules are told. */
  readonly service: string;
  /** The UUID of this node, as sd and `Gost-Forwarded-Node` know it. */
  readonly node: string;
  /**
   * Opens a connection to the tunnel: to a connector here, or to another node that sd names. Rejects with ProxyError `noRoute`
   * (there is no such tunnel), `dialFailed`, `dialTimeout`, `couldNotAsk` or `clientClosed`. The decider asks as long as the
   * context lasts.
   */
  visit(id: string, visit: Visit, context: Context, decider: Decider): Promise<Visited>;
  /**
   * Which tunnel serves this host, by this ingress or, where none is given, by the handler's; undefined: none. Entrypoints ask
   * with the port (`example.com:80`), the handler without, as in GOST. Rejects with ProxyError `couldNotAsk` or `clientClosed`.
   */
  tunnelOf(host: string, decider: Decider, ingress?: PolicyOf<'ingress'>): Promise<TunnelRule | undefined>;
}

/** What the handler's options say of one entrypoint. */
export interface EntrypointOptions {
  /** The ingress of this entrypoint. Absent: the handler's. */
  readonly ingress?: PolicyOf<'ingress'>;
  /** `entrypoint.id`: relay visitors that name this one are public, and go where the ingress says. Absent: nobody is. */
  readonly publicId?: string;
  /** `tunnel.direct`: relay visitors reach the tunnel whose UUID they say, whatever the ingress says. Default false. */
  readonly direct: boolean;
  /** How long a visitor may take for the head of a request, and a tunnel for that of an answer. GOST's default, 15 s. */
  readonly readTimeoutMs: number;
  /** `entrypoint.keepalive`: streams of tunnels are used for the next request of the same visitor. Default false, as in GOST. */
  readonly keepAlive: boolean;
}
