import { createMethodCodec } from '../codec.ts';
import type { Contract, Meta, Methods } from '../contract.ts';
import { PluginError } from '../errors.ts';
import type { Endpoint } from '../wire/endpoint.ts';
import type { GrpcClient, GrpcReply, GrpcRequest } from '../wire/grpc.ts';
import type { HttpClient, HttpReply, HttpRequest } from '../wire/http.ts';
import { writeMeta } from '../wire/meta.ts';
import type { Transports } from './connected-plugin.ts';

/** One call that reached a transport and waits for what the test does with it. */
export interface PendingCall {
  readonly endpoint: Endpoint;
  readonly grpc: GrpcRequest | undefined;
  readonly http: HttpRequest | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** The question, as a server would read it. */
  readonly ask: unknown;
  readonly settled: boolean;
  answer(answer: unknown, meta?: Meta): void;
  fail(error: PluginError): void;
  /** A reply that no codec can read. */
  garble(): void;
}

/**
 * Both transports in memory, for one method: calls are kept in `calls` until the test answers them, or are answered at once
 * by `respond`. A signal cancels a call as the real clients do. No deadline is kept; it is there to be looked at.
 */
export function memoryTransports<M extends Methods>(contract: Contract<M>, name: keyof M & string) {
  const codec = createMethodCodec(contract, name);
  const calls: PendingCall[] = [];
  const closed: (number | undefined)[] = [];
  const state = { respond: undefined as ((call: PendingCall) => void) | undefined };

  const pend = <Reply>(
    endpoint: Endpoint,
    request: { grpc?: GrpcRequest; http?: HttpRequest },
    { ask, request: decoded }: { ask: unknown; request: object },
    reply: (answer: unknown, request: object, meta: Meta) => Reply,
    garbage: Reply,
  ): Promise<Reply> =>
    new Promise<Reply>((resolve, reject) => {
      const { timeoutMs, signal } = (request.grpc ?? request.http)!;
      let settled = false;
      const settle = <T>(done: (value: T) => void, value: T) => {
        settled = true;
        signal?.removeEventListener('abort', cancel);
        done(value);
      };
      const cancel = () => {
        settle(reject, new PluginError('canceled', 'canceled by its signal', { endpoint: endpoint.url }));
      };
      signal?.addEventListener('abort', cancel);
      const call: PendingCall = {
        endpoint,
        grpc: request.grpc,
        http: request.http,
        timeoutMs: timeoutMs!,
        signal,
        ask,
        get settled() {
          return settled;
        },
        answer: (answer, meta = {}) => settle(resolve, reply(answer, decoded, meta)),
        fail: (error) => settle(reject, error),
        garble: () => settle(resolve, garbage),
      };
      calls.push(call);
      state.respond?.(call);
    });

  const bytes = { bytesSent: 30, bytesReceived: 20 };
  const transports: Transports = {
    grpc: ({ endpoint }): GrpcClient => ({
      call: (request) =>
        pend<GrpcReply>(
          endpoint,
          { grpc: request },
          codec.grpc.decodeAsk(request.message),
          (answer, decoded, meta) => ({
            message: Buffer.from(codec.grpc.encodeAnswer(answer as never, decoded)),
            headers: [],
            trailers: ['grpc-status', '0', ...writeMeta(meta)],
            ...bytes,
          }),
          { message: Buffer.from([0xff]), headers: [], trailers: [], ...bytes },
        ),
      close: async (drainMs) => void closed.push(drainMs),
    }),
    http: ({ endpoint }): HttpClient => ({
      request: (request) =>
        pend<HttpReply>(
          endpoint,
          { http: request },
          codec.http.decodeAsk(request.path.split('?')[1] ?? '', Buffer.from(request.body ?? '')),
          (answer, decoded, meta) => ({
            status: 200,
            headers: ['content-type', 'application/json', ...writeMeta(meta)],
            body: Buffer.from(codec.http.encodeAnswer(answer as never, decoded)),
            ...bytes,
          }),
          { status: 200, headers: [], body: Buffer.from('<html>'), ...bytes },
        ),
      close: async (drainMs) => void closed.push(drainMs),
    }),
  };
  return {
    transports,
    calls,
    /** With which `drainMs` the clients were closed. */
    closed,
    /** From now on each call is handled by this as soon as it comes. */
    set respond(respond: (call: PendingCall) => void) {
      state.respond = respond;
    },
  };
}
