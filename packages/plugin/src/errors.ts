/**
 * Why a plugin could not be asked. A plugin's "no" is an answer, never an error; only "could not ask" is one.
 *
 * - `timeout`: the deadline passed, whatever part of the call was slow.
 * - `unreachable`: nothing listens, the connection broke, TLS failed, or the server says UNAVAILABLE / 503.
 * - `overloaded`: our own cap and queue are full, or the server says RESOURCE_EXHAUSTED / 429.
 * - `unauthenticated`: the server does not take our token or certificate (UNAUTHENTICATED, PERMISSION_DENIED, 401, 403).
 * - `badReply`: an answer came and it is not one: wrong shape, cut short, too large, redirected, garbage.
 * - `internal`: the server says that it failed or does not serve the method (INTERNAL, UNIMPLEMENTED, 500, 404, …).
 * - `canceled`: whoever asked has gone; nobody is waiting for this answer any more.
 */
export type PluginErrorCode =
  'timeout' | 'unreachable' | 'overloaded' | 'unauthenticated' | 'badReply' | 'internal' | 'canceled';

/** Every code of {@link PluginErrorCode}, in the order of its documentation. */
export const pluginErrorCodes: readonly PluginErrorCode[] = [
  'timeout',
  'unreachable',
  'overloaded',
  'unauthenticated',
  'badReply',
  'internal',
  'canceled',
];

/** What is known about a failed call besides its code. */
export interface PluginErrorInfo {
  /** The error of the layer below, kept as it was. */
  cause?: unknown;
  /** Where the call went, as a person would write it: `grpc://127.0.0.1:8000`, `http://h/auth`, `unix:/p.sock`. */
  endpoint?: string;
  /**
   * True when the peer has certainly not processed the request (refused, connection closed before a byte was sent,
   * REFUSED_STREAM, a GOAWAY below the stream): any call, idempotent or not, may be sent once more.
   */
  unsent?: boolean;
  /** The gRPC status number, when a server gave one. */
  grpcStatus?: number;
  /** The HTTP status, when a server gave one. */
  httpStatus?: number;
  /** `grpc-status-details-bin`, decoded from base64, when a server gave it. */
  details?: Uint8Array;
  /** The reply's headers and trailers as far as they came: name, value, name, value, … */
  headers?: readonly string[];
  trailers?: readonly string[];
}

/** The only error that leaves this package's calls: a plugin could not be asked, and why. */
export class PluginError extends Error {
  override readonly name = 'PluginError';
  readonly code: PluginErrorCode;
  readonly endpoint: string | undefined;
  readonly unsent: boolean;
  readonly grpcStatus: number | undefined;
  readonly httpStatus: number | undefined;
  readonly details: Uint8Array | undefined;
  readonly headers: readonly string[] | undefined;
  readonly trailers: readonly string[] | undefined;

  constructor(code: PluginErrorCode, message: string, info: PluginErrorInfo = {}) {
    super(message, info.cause === undefined ? undefined : { cause: info.cause });
    this.code = code;
    this.endpoint = info.endpoint;
    this.unsent = info.unsent ?? false;
    this.grpcStatus = info.grpcStatus;
    this.httpStatus = info.httpStatus;
    this.details = info.details;
    this.headers = info.headers;
    this.trailers = info.trailers;
  }
}
