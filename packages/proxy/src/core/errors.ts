import { PluginError } from '@sallyport/plugin';

/** Every way in which a connection or request can end badly. `docs/errors.md` lists them; a test holds the two equal. */
export const proxyErrorCodes = [
  'malformedRequest',
  'requestTooLarge',
  'unsupported',
  'handshakeTimeout',
  'clientClosed',
  'wrongCredentials',
  'couldNotAsk',
  'forbidden',
  'tooManyRequests',
  'noRoute',
  'nameNotFound',
  'dialFailed',
  'dialTimeout',
  'upstreamRefused',
  'upstreamClosed',
  'upstreamTimeout',
  'badUpstreamReply',
  'idleTimeout',
  'loop',
  'addressInUse',
  'listenFailed',
  'shuttingDown',
  'internal',
] as const;

export type ProxyErrorCode = (typeof proxyErrorCodes)[number];

/** Whose fault it is. */
export type Fault = 'client' | 'upstream' | 'plugin' | 'self';

export interface ProxyErrorOptions {
  cause?: unknown;
  /** True when the same thing may work on another node. Default false. */
  retryable?: boolean;
  /**
   * The HTTP status that says it best, where the code leaves it open. Other protocols take it as a hint: 403 is "not
   * allowed", 407 "who are you".
   */
  status?: number;
}

/** The only error that crosses a folder of the proxy. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError';
  readonly code: ProxyErrorCode;
  readonly at: Fault;
  readonly retryable: boolean;
  readonly status: number | undefined;

  constructor(code: ProxyErrorCode, at: Fault, message: string, options: ProxyErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.at = at;
    this.retryable = options.retryable ?? false;
    this.status = options.status;
  }

  /** Maps a plugin's "could not ask"; anything else that is not a ProxyError is our own fault. */
  static from(error: unknown): ProxyError {
    if (error instanceof ProxyError) return error;
    if (error instanceof PluginError)
      return new ProxyError('couldNotAsk', 'plugin', error.message, { cause: error });
    return new ProxyError('internal', 'self', error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
}
