import type { AnyMethod, Call, CallEvent, Meta, ModuleKind } from '../contract.ts';
import { PluginError } from '../errors.ts';
import { createAnswerCache, recall } from './answer-cache.ts';
import type { Carrier } from './carrier.ts';
import { createCoalescer } from './coalescer.ts';
import type { EndpointHealth } from './endpoint-health.ts';
import { isObserved, publish } from './events.ts';
import type { Gate } from './gate.ts';
import { keyedHash } from './secret.ts';
import type { Trace } from './trace.ts';

/** What all methods of one plugin share. */
export interface PluginState {
  readonly kind: ModuleKind;
  /** The plugin's name in the configuration. */
  readonly name: string | undefined;
  /** The `url` of each endpoint. */
  readonly urls: readonly string[];
  readonly health: EndpointHealth;
  readonly gate: Gate;
  closed: boolean;
}

/** How one method is asked. */
export interface AskerSettings {
  /** Over everything: waiting for a place, every attempt, connect, head and body. */
  readonly timeoutMs: number;
  /** How long answers are kept whose reply says nothing about it. 0: not at all. */
  readonly ttlMs: number;
  readonly negativeTtlMs: number;
  readonly maxEntries: number;
}

/** One method of a plugin as a function. It rejects with PluginError and never throws. */
interface Asker<Ask, Answer> {
  (ask: Ask, call: Call): Answer | Promise<Answer>;
}

/** Sixteen MiB of remembered answers a method, whatever `maxEntries` says: a question may hold a path of many kilobytes. */
const maxCacheBytes = 16 * 1024 * 1024;

/**
 * The one path of every question to every plugin: what is known without asking, the cache, identical questions in flight,
 * the cap and its queue, an endpoint whose breaker lets it pass, the deadline, the transport, once more where that is
 * safe, and the typed outcome.
 */
