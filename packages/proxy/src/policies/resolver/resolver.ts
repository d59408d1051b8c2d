import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { PluginError } from '@sallyport/plugin';
import type { Call, CallEvent } from '@sallyport/plugin';
import { readDefaultRoots } from '@sallyport/plugin/wire';
import { canonicalTarget } from '../../core/address.ts';
import { ProxyError } from '../../core/errors.ts';
import { timeLocal } from '../../core/local-event.ts';
import type { PolicyOf } from '../../core/policies.ts';
import { createAnswerMemory } from './answer-memory.ts';
import { createFlights } from './flights.ts';
import { createTrace, lookUp, recallAll } from './lookup.ts';
import type { Found, Trace } from './lookup.ts';
import { createServer } from './nameserver.ts';
import type { Nameserver } from './nameserver.ts';

/** What a resolver is made of. */
export interface ResolverOptions {
  /** The resolver's name in the configuration, for events. */
  readonly name?: string;
  /** Asked in this order. At least one. */
  readonly nameservers: readonly Nameserver[];
  /**
   * PEM certificates of the authorities that vouch for `tls` and `https` nameservers. Default: the system's, Node's own and
   * those of `NODE_EXTRA_CA_CERTS`, read when the first such nameserver is asked.
   */
  readonly roots?: readonly string[];
  /** A clock in milliseconds. Default: one that only goes forward. */
  readonly now?: () => number;
}

/** The built-in resolver: a policy like any other, and what it keeps open. */
export type BuiltInResolver = PolicyOf<'resolver'> & {
  /** Ends kept connections and whatever is being asked; who still waits gets PluginError `canceled`, and so does who asks later. */
  close(): void;
};

/** Names and record types that are remembered; the least recently used go first. */
const maxRemembered = 10_000;

/** Lookups under way for different names. More are refused, as each may hold a port or a connection. */
const maxLookups = 1_000;

/** Lookups in the background at once (GOST's figure); what is stale beyond that is answered and asked anew next time. */
const maxRefreshes = 32;

/**
 * Makes the resolver that asks nameservers itself; the system's DNS is never asked for a target. It answers IP addresses, best first, and
 * nothing for a name that has none, does not exist or cannot exist; an address is answered as it is. Servers are asked in
 * order until one has an address: a name that is unknown to the first may be known to the second, as in GOST. What was
 * answered is remembered as long as its records say (a TTL of zero: not at all), and equal questions under way share one lookup.
 *
 * It rejects with PluginError when nobody could say: `timeout`, `unreachable` (each with the reasons of all servers),
 * `overloaded` with a thousand lookups under way, `canceled` when the call's signal fires. The deadline of it all is that
 * signal; without one it is the sum of the servers' timeouts. `meta` says how long the answer holds, and why there is none.
 * Throws TypeError without a nameserver.
 */
export function createResolver(options: ResolverOptions): BuiltInResolver {
  if (options.nameservers.length === 0) throw new TypeError('a resolver needs a nameserver');
  const now = options.now ?? (() => performance.now());
  let context: SecureContext | undefined;
  const secureContext = () =>
    (context ??= createSecureContext({ ca: [...(options.roots ?? readDefaultRoots())] }));
  const servers = options.nameservers.map((nameserver) => createServer(nameserver, secureContext));
  const memory = createAnswerMemory(maxRemembered);
  const state = { servers, memory, now };
  const flights = createFlights<Found, Trace>(createTrace);
  let refreshes = 0;
  let closed: PluginError | undefined;

  const walk = (name: string, network: string) => (signal: AbortSignal, trace: Trace) =>
    lookUp(state, name, network, signal, trace);
  const refresh = (key: string, name: string, network: string) => {
    if (refreshes >= maxRefreshes || flights.has(key)) return;
    refreshes++;
    const end = () => {
      refreshes--;
    };
    // Whoever asks next sees the failure, or what is stale once more.
    flights.join(key, undefined, walk(name, network)).outcome.then(end, end);
  };

  const ask = (network: string, host: string, call: Call): Asked => {
    if (closed !== undefined) throw closed;
    const name = nameOf(host);
    if (name === undefined) return { source: 'live', outcome: nowhere(host, now()) };
    const key = `${network} ${name}`;
    const known = recallAll(state, name, network);
    if (known !== undefined) {
      if (known.stale === true) refresh(key, name, network);
      return { source: 'cached', outcome: known };
    }
    const source = flights.has(key) ? 'coalesced' : 'live';
    if (source === 'live' && flights.size >= maxLookups) {
      throw new PluginError('overloaded', `${String(maxLookups)} names are being looked up already`);
    }
    return { source, ...flights.join(key, call.signal, walk(name, network)) };
  };

  return {
    async resolve({ network, host }, call) {
      // An address is no question, and nobody was asked.
      if (isIP(host) !== 0) return [host];
      const { name } = options;
      const tell = timeLocal(call, 'resolver', 'resolve');
      let asked: Asked | undefined;
      try {
        asked = ask(network, host, call);
        const found = await asked.outcome;
        const reason = found.stale === true ? 'it has expired and is asked anew' : found.reason;
        call.meta.ttlMs = Math.max(0, Math.floor(found.expiresAt - now()));
        if (reason !== undefined) call.meta.reason = reason;
        tell({ name, endpoint: found.server, source: asked.source, ...bytesOf(asked), reason });
        return found.addresses;
      } catch (error) {
        const failure = failureOf(error, asked?.trace);
        tell({
          name,
          endpoint: failure.endpoint ?? servers.map(({ text }) => text).join(', '),
          source: asked?.source ?? 'live',
          ...bytesOf(asked),
          outcome: failure.code,
          error: failure.message,
        });
        throw failure;
      }
    },
    close() {
      closed ??= new PluginError('canceled', 'the resolver was closed');
      flights.abort(closed);
      for (const server of servers) server.close();
      memory.clear();
    },
  };
}

/** How one question is being answered. */
interface Asked {
  readonly source: 'live' | 'cached' | 'coalesced';
  readonly outcome: Found | Promise<Found>;
  readonly trace?: Trace;
}

/** Only who began a lookup is told its bytes, so that a sum counts each of them once. */
function bytesOf(asked: Asked | undefined): Pick<CallEvent, 'bytesSent' | 'bytesReceived'> {
  const trace = asked?.source === 'live' ? asked.trace : undefined;
  return { bytesSent: trace?.sent ?? 0, bytesReceived: trace?.received ?? 0 };
}

/** Whoever stopped waiting is told how far it had come. */
function failureOf(error: unknown, trace: Trace | undefined): PluginError {
  if (!(error instanceof PluginError)) {
    return new PluginError('internal', error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
  if (error.code !== 'timeout' || error.endpoint !== undefined || trace === undefined) return error;
  const reasons = [...trace.failures.map(({ message }) => message), `${trace.asking}: no answer yet`];
  return new PluginError('timeout', `${error.message} (${reasons.join('; ')})`, {
    cause: error,
    endpoint: trace.asking,
  });
}

/** The one spelling of a name that DNS can hold; undefined for anything else, of which no server is asked. */
function nameOf(host: string): string | undefined {
  try {
    return canonicalTarget({ host, port: 1 }).host;
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    return undefined;
  }
}

function nowhere(host: string, time: number): Found {
  const shown = JSON.stringify(host.slice(0, 100));
  return { addresses: [], server: '', nameless: true, reason: `${shown} is no host name`, expiresAt: time };
}
