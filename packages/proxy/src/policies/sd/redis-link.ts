import { setMaxListeners } from 'node:events';
import { PluginError } from '@sallyport/plugin';
import type { Redis } from 'ioredis';
import { formatRedis } from './address.ts';
import type { RedisAddress } from './address.ts';
import { errorOfReply, isReplyError, unreachable } from './reasons.ts';

/** Where a Redis is, and who we are to it. */
export interface RedisLinkOptions {
  readonly address: RedisAddress;
  /** Default 0. */
  readonly db?: number;
  /** Default: Redis' own default user. */
  readonly username?: string;
  readonly password?: string;
  /** How long connecting, authenticating and choosing the database may take together. Default 3,000. */
  readonly connectMs?: number;
  /** Commands under way or waiting for the connection; more are `overloaded`. Default 1,000. */
  readonly maxCommands?: number;
  /** From 0 to below 1. Default `Math.random`. */
  readonly random?: () => number;
}

/** What one command may cost. */
interface CommandLimits {
  /** From now to the answer, the connection included. */
  readonly timeoutMs: number;
  /** Nobody waits any more: `canceled`. */
  readonly signal?: AbortSignal | undefined;
}

/** One connection to a Redis, made when it is first needed and again when it was lost. */
export interface RedisLink {
  /** As events and messages name it. */
  readonly endpoint: string;
  /**
   * Runs a command that does no harm when it is run twice: where the connection is lost before its answer, it is run once more
   * on another. Rejects with PluginError.
   */
  run<T>(command: (redis: Redis) => Promise<T>, limits: CommandLimits): Promise<T>;
  /** Ends the connection; whoever waits, and whoever asks later, gets `canceled`. */
  close(): void;
}

/** After a failed connection nobody tries for so long, doubled each time: a Redis that is down costs each question nothing. */
const firstPauseMs = 100;
const maxPauseMs = 2_000;

/**
 * A connection that is made on demand. There is no queue without an end: a command waits for a connection that is being made,
 * within its own deadline, and is refused at once while the last attempt has just failed. A Redis that answers nothing
 * before a command's deadline is left, and the next command connects anew.
 */
