import type { Meta, PluginTransport, ServedCall } from '../contract.ts';
import { PluginError } from '../errors.ts';
import type { PluginErrorCode } from '../errors.ts';
import { GrpcStatus, grpcStatus } from '../wire/grpc.ts';
import type { GrpcHandler, GrpcServedCall, GrpcServedReply, RawHeaders } from '../wire/grpc.ts';
import type { HttpHandler, HttpServedReply, HttpServedRequest } from '../wire/http.ts';
import { writeMeta } from '../wire/meta.ts';
import { createHealthCheck, healthCheckPath } from './health.ts';
import { describeServer } from './info.ts';
import { describeRoutes } from './routes.ts';
import type { Route, Routes } from './routes.ts';
import { createTokenChecks } from './token.ts';

/** What the handlers need to know of their server. */
export interface HandlerOptions {
  readonly token: string | undefined;
  readonly hasTls: boolean;
  /** Where the server listens, for the information page when the asker did not say how it got here. */
  addr(): string;
  isStopping(): boolean;
  /** Told what an implementation threw, with `auth.authenticate`. */
  onError(error: unknown, method: string): void;
}

/** The call as an implementation sees it. The signal of the wire is made when it is first looked at, so it is passed on lazily. */
class Served implements ServedCall {
  readonly meta: Meta = {};
  readonly transport: PluginTransport;
  readonly #wire: GrpcServedCall | HttpServedRequest;

  constructor(transport: PluginTransport, wire: GrpcServedCall | HttpServedRequest) {
    this.transport = transport;
    this.#wire = wire;
  }

  get signal(): AbortSignal {
    return this.#wire.signal;
  }

  get remote(): string {
    return this.#wire.remote;
  }
}

/** Makes the handlers of both transports from the same routes. */
export function createHandlers(
  routes: Routes,
  options: HandlerOptions,
): { readonly grpc: GrpcHandler; readonly http: HttpHandler } {
  const isAllowed = createTokenChecks(options.token);
  const served = describeRoutes(routes);
  const services = new Set(routes.modules.map(({ contract }) => contract.service));
  const checkHealth = createHealthCheck(services, options.isStopping);

  const failed = (error: unknown, route: Route, call: Served): void => {
    // An implementation that stops because the asker left has done nothing wrong.
    if (!call.signal.aborted) options.onError(error, `${route.module.contract.kind}.${route.name}`);
  };

  const grpc: GrpcHandler = (wire) => {
    const route = routes.grpc.get(wire.path);
    if (route === undefined) {
      if (wire.path === healthCheckPath) return checkHealth(wire);
      throw new GrpcStatus(
        grpcStatus.unimplemented,
        `${wire.path} is not served here; served: ${served.grpc}`,
      );
    }
    if (!isAllowed.grpc(wire.metadata)) {
      throw new GrpcStatus(
        grpcStatus.unauthenticated,
        'the token in the metadata "token" is missing or wrong',
      );
    }
    const { codec } = route;
    const { ask, request } = decode(
      () => codec.grpc.decodeAsk(wire.message),
      (message, cause) => new GrpcStatus(grpcStatus.invalidArgument, message, { cause }),
    );
    const call = new Served('grpc', wire);
    const refuse = (error: unknown): never => {
      failed(error, route, call);
      const { grpc: status, message } = refusalOf(error);
      throw new GrpcStatus(status, message);
    };
    const reply = (answer: unknown): GrpcServedReply => ({
      message: codec.grpc.encodeAnswer(answer, request),
      trailers: writeMeta(call.meta),
    });
    return answerWith(() => route.answer(ask, call), reply, refuse);
  };

  const http: HttpHandler = (wire) => {
    const verbs = routes.http.get(wire.path);
    if (wire.path === '/' && wire.query === '' && (wire.verb === 'GET' || wire.verb === 'HEAD')) {
      return json(200, describeServer(routes, { addr: reachedBy(wire) ?? options.addr(), ...secured }));
    }
    if (verbs === undefined) return problem(404, `${wire.path} is not served here; served: ${served.http}`);
    const route = verbs.get(wire.verb);
    if (route === undefined) {
      const allow = [...verbs.keys()].join(', ');
      return problem(405, `${wire.path} takes ${allow}; served: ${served.http}`, ['allow', allow]);
    }
    if (!isAllowed.http(wire.headers)) {
      return problem(401, 'the token in "Authorization: Bearer" is missing or wrong', [
        'www-authenticate',
        'Bearer',
      ]);
    }
    const { codec } = route;
    let decoded: { ask: unknown; request: object };
    try {
      decoded = decode(
        () => codec.http.decodeAsk(wire.query, wire.body),
        (message) => new NotAsked(message),
      );
    } catch (error) {
      if (error instanceof NotAsked) return problem(400, error.message);
      throw error;
    }
    const call = new Served('http', wire);
    const refuse = (error: unknown): HttpServedReply => {
      failed(error, route, call);
      const { http: status, message } = refusalOf(error);
      return problem(status, message);
    };
    const reply = (answer: unknown): HttpServedReply =>
      json(200, codec.http.encodeAnswer(answer, decoded.request), writeMeta(call.meta));
    return answerWith(() => route.answer(decoded.ask, call), reply, refuse);
  };

  const secured = { hasToken: (options.token ?? '') !== '', hasTls: options.hasTls };
  return { grpc, http };
}

