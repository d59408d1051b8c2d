import type { Address, Conn, End, Listening } from './conn.ts';
import type { Datagrams } from './datagrams.ts';
import type { ProxyError } from './errors.ts';
import type { Served, SessionFacts } from './events.ts';
import type { ServeVisitor } from './protocol.ts';
import type { Traffic } from './relay.ts';
import type { Decider, Forwarded, Question, Seen, Target } from './route.ts';
import type { BindRequest, Context } from './way.ts';

/** What a client proves itself with. Both are empty when it offered nothing. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** What is seen of a request beside its target. */
export interface RequestFacts {
  readonly seen?: Seen;
  /** Default: `tcp` for a connection, `udp` for datagrams. */
  readonly network?: 'tcp' | 'udp';
}

/** What a forwarder is told beside that. */
export interface ForwardFacts extends RequestFacts {
  /** What the client seems to want; it is checked first. */
  readonly target?: Address;
  /** An open connection to the node that was chosen, where there is one that can be used again. */
  readonly reuse?: (node: Target) => Conn | undefined;
}

/** A way to a target that is the protocol's own. Rejects as a dial; the decider asks in the session's name, and no longer than the context lasts. */
export type OwnDial<E extends End> = (
  context: Context,
  decider: Decider,
) => Promise<{ readonly end: E; readonly path: readonly string[] }>;

/** How a relay differs from one that only carries bytes. */
export interface RelayOptions {
  /** Ends the relay when nothing has moved for so long. Default: as the service says; 0: never. */
  readonly idleMs?: number;
}

/** One accepted connection: all that a protocol may ask of the proxy. */
export interface Session extends SessionFacts {
  /** Who the client proved to be by the last `authenticate` that was a yes; empty before that and where nobody is asked. */
  readonly user: string;
  /** What the auther said of the user beside the name, by the last `authenticate` that was a yes. */
  readonly tags: readonly string[];
  /** True where `authenticate` asks somebody. */
  readonly authenticates: boolean;
  /** True where the service has a forwarder. */
  readonly forwards: boolean;
  /** True once the service is being stopped: what has begun may finish, nothing new should begin. */
  readonly stopping: boolean;
  /** How long nothing may move in a relay, as the service says; 0: for ever. */
  readonly idleMs: number;
  /** Bytes that came from the client and went to it so far. */
  readonly traffic: Readonly<Traffic>;
  /** Calls back once when the service is being stopped. Answers how to take that back. One at a time. */
  onStopping(interrupt: () => void): () => void;
  /**
   * Asks who this is, and remembers the answer in `user`. Resolves at once where nobody is asked. Rejects with ProxyError
   * `wrongCredentials` for a no, `couldNotAsk` where no answer was to be had, `clientClosed` when the client went away.
   */
  authenticate(credentials: Credentials): Promise<void>;
  /**
   * From now on the client counts as this one, for modules, limits, counters and records: where something else than
   * credentials says who it is. `isFarEnd`: it is who the client reaches, so that for limits and counters what goes to the client
   * comes in from that one. Default false.
   */
  identify(user: string, isFarEnd?: boolean): void;
  /**
   * Counts a request against the service's rate: of a client that goes nowhere. Throws ProxyError `tooManyRequests`.
   */
  countRequest(): void;
  /**
   * Asks whether the client may go there, and counts the request against the service's rate: for a request on an upstream
   * that is already open. Rejects with ProxyError `malformedRequest`, `tooManyRequests`, `forbidden` or `couldNotAsk`.
   */
  check(target: Address, facts?: RequestFacts): Promise<void>;
  /**
   * Counts a request against the service's rate, and asks how fast the client may be and holds it to that from now on: for a
   * client that reaches no target but others who have come to the same service. `network` is GOST's word for what it carries.
   * Rejects with ProxyError `tooManyRequests`, `couldNotAsk` or `clientClosed`.
   */
  limit(network: string): Promise<void>;
  /**
   * Makes the target canonical, checks it, and connects to exactly that, as hosts, resolver and chain have it. The caller
   * ends the connection. Rejects with ProxyError: those of `check`, `noRoute`, `nameNotFound`, `dialFailed`, `dialTimeout`,
   * `upstreamRefused` or `clientClosed`.
   */
  open(target: Address, facts?: RequestFacts): Promise<Conn>;
  /**
   * As {@link open}, with `dial` in place of hosts, resolver and chain. What `dial` has opened belongs to the caller as soon as
   * it is given back.
   */
  openBy<E extends End>(target: Address, facts: RequestFacts, dial: OwnDial<E>): Promise<E>;
  /** As {@link open}, for datagrams to that target and back. The caller closes what it is given. */
  openDatagrams(target: Address): Promise<Datagrams>;
  /**
   * Connects to a node of the service's forwarder. Where `target` is given it is checked first: what the client seems to
   * want. Rejects as `open`.
   */
  forward(facts?: ForwardFacts): Promise<Forwarded>;
  /**
   * A place to send datagrams from, to any peer, along the service's chain. Each new peer is checked once; datagrams to it
   * wait meanwhile. The caller closes it. Rejects as `open`.
   */
  associate(): Promise<Datagrams>;
  /**
   * Listens at an address of this machine in the client's name. Each connection (for datagrams: each peer) that comes there has
   * passed the service's connection limit, loop guard and admission, and is a session of its own. The caller closes it when the
   * client goes. The client itself is held to its limits from then on, as {@link limit} does it. Rejects as that, and with ProxyError
   * `addressInUse` or `listenFailed`.
   */
  bind(request: BindRequest, each: ServeVisitor): Promise<Listening>;
  /** Carries bytes or datagrams both ways until both directions have ended. Resolves with what broke it, if something did. */
  relay(client: End, upstream: End, options?: RelayOptions): Promise<ProxyError | undefined>;
  /** Counts a datagram of the client's that was not passed on. */
  countDropped(): void;
  /** Serves the same connection with another protocol of the program's list. */
  serve(end: End, protocol: string): Promise<void>;
  /** Asks a module that the protocol's own options name. */
  decide<A>(question: Question<A>): Promise<A>;
  /** Publishes what only the protocol knows. */
  note(fact: Omit<Served, 'kind'>): void;
}
