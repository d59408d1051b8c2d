import { contractByKind, PluginError } from '@sallyport/plugin';
import type { Call, SdService } from '@sallyport/plugin';
import { timeLocal } from '../../core/local-event.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { entryKey, formatEntry, parseEntry } from './entry.ts';
import { createRedisLink } from './redis-link.ts';
import type { RedisLinkOptions } from './redis-link.ts';
import { deregisterScript, getScript, registerScript } from './scripts.ts';

/** How services are kept in Redis. */
export interface RedisSdOptions extends RedisLinkOptions {
  /** What every key begins with. Default `gost:sd:`. */
  readonly key?: string;
  /**
   * How long a registration lives that is not renewed. Default 45,000: three times the 15 s after which handlers renew, so that
   * two renewals may fail and a machine that was killed is forgotten within a minute.
   */
  readonly ttlMs?: number;
  /** For tests: in place of the contract's deadlines. */
  readonly timeoutMs?: { readonly get: number; readonly change: number };
}

/** The built-in service discovery: a policy like any other, and what it keeps open. */
export type RedisSd = PolicyOf<'sd'> & {
  /** Ends the connection. Whoever waits, and whoever asks later, gets PluginError `canceled`. */
  close(): void;
};

const { get, register } = contractByKind.sd.methods;

/**
 * The service discovery that keeps its services in Redis or Valkey, for any number of proxies. GOST's has a plugin only.
 *
 * Two keys for each name, `gost:sd:entries:NAME` (a hash of the services as JSON) and `gost:sd:expiry:NAME` (until when
 * each counts), are changed by scripts: what is answered is one moment, in one round trip, and the only clock is that of Redis.
 * A renewal writes all fields again, so that a Redis that has lost everything is whole after one period; one without network
 * and address, as GOST sends them, keeps those that were registered. What was never registered cannot be renewed so.
 *
 * Rejects with PluginError: `timeout` after 1 s (get) or 5 s, `unreachable`, `unauthenticated` for what Redis says of a user,
 * `overloaded`, `badReply` for what nobody of us has written there, `canceled` when the call's signal fires or it is closed.
 * Nothing is connected before the first question.
 */
export function redisSd(options: RedisSdOptions): RedisSd {
  const { key = 'gost:sd:', ttlMs = 45_000 } = options;
  const { get: getMs, change: changeMs } = options.timeoutMs ?? {
    get: get.timeoutMs,
    change: register.timeoutMs,
  };
  const link = createRedisLink(options);
  const keysOf = (name: string) => [`${key}entries:${name}`, `${key}expiry:${name}`] as const;

  const told = async <A>(method: string, call: Call, ask: () => Promise<A>): Promise<A> => {
    const tell = timeLocal(call, 'sd', method);
    const { endpoint } = link;
    try {
      const answer = await ask();
      tell({ endpoint });
      return answer;
    } catch (cause) {
      const error = cause instanceof PluginError ? cause : internal(cause, endpoint);
      tell({ endpoint, outcome: error.code, error: error.message });
      throw error;
    }
  };

  const write = (method: 'register' | 'renew') => (service: SdService, call: Call) =>
    told(method, call, async () => {
      const isPartial = method === 'renew' && service.network === '' && service.address === '';
      const rest = [entryKey(service), isPartial ? '' : formatEntry(service), String(Math.ceil(ttlMs))];
      await link.run((redis) => redis.eval(registerScript, 2, ...keysOf(service.name), ...rest), {
        timeoutMs: changeMs,
        signal: call.signal,
      });
    });

  return {
    register: write('register'),
    renew: write('renew'),
    deregister: (service, call) =>
      told('deregister', call, async () => {
        await link.run(
          (redis) => redis.eval(deregisterScript, 2, ...keysOf(service.name), entryKey(service)),
          { timeoutMs: changeMs, signal: call.signal },
        );
      }),
    get: ({ name }, call) =>
      told('get', call, async () => {
        const found = await link.run((redis) => redis.eval(getScript, 2, ...keysOf(name)), {
          timeoutMs: getMs,
          signal: call.signal,
        });
        if (!Array.isArray(found)) throw new PluginError('badReply', `${link.endpoint} answers no list`);
        return found.map((text) => parseEntry(String(text)));
      }),
    close() {
      link.close();
    },
  };
}

function internal(cause: unknown, endpoint: string): PluginError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new PluginError('internal', `${endpoint}: ${message}`, { cause, endpoint });
}