/** How an implementation's failure is told, over each transport. The words are ours: its own may say too much. */
interface Refusal {
  readonly grpc: number;
  readonly http: number;
  readonly message: string;
}

const failure: Refusal = {
  ...{ grpc: grpcStatus.internal, http: 500 },
  message: 'the plugin failed to answer; its own log says why',
};

/** What an implementation could not ask either. Its asker is told so: another server of the same plugin may do better. */
const unasked: Partial<Record<PluginErrorCode, Refusal>> = {
  timeout: {
    ...{ grpc: grpcStatus.deadlineExceeded, http: 504 },
    message: 'what the plugin needs did not answer in time; its own log says more',
  },
  unreachable: {
    ...{ grpc: grpcStatus.unavailable, http: 503 },
    message: 'the plugin cannot reach what it needs; its own log says why',
  },
  overloaded: {
    ...{ grpc: grpcStatus.resourceExhausted, http: 429 },
    message: 'the plugin has too much to do; its own log says more',
  },
};

function refusalOf(error: unknown): Refusal {
  return (error instanceof PluginError ? unasked[error.code] : undefined) ?? failure;
}

/** A request that is none. */
class NotAsked extends Error {}

/** Only what the codec says about the request is told to the asker. */
function decode<T>(read: () => T, failure: (message: string, cause: unknown) => Error): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof PluginError) throw failure(error.message, error);
    throw error;
  }
}

/** An answer that is there at once costs no promise. */
function answerWith<Reply>(
  ask: () => unknown,
  reply: (answer: unknown) => Reply,
  refuse: (error: unknown) => Reply,
): Reply | Promise<Reply> {
  try {
    const answer = ask();
    if (isPromise(answer)) return answer.then(reply).catch(refuse);
    return reply(answer);
  } catch (error) {
    return refuse(error);
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return typeof (value as { then?: unknown } | undefined)?.then === 'function';
}

function json(status: number, body: string, headers: RawHeaders = []): HttpServedReply {
  return { status, headers: ['content-type', 'application/json', ...headers], body };
}

function problem(status: number, error: string, headers: RawHeaders = []): HttpServedReply {
  return json(status, `${JSON.stringify({ error })}\n`, headers);
}

/** What the asker called us: its Host, or `:authority`, which arrives under the same name. */
function reachedBy({ headers }: HttpServedRequest): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i]!.toLowerCase() === 'host') return headers[i + 1];
  }
  return undefined;
}
