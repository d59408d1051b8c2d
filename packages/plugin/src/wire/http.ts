import type { RawHeaders } from './grpc.ts';

/** One plugin call over HTTP. */
export interface HttpRequest {
  readonly verb: string;
  /** Path and query as they go into the request line. */
  readonly path: string;
  /** Besides Host, Content-Length and Accept-Encoding, which the client writes. */
  readonly headers: RawHeaders;
  readonly body: string | undefined;
  /** One deadline over connect, head and body, in milliseconds. Absent: none. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** A whole answer: every byte that the head announced has come and was decoded. Any status but 200 is an error already. */
export interface HttpReply {
  readonly status: number;
  readonly headers: RawHeaders;
  readonly body: Buffer;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** One endpoint spoken to over a keep-alive pool. Rejects with PluginError only. */
export interface HttpClient {
  request(request: HttpRequest): Promise<HttpReply>;
  close(drainMs?: number): Promise<void>;
}

/** A request as a plugin server sees it, over HTTP/1.1 or HTTP/2. */
export interface HttpServedRequest {
  readonly verb: string;
  readonly path: string;
  /** Without the `?`; empty when there is none. */
  readonly query: string;
  readonly headers: RawHeaders;
  readonly body: Buffer;
  readonly signal: AbortSignal;
  readonly remote: string;
}

export interface HttpServedReply {
  readonly status: number;
  readonly headers?: RawHeaders;
  readonly body: string;
}

export type HttpHandler = (request: HttpServedRequest) => HttpServedReply | Promise<HttpServedReply>;
