/** Metadata, headers or trailers: name, value, name, value, … Names are lower case, `-bin` values are base64 as on the wire. */
export type RawHeaders = readonly string[];

/** One unary call of any gRPC method. */
export interface GrpcRequest {
  /** `/proto.Authenticator/Authenticate` */
  readonly path: string;
  readonly message: Uint8Array;
  readonly metadata?: RawHeaders;
  /** Deadline in milliseconds from now, over connect, head and body; also sent as `grpc-timeout`. Absent: none. */
  readonly timeoutMs?: number;
  /** Cancels: the stream is reset and the call fails as `canceled`. */
  readonly signal?: AbortSignal;
  /** Sends the message gzip-compressed. Compressed replies are understood in any case. */
  readonly gzip?: boolean;
}

/** A reply with status OK. */
export interface GrpcReply {
  readonly message: Buffer;
  readonly headers: RawHeaders;
  readonly trailers: RawHeaders;
  /** Bytes of the frames of this call in each direction. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** One endpoint spoken to over one HTTP/2 connection at a time, opened on the first call and again when it breaks. */
export interface GrpcClient {
  /** Rejects with PluginError only; `grpcStatus` is set for every failure, also local ones. */
  call(request: GrpcRequest): Promise<GrpcReply>;
  /** Lets running calls finish (at most `drainMs`), then closes. Calls after it fail as `unreachable`. */
  close(drainMs?: number): Promise<void>;
}

/** A call as a server sees it. */
export interface GrpcServedCall {
  readonly path: string;
  readonly message: Buffer;
  readonly metadata: RawHeaders;
  /** Fires when the client cancelled, its deadline passed or its connection is gone. Made when first read. */
  readonly signal: AbortSignal;
  readonly timeoutMs: number | undefined;
  /** `ip:port`, or `unix`. */
  readonly remote: string;
}

export interface GrpcServedReply {
  readonly message: Uint8Array;
  readonly headers?: RawHeaders;
  readonly trailers?: RawHeaders;
}

/** Answers one call. To fail it, throw a {@link GrpcStatus}; anything else that is thrown becomes INTERNAL without its text. */
export type GrpcHandler = (call: GrpcServedCall) => GrpcServedReply | Promise<GrpcServedReply>;

/** A failure that a server sends on purpose. */
export class GrpcStatus extends Error {
  override readonly name = 'GrpcStatus';
  readonly status: number;
  readonly details: Uint8Array | undefined;
  readonly headers: RawHeaders;
  readonly trailers: RawHeaders;
  constructor(
    status: number,
    message: string,
    more: { details?: Uint8Array; headers?: RawHeaders; trailers?: RawHeaders; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.status = status;
    this.details = more.details;
    this.headers = more.headers ?? [];
    this.trailers = more.trailers ?? [];
  }
}

/** The canonical status numbers of gRPC that this package names. */
export const grpcStatus = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;
