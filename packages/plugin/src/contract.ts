import type { PluginErrorCode } from './errors.ts';
import type { MessageType } from './wire/proto.ts';

/** The thirteen modules that a plugin can serve. The name is GOST's word and the module's usual HTTP path. */
export type ModuleKind =
  | 'admission'
  | 'auth'
  | 'bypass'
  | 'hop'
  | 'hosts'
  | 'ingress'
  | 'limiter'
  | 'observer'
  | 'recorder'
  | 'resolver'
  | 'rewriter'
  | 'router'
  | 'sd';

/**
 * An integer of up to 64 bits. It is a `number` wherever that is exact (a safe integer) and a `bigint` beyond, so that
 * nothing is lost and the common case stays pleasant. Whoever only needs a size may say `Number(x)`.
 */
export type Int64 = number | bigint;

/** What may travel beside an answer, in optional metadata or headers that an old peer ignores. */
export interface Meta {
  /** How long the answer may be remembered, in milliseconds. 0: not at all. Absent: as the configuration says. */
  ttlMs?: number;
  /** One sentence for the log: why the answer is what it is. */
  reason?: string;
  /** Words that later steps may act on, such as `tunnel=<id>`. */
  tags?: readonly string[];
}

/** One question, as seen by whoever asks. */
export interface Call {
  /** Fires when nobody waits for the answer any more. */
  readonly signal?: AbortSignal;
  /** The id of the session that the question is asked for; it appears in events. */
  readonly session?: string;
  /** An implementer fills it, a client finds it filled. */
  readonly meta: Meta;
  /** Called once for every call that the engine made for this question (or answered from memory). */
  readonly observe?: (event: CallEvent) => void;
}

/** One question, as seen by whoever answers: the signal is always there. */
export interface ServedCall extends Call {
  readonly signal: AbortSignal;
  /** The asker's address, `ip:port`, or `unix`. */
  readonly remote: string;
  readonly transport: PluginTransport;
}

/** The two ways a plugin is spoken to. */
export type PluginTransport = 'grpc' | 'http';

/** What became of one question. Published on the diagnostics channel `sallyport:plugin:call`. */
export interface CallEvent {
  readonly module: ModuleKind;
  readonly method: string;
  /** The plugin's name in the configuration, where it has one. */
  readonly name: string | undefined;
  /** As in {@link PluginErrorInfo.endpoint}; empty when no endpoint was reached for. */
  readonly endpoint: string;
  /** `local`: answered in this process, by a built-in or by `onError`. */
  readonly transport: PluginTransport | 'local';
  readonly session: string | undefined;
  readonly outcome: 'ok' | PluginErrorCode;
  /**
   * `live`: asked now. `cached`: remembered. `coalesced`: shared with an identical question in flight. `fallback`: an
   * event of its own after that of the call that failed: `onError` decided in the plugin's stead.
   */
  readonly source: 'live' | 'cached' | 'coalesced' | 'fallback';
  readonly ms: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly reason: string | undefined;
  /** The error's message when the outcome is not `ok`. */
  readonly error: string | undefined;
}

/**
 * What a method does when the plugin could not be asked. `none` (no route) and `queue` (retry in the background) are
 * defaults of contracts only; a configuration says `refuse`, `allow`, `lastGood` or `{ reply }`.
 */
export type OnError<Answer> = 'refuse' | 'allow' | 'lastGood' | 'none' | 'queue' | { readonly reply: Answer };

/** How one method looks over HTTP, where it differs from "POST all fields, reply with all fields". */
export interface HttpRule {
  readonly verb: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Request keys in the order in which GOST writes them. A trailing `?` means: left out when empty. */
  readonly request: readonly string[];
  /** The request field whose own keys are the body (sd: `service`). */
  readonly body?: string;
  /** Reply keys in GOST's order; a trailing `?` means: left out when empty. */
  readonly reply: readonly string[];
  /** The reply field that *is* the body (hop: `node`). */
  readonly replyBody?: string;
  /** Only the status is read (sd's Register, Renew, Deregister). */
  readonly statusOnly?: boolean;
  /** A second key that is read when the first is absent or empty (router: `net` for `dst`). */
  readonly alias?: Readonly<Record<string, string>>;
  /** Reply keys without which an object is no answer. Only HTTP can tell "absent" from "false". */
  readonly required?: readonly string[];
  /** Keys of messages inside messages, by type name, in GOST's order with `?` as above; absent: all, in the table's order. */
  readonly nested?: Readonly<Record<string, readonly string[]>>;
}

