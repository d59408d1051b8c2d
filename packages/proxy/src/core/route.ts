import type { Call, ModuleKind } from '@sallyport/plugin';
import type { Address, End } from './conn.ts';
import type { ProxyError } from './errors.ts';
import type { PolicyOf } from './policies.ts';
import type { ClientTls } from './tls.ts';
import type { Context, Way } from './way.ts';

/** What a route is chosen by. */
export interface RouteRequest {
  readonly network: 'tcp' | 'udp';
  /** The target as it will be dialled. Absent for datagrams to any peer. */
  readonly target: Address | undefined;
  /** The target as the client asked for it. */
  readonly host: Address | undefined;
  readonly client: Address;
  readonly user: string;
  readonly service: string;
  /** What selector `hash` counts by, where neither a user is known nor this is absent: the client's host is. */
  readonly hash?: string;
  /** What was seen of the request, where the protocol looks into it. */
  readonly seen?: Seen;
  /** True at a forwarder, where a node is the target itself. */
  readonly forwards?: boolean;
}

/** What sniffing, or a protocol that reads requests, knows of one request. Filters and matchers of nodes look at it. */
export interface Seen {
  readonly protocol: 'http' | 'tls' | 'ssh' | 'redis';
  /** The Host of a request or the SNI, without port; lower-case. */
  readonly host: string;
  /** With port, as bypass and hop are asked: `example.com:443`. */
  readonly authority: string;
  readonly method?: string;
  /** The path without query; empty where there is none. */
  readonly path: string;
  /** With the question mark; empty where there is none. */
  readonly query?: string;
  readonly headers?: readonly (readonly [name: string, value: string])[];
}

/** A way to a target that was chosen for one connection. */
export interface Route {
  readonly way: Way;
  /** The nodes that it leads through, `name@address` each. Empty: directly. */
  readonly path: readonly string[];
}

/** What chooses a route: a chain, or a group of chains. Made once and kept; whoever made it closes it. */
export interface Chain {
  readonly name: string;
  /**
   * Chooses a node for each hop. A route of no nodes is a direct connection, which a hop's or node's bypass may ask for.
   * Rejects with ProxyError `noRoute` where a hop has no node, `couldNotAsk` where a hop could not be asked.
   */
  route(request: RouteRequest, context: Context, decider: Decider): Promise<Route>;
  close(): Promise<void>;
}

/** Who asks a module in the name of a session. */
export interface Decider {
  /**
   * Calls `ask` with what a policy needs, and publishes what became of it as a decision of the session. Rejects with
   * ProxyError `couldNotAsk` where there was no answer, and `clientClosed` when the client went away.
   */
  decide<A>(question: Question<A>): Promise<A>;
}

/** One question to one module. */
export interface Question<A> {
  readonly module: ModuleKind;
  readonly about: string;
  /** The HTTP status that says best that it could not be asked. Default: the module's. */
  readonly status?: number;
  /** Ends the question early. Default: it ends when the client leaves. */
  readonly signal?: AbortSignal;
  ask(call: Call): Promise<A> | A;
  /** How the answer reads in the log. */
  tell(answer: A): { readonly outcome: 'yes' | 'no'; readonly answer: string };
}

/** A forwarder's node that was chosen for one connection or request. */
export interface Target {
  readonly name: string;
  readonly address: Address;
  /** How requests are changed on their way to it; undefined: not at all. */
  readonly http: NodeHttp | undefined;
  /** Present: the node is spoken to over TLS. */
  readonly tls: ClientTls | undefined;
  /** Tells the selector how it went. */
  failed(error: ProxyError): void;
  succeeded(): void;
}

/** What the service's forwarder chooses targets by. */
export interface Forwarder {
  /** Rejects with ProxyError `noRoute` or `couldNotAsk`. */
  select(request: RouteRequest, context: Context, decider: Decider): Promise<Target>;
  close(): Promise<void>;
}

/** A node's `http` settings, compiled. Applied by protocols that read requests. */
export interface NodeHttp {
  /** In place of the request's Host. Empty: left as it is. */
  readonly host: string;
  /** Set, or removed where the value is empty. */
  readonly requestHeader: readonly (readonly [name: string, value: string])[];
  readonly responseHeader: readonly (readonly [name: string, value: string])[];
  /** The first whose pattern is in the path rewrites it. */
  readonly rewriteUrl: readonly { readonly match: RegExp; readonly replacement: string }[];
  readonly rewriteRequestBody: readonly BodyRule[];
  readonly rewriteResponseBody: readonly BodyRule[];
  /** Answers with these statuses count as failures of the node. */
  failed(status: number): boolean;
  /** Present: a request needs these credentials, as Basic. */
  readonly auth: { readonly username: string; readonly password: string } | undefined;
}

/** One rule that changes bodies. */
export interface BodyRule {
  /** A part of a media type; `*`: any. */
  readonly type: string;
  /** A regular expression, or `json:path[=expression]`. Absent where a rewriter is asked. */
  readonly match: string | undefined;
  readonly replacement: string;
  /** Present: the rewriter module is asked. */
  readonly rewriter: PolicyOf<'rewriter'> | undefined;
  /** The longest body or chunk that is rewritten, in bytes; longer ones pass unchanged. Default 1 MiB, as in GOST. */
  readonly maxChunkBytes: number;
}

/** What `forward` answers: the connection, and the node that it leads to. */
export interface Forwarded<E extends End = End> {
  readonly end: E;
  readonly node: Target;
}