export function createRedisLink({
  address,
  db = 0,
  username,
  password,
  connectMs = 3_000,
  maxCommands = 1_000,
  random = Math.random,
}: RedisLinkOptions): RedisLink {
  const endpoint = formatRedis(address, db);
  // A tenth of a second and 20 MB that only those pay who have a Redis; begun now, not within the first question's deadline.
  const library = import('ioredis');
  library.catch(() => undefined); // Whoever connects is told.
  let live: Redis | undefined;
  let connecting: Promise<Redis> | undefined;
  let failed: { readonly error: PluginError; readonly untilMs: number } | undefined;
  let pauseMs = firstPauseMs;
  let under = 0;
  /** When Redis last said anything. */
  let heardMs = 0;
  const closed = new AbortController();
  // All commands under way listen for the one end.
  setMaxListeners(0, closed.signal);

  const connect = async (): Promise<Redis> => {
    const { Redis } = await library;
    if (closed.signal.aborted) throw ended();
    const redis = new Redis({
      ...('path' in address ? { path: address.path } : { host: address.host, port: address.port }),
      lazyConnect: true,
      // When to connect again is decided here, and nothing waits in there.
      retryStrategy: () => null,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      // What is said to a Redis that is loading is answered so.
      enableReadyCheck: false,
      disableClientInfo: true,
      protocol: 2,
      connectTimeout: connectMs,
      disconnectTimeout: 100,
    });
    let reason: unknown;
    redis.on('error', (error) => {
      reason = error;
    });
    const leave = () => {
      redis.disconnect();
    };
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      leave();
    }, connectMs);
    closed.signal.addEventListener('abort', leave, { once: true });
    redis.once('end', () => {
      closed.signal.removeEventListener('abort', leave);
      if (live === redis) live = undefined;
    });
    try {
      await redis.connect();
      // Said here, not by the library, which would go on with another user or another database.
      if (password !== undefined)
        await (username === undefined ? redis.auth(password) : redis.auth(username, password));
      await redis.select(db);
      if (redis.status !== 'ready') throw new Error('the connection was closed');
    } catch (cause) {
      leave();
      if (isLate)
        throw new PluginError('timeout', `${endpoint} did not answer within ${seconds(connectMs)}`, {
          endpoint,
        });
      throw failure(isReplyError(cause) ? cause : (reason ?? cause));
    } finally {
      clearTimeout(timer);
    }
    return redis;
  };

  const failure = (cause: unknown): PluginError => {
    if (cause instanceof PluginError) return cause;
    return isReplyError(cause) ? errorOfReply(cause, endpoint) : unreachable(cause, endpoint);
  };

  const reach = (): Promise<Redis> => {
    if (live !== undefined) return Promise.resolve(live);
    if (failed !== undefined && performance.now() < failed.untilMs) return Promise.reject(failed.error);
    connecting ??= connect()
      .then(
        (redis) => {
          failed = undefined;
          pauseMs = firstPauseMs;
          return (live = redis);
        },
        (error: unknown) => {
          const failing = failure(error);
          failed = { error: failing, untilMs: performance.now() + pauseMs * (0.75 + random() / 2) };
          pauseMs = Math.min(pauseMs * 2, maxPauseMs);
          throw failing;
        },
      )
      .finally(() => {
        connecting = undefined;
      });
    return connecting;
  };

  const attempt = async <T>(
    command: (redis: Redis) => Promise<T>,
    progress: { over: boolean; asked?: { readonly redis: Redis; readonly atMs: number } },
  ): Promise<T> => {
    for (let tries = 1; ; tries++) {
      const redis = await reach();
      if (progress.over) throw new PluginError('canceled', 'nobody waits any more');
      progress.asked = { redis, atMs: performance.now() };
      try {
        const answer = await command(redis);
        heardMs = performance.now();
        return answer;
      } catch (cause) {
        if (isReplyError(cause)) heardMs = performance.now();
        else if (live === redis) live = undefined;
        if (isReplyError(cause) || cause instanceof PluginError || tries > 1 || progress.over)
          throw failure(cause);
      }
    }
  };

  return {
    endpoint,
    run(command, { timeoutMs, signal }) {
      if (closed.signal.aborted) return Promise.reject(ended());
      if (signal?.aborted === true) return Promise.reject(canceled());
      if (under >= maxCommands) {
        const message = `${endpoint}: ${String(maxCommands)} commands wait for an answer`;
        return Promise.reject(new PluginError('overloaded', message, { endpoint }));
      }
      under++;
      const progress: Parameters<typeof attempt>[1] = { over: false };
      return new Promise<Awaited<ReturnType<typeof command>>>((resolve, reject) => {
        const late = () => {
          const { asked } = progress;
          // One that has answered others meanwhile is slow, not gone.
          if (asked !== undefined && asked.redis === live && heardMs < asked.atMs) {
            live = undefined;
            asked.redis.disconnect();
          }
          settle(() => {
            const message = `${endpoint} did not answer within ${seconds(timeoutMs)}`;
            reject(new PluginError('timeout', message, { endpoint }));
          });
        };
        const leave = () => {
          settle(() => {
            reject(canceled());
          });
        };
        const close = () => {
          settle(() => {
            reject(ended());
          });
        };
        const timer = setTimeout(late, timeoutMs);
        const settle = (how: () => void) => {
          if (progress.over) return;
          progress.over = true;
          under--;
          clearTimeout(timer);
          signal?.removeEventListener('abort', leave);
          closed.signal.removeEventListener('abort', close);
          how();
        };
        signal?.addEventListener('abort', leave, { once: true });
        closed.signal.addEventListener('abort', close, { once: true });
        attempt(command, progress).then(
          (answer) => {
            settle(() => {
              resolve(answer as Awaited<ReturnType<typeof command>>);
            });
          },
          (cause: unknown) => {
            settle(() => {
              reject(failure(cause));
            });
          },
        );
      });
    },
    close() {
      closed.abort();
    },
  };
}

function ended(): PluginError {
  return new PluginError('canceled', 'the service discovery was closed');
}

function canceled(): PluginError {
  return new PluginError('canceled', 'nobody waits any more');
}

function seconds(ms: number): string {
  return ms < 1000 ? `${String(ms)} ms` : `${String(ms / 1000)} s`;
}