export function createAsker<Ask, Answer>(
  plugin: PluginState,
  name: string,
  method: AnyMethod,
  carrier: Carrier<Ask, Answer>,
  settings: AskerSettings,
): Asker<Ask, Answer> {
  const { kind, urls, health, gate } = plugin;
  const { idempotent } = method;
  const { timeoutMs } = settings;
  const cacheKey = method.cacheKey as ((ask: Ask, secret: (text: string) => string) => string) | undefined;
  const negative = method.negative as ((answer: Answer) => boolean) | undefined;
  const known = method.known as
    ((ask: Ask, transport: 'grpc' | 'http') => { readonly answer: Answer } | undefined) | undefined;
  const cache = createAnswerCache<Answer>({ maxEntries: settings.maxEntries, maxBytes: maxCacheBytes });
  const coalescer = method.coalesce && cacheKey !== undefined ? createCoalescer<Answer>() : undefined;

  const fail = (code: PluginError['code'], message: string, cause?: unknown): PluginError =>
    new PluginError(code, `${kind}.${name}: ${message}`, { unsent: true, cause });

  /** Where a failed call goes a second time; throws the error where it must not. */
  const secondEndpoint = (error: PluginError, first: number, now: number): number => {
    if (error.code === 'canceled' || (!error.unsent && !idempotent)) throw error;
    const other = health.other(first, now);
    if (other >= 0) return other;
    if (!mayRepeat(error) || health.isOpen(first)) throw error;
    return first;
  };

  const remember = (key: string, answer: Answer, meta: Meta, bytes: number): void => {
    const configured = negative?.(answer) ? settings.negativeTtlMs : settings.ttlMs;
    const ttlMs = meta.ttlMs ?? configured;
    if (ttlMs <= 0) return;
    const { reason, tags } = meta;
    cache.set(key, { answer, reason, tags, expiresAt: performance.now() + ttlMs }, bytes);
  };

  /** One live call, whoever waits for it. */
  const live = async (
    ask: Ask,
    key: string | undefined,
    meta: Meta,
    trace: Trace,
    signal: AbortSignal | undefined,
    start: number,
  ): Promise<Answer> => {
    // It may hold something of an earlier question.
    meta.ttlMs = undefined;
    meta.reason = undefined;
    meta.tags = undefined;
    const deadline = start + timeoutMs;
    let left = timeoutMs;
    if (!gate.enter()) {
      await gate.wait(timeoutMs, signal);
      left = Math.max(1, deadline - performance.now());
    }
    try {
      const question = carrier.encode(ask);
      let endpoint = health.pick(deadline - left, idempotent);
      if (endpoint < 0) throw breakerError(fail, health);
      for (let retried = false; ; retried = true) {
        trace.endpoint = urls[endpoint]!;
        // Half of the time is for the other endpoint, should this one keep silent.
        const share = !retried && idempotent && health.hasSpare(endpoint) ? left / 2 : left;
        try {
          const reply = await carrier.send(endpoint, question, Math.ceil(share), signal);
          health.answered(endpoint);
          trace.bytesSent += reply.bytesSent;
          trace.bytesReceived += reply.bytesReceived;
          const answer = carrier.decode(reply, ask, meta);
          if (cacheKey !== undefined && (meta.ttlMs ?? settings.ttlMs + settings.negativeTtlMs) > 0)
            remember(key ?? cacheKey(ask, keyedHash), answer, meta, trace.bytesReceived);
          return answer;
        } catch (thrown) {
          const error = located(thrown, urls[endpoint]!);
          const now = performance.now();
          left = deadline - now;
          health.failed(endpoint, error, now);
          if (retried || left <= 0 || signal?.aborted) throw error;
          endpoint = secondEndpoint(error, endpoint, now);
        }
      }
    } finally {
      gate.leave();
    }
  };

  const tell = (
    call: Call,
    source: CallEvent['source'],
    start: number,
    trace: Trace,
    error: PluginError | undefined,
    meta: Meta,
  ): void => {
    const event: CallEvent = {
      module: kind,
      method: name,
      name: plugin.name,
      endpoint: error?.endpoint ?? trace.endpoint,
      transport: carrier.transport,
      session: call.session,
      outcome: error?.code ?? 'ok',
      source,
      ms: performance.now() - start,
      bytesSent: trace.bytesSent,
      bytesReceived: trace.bytesReceived,
      reason: meta.reason,
      error: error?.message,
    };
    publish(event, call);
  };

  const asked = async (
    answer: Promise<Answer>,
    call: Call,
    source: CallEvent['source'],
    start: number,
    trace: Trace,
  ): Promise<Answer> => {
    let failure: PluginError | undefined;
    try {
      return await answer;
    } catch (error) {
      failure = located(error, trace.endpoint);
      throw failure;
    } finally {
      tell(call, source, start, trace, failure, call.meta);
    }
  };

  const shared = async (
    joined: { answer: Promise<Answer>; flight: { meta: Meta } },
    meta: Meta,
  ): Promise<Answer> => {
    const answer = await joined.answer;
    Object.assign(meta, joined.flight.meta);
    return answer;
  };

  const begin = (ask: Ask, call: Call): Answer | Promise<Answer> => {
    if (plugin.closed) throw fail('unreachable', 'the connection to the plugin was closed');
    const { signal } = call;
    if (signal?.aborted) throw fail('canceled', 'nobody waits for the answer any more', signal.reason);
    const already = known?.(ask, carrier.transport);
    if (already !== undefined) return already.answer;

    const start = performance.now();
    const key =
      cacheKey !== undefined && (coalescer !== undefined || cache.size > 0)
        ? cacheKey(ask, keyedHash)
        : undefined;
    if (key !== undefined && cache.size > 0) {
      const remembered = cache.get(key, start);
      if (remembered !== undefined) {
        recall(remembered, start, call.meta);
        if (isObserved(call)) tell(call, 'cached', start, nothing, undefined, call.meta);
        return remembered.answer;
      }
    }
    if (coalescer === undefined || key === undefined) {
      const trace: Trace = { endpoint: '', bytesSent: 0, bytesReceived: 0 };
      const answer = live(ask, key, call.meta, trace, signal, start);
      return isObserved(call) ? asked(answer, call, 'live', start, trace) : answer;
    }
    const joined = coalescer.join(key, signal, (meta, trace, until) =>
      live(ask, key, meta, trace, until, start),
    );
    const answer = shared(joined, call.meta);
    if (!isObserved(call)) return answer;
    return asked(answer, call, joined.started ? 'live' : 'coalesced', start, joined.flight.trace);
  };

  return (ask, call) => {
    try {
      return begin(ask, call);
    } catch (error) {
      return Promise.reject(
        error instanceof PluginError
          ? error
          : fail('internal', 'the question has not the right shape', error),
      );
    }
  };
}

const nothing: Trace = { endpoint: '', bytesSent: 0, bytesReceived: 0 };

/**
 * Whether a failed call may be sent once more to the same endpoint: only where the connection broke and the server said
 * nothing. What was never sent has been tried again by the transport itself already.
 */
function mayRepeat(error: PluginError): boolean {
  return (
    error.code === 'unreachable' &&
    !error.unsent &&
    error.httpStatus === undefined &&
    (error.headers ?? error.trailers) === undefined
  );
}

function breakerError(
  fail: (code: PluginError['code'], message: string, cause?: unknown) => PluginError,
  health: EndpointHealth,
): PluginError {
  const last = health.lastError();
  return fail(
    last?.code ?? 'unreachable',
    `not asked, because the last calls failed; the last one: ${last?.message ?? 'unknown'}`,
    last,
  );
}

/** The same error, saying where the call went. A foreign one would be a fault of this package. */
function located(thrown: unknown, endpoint: string): PluginError {
  if (!(thrown instanceof PluginError)) {
    return new PluginError('internal', thrown instanceof Error ? thrown.message : String(thrown), {
      cause: thrown,
      endpoint: endpoint === '' ? undefined : endpoint,
    });
  }
  if (thrown.endpoint !== undefined || endpoint === '') return thrown;
  const { cause, unsent, grpcStatus, httpStatus, details, headers, trailers } = thrown;
  return new PluginError(thrown.code, thrown.message, {
    cause,
    endpoint,
    unsent,
    grpcStatus,
    httpStatus,
    details,
    headers,
    trailers,
  });
}