/** One decision of a module: what is asked, what is answered, and how both look on the wire. */
export interface Method<Ask, Answer, Req extends object = object, Rep extends object = object> {
  /** The method's name on the wire: `/proto.<service>/<rpc>`. */
  readonly rpc: string;
  readonly request: MessageType<Req>;
  readonly reply: MessageType<Rep>;
  /** The only place that knows GOST's words: ours to theirs and back. */
  readonly wire: {
    request(ask: Ask): Req;
    ask(request: Req): Ask;
    /** Throws PluginError `badReply` when the reply is no answer. */
    answer(reply: Rep, ask: Ask): Answer;
    /** Throws PluginError `internal` when the answer cannot be said, over this transport or at all. */
    reply(answer: Answer, request: Req, transport: PluginTransport): Rep;
  };
  readonly http: HttpRule;
  /** All identity inputs of the question; absent: never remembered. Passwords enter only through `secret`. */
  readonly cacheKey?: (ask: Ask, secret: (text: string) => string) => string;
  /** True for an answer that a configured negative TTL speaks of (no rule, no address, refused). */
  readonly negative?: (answer: Answer) => boolean;
  /** Identical questions in flight share one call. */
  readonly coalesce: boolean;
  /** May be sent again on another connection even when the first may have arrived. */
  readonly idempotent: boolean;
  /** Default deadline in milliseconds over connect, head and body. */
  readonly timeoutMs: number;
  readonly onError: OnError<Answer>;
  /** What `onError: allow` answers, and `none`. Absent: there is no such answer, and the question ends in an error. */
  readonly allow?: { readonly reply: Answer };
  /** An answer that needs no plugin; undefined: the plugin is asked. */
  readonly known?: (ask: Ask, transport: PluginTransport) => { readonly answer: Answer } | undefined;
}

// The variance of Method makes a common supertype impossible without `never` in its input places.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type AnyMethod = Method<any, any, any, any>;
export type Methods = Readonly<Record<string, AnyMethod>>;

export type AskOf<X> = X extends { wire: { request(ask: infer Ask): object } } ? Ask : never;
export type AnswerOf<X> = X extends {
  wire: { reply(answer: infer Answer, request: never, transport: PluginTransport): object };
}
  ? Answer
  : never;

/** A module's decisions as functions: a built-in, a plugin's client and a plugin's implementation all have this type. */
export type Policy<M extends Methods> = {
  readonly [K in keyof M]: (ask: AskOf<M[K]>, call: Call) => AnswerOf<M[K]> | Promise<AnswerOf<M[K]>>;
};

/** A {@link Policy} written for a server: it is given a signal and the asker's address. Any Policy is one. */
export type Implementation<M extends Methods> = {
  readonly [K in keyof M]: (ask: AskOf<M[K]>, call: ServedCall) => AnswerOf<M[K]> | Promise<AnswerOf<M[K]>>;
};

/** One member of a group: `authers: [a, b]` in a configuration is a group of two. */
export interface Member<M extends Methods> {
  readonly name: string;
  readonly policy: Policy<M>;
  /** The member's own literal outcome when it could not be asked; absent: the group's default decides. */
  readonly onError?: OnError<unknown>;
  /** Bypass only: the member lists what may pass. Plugins are never whitelists. */
  readonly whitelist?: boolean;
}

/**
 * How the members of a group make one decision. `one`: exactly one member. `first`: the first that has an answer.
 * `any`: the first yes. `all`: every one must say yes. `each`: all are told. `bypass`: whitelists all, or any blacklist.
 */
export type Combine = 'one' | 'first' | 'any' | 'all' | 'each' | 'bypass';

/** A module defined once; client, server, documentation and conformance tests are derived from it. */
export interface Contract<M extends Methods = Methods> {
  readonly kind: ModuleKind;
  /** The list in a configuration file that declares such modules: `authers`, `sds`, … */
  readonly section: string;
  /** The gRPC service, `proto.Authenticator`. */
  readonly service: string;
  readonly methods: M;
  readonly combine: Combine;
}

/** Declares a contract. It only fixes the types; nothing is registered anywhere. */
export function defineContract<M extends Methods>(contract: Contract<M>): Contract<M> {
  return contract;
}
