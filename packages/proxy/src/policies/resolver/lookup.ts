import { PluginError } from '@sallyport/plugin';
import type { AnswerMemory, Remembered } from './answer-memory.ts';
import type { Traffic } from './exchange.ts';
import { createQuery, formatCode } from './message.ts';
import type { AddressType, Reply } from './message.ts';
import type { Server } from './nameserver.ts';
import { unreachable } from './reasons.ts';

/** "There is none" may change at any time, and is not remembered for longer. */
const maxDenialMs = 60_000;

/** How long an `async` nameserver's answer may be used after it has expired (RFC 8767, section 5: one to three days). */
const maxStaleMs = 24 * 60 * 60 * 1000;

/** What a walk through the nameservers has found. */
export type Found = Remembered & {
  /** It has expired, and must be asked anew. */
  readonly stale?: boolean;
};

/** What becomes known on a walk: for events, and for the error of whoever stops waiting. */
export interface Trace extends Traffic {
  /** One for each server that could not say. */
  readonly failures: PluginError[];
  /** Who is being asked; empty before and after. */
  asking: string;
}

/** The trace of a walk that has not begun. */
export function createTrace(): Trace {
  return { sent: 0, received: 0, failures: [], asking: '' };
}

/** What a walk shares with its resolver. */
export interface LookupState {
  readonly servers: readonly Server[];
  readonly memory: AnswerMemory;
  readonly now: () => number;
}

/** Addresses are the same whoever said them; "there is none" is one server's word, and the next one may know more. */
const addressesKey = (name: string, type: AddressType) => `${type} ${name}`;
const denialKey = (name: string, type: AddressType, server: number) => `${type} ${name} ${String(server)}`;

/** What is remembered of a name at one server; undefined where it must be asked. */
function recall(
  { memory, servers, now }: LookupState,
  [name, type, index]: readonly [string, AddressType, number],
  mayBeStale: boolean,
): Found | undefined {
  const server = servers[index]!;
  if (server.ttlMs < 0) return undefined;
  const found = memory.get(addressesKey(name, type));
  const time = now();
  if (found !== undefined) {
    if (found.expiresAt > time) return found;
    if (mayBeStale && server.async && found.expiresAt + maxStaleMs > time) return { ...found, stale: true };
  }
  const denied = memory.get(denialKey(name, type, index));
  return denied !== undefined && denied.expiresAt > time ? denied : undefined;
}

/** Answers from memory alone; undefined when somebody must be asked. */
export function recallAll(state: LookupState, name: string, network: string): Found | undefined {
  let denied: Found | undefined;
  for (const [index, server] of state.servers.entries()) {
    for (const type of server.types(network)) {
      const found = recall(state, [name, type, index], true);
      if (found === undefined || found.addresses.length > 0) return found;
      denied = laterDenial(denied, found);
      if (found.nameless) break;
    }
  }
  return denied;
}

/**
 * Asks the servers in order until one has an address; memory that is fresh counts. That there is none is the answer when
 * at least one server said so and none knew better. Rejects with PluginError when none of them could say: `timeout` when all
 * of them were silent, else `unreachable`, with every reason; and with the signal's reason when that fires.
 */
export async function lookUp(
  state: LookupState,
  name: string,
  network: string,
  signal: AbortSignal,
  trace: Trace,
): Promise<Found> {
  const { failures } = trace;
  let denied: Found | undefined;
  for (const [index, server] of state.servers.entries()) {
    trace.asking = server.text;
    try {
      const found = await askServer(state, index, name, network, signal, trace);
      if (found.addresses.length > 0) return found;
      denied = laterDenial(denied, found);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const { code, message } = unreachable(error);
      failures.push(
        new PluginError(code, `${server.text}: ${message}`, { cause: error, endpoint: server.text }),
      );
    }
  }
  if (denied !== undefined) {
    // What an `async` server once answered is no longer so; unless that server is one of those that could not say.
    if (failures.length === 0) {
      for (const type of new Set(state.servers.flatMap((server) => server.types(network)))) {
        state.memory.delete(addressesKey(name, type));
      }
    }
    return denied;
  }
  const code = failures.every((failure) => failure.code === 'timeout') ? 'timeout' : 'unreachable';
  const reasons = failures.map(({ message }) => message).join('; ');
  throw new PluginError(code, `no nameserver could say the addresses of ${name}: ${reasons}`, {
    cause: failures.length === 1 ? failures[0] : new AggregateError(failures),
    endpoint: failures.map(({ endpoint }) => endpoint).join(', '),
  });
}

/** Several servers' "there is none" is as good as the shortest of them. */
function laterDenial(before: Found | undefined, found: Found): Found {
  if (before === undefined) return found;
  return { ...before, expiresAt: Math.min(before.expiresAt, found.expiresAt) };
}

async function askServer(
  state: LookupState,
  index: number,
  name: string,
  network: string,
  signal: AbortSignal,
  traffic: Traffic,
): Promise<Found> {
  const server = state.servers[index]!;
  const step = new AbortController();
  const onAbort = () => step.abort(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => {
    step.abort(new PluginError('timeout', `no answer within ${String(server.timeoutMs)} ms`));
  }, server.timeoutMs);
  try {
    let denied: Found | undefined;
    for (const type of server.types(network)) {
      let found = recall(state, [name, type, index], false);
      if (found === undefined) {
        const reply = await server.ask(createQuery(name, type, server.clientIP), step.signal, traffic);
        found = keep(state, index, name, type, reply);
      }
      if (found.addresses.length > 0) return found;
      denied = laterDenial(denied, found);
      if (found.nameless) break;
    }
    return denied!;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/** What a reply says, remembered as long as it may be. Throws PluginError when it says that the server cannot say. */
function keep(state: LookupState, index: number, name: string, type: AddressType, reply: Reply): Remembered {
  const { text: server, ttlMs } = state.servers[index]!;
  if (reply.code !== 0 && reply.code !== 3) {
    throw new PluginError('unreachable', `it answered ${formatCode(reply.code)}`);
  }
  if (reply.referral) {
    throw new PluginError('unreachable', 'it only names other servers, as it does not look up names for us');
  }
  const time = state.now();
  const nameless = reply.code === 3;
  // A name that does not exist has no addresses, whatever stands beside that.
  const addresses = nameless ? [] : reply.addresses;
  const denialMs = Math.min(reply.denialTtlMs, maxDenialMs, ttlMs > 0 ? ttlMs : Infinity);
  const lifeMs = addresses.length === 0 ? denialMs : ttlMs > 0 ? ttlMs : reply.ttlMs;
  const remembered = {
    addresses,
    server,
    nameless,
    reason:
      addresses.length > 0
        ? undefined
        : `${server}: ${nameless ? 'there is no such name' : `the name has no ${type} record`}`,
    expiresAt: ttlMs < 0 ? time : time + lifeMs,
  };
  if (ttlMs < 0 || lifeMs <= 0) return remembered;
  if (addresses.length === 0) state.memory.set(denialKey(name, type, index), remembered);
  else state.memory.set(addressesKey(name, type), remembered);
  return remembered;
}
