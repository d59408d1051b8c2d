import { writeJson } from '@sallyport/plugin/wire';
import { formatAddress } from '../core/address.ts';
import type { Address } from '../core/conn.ts';
import type { ProxyError } from '../core/errors.ts';
import type { Decided, SessionFacts } from '../core/events.ts';
import type { Traffic } from '../core/relay.ts';
import { redactDetails, redactTarget, redactUris } from './redact.ts';

/** How a target was reached. */
export interface Reached {
  /** The forwarder's node, where there is a forwarder. */
  readonly node: string;
  /** The nodes of the chain, `name@address` each. */
  readonly path: readonly string[];
  /** What was dialled, as text: the target, or the forwarder's node. */
  readonly to: string;
  readonly local: Address | undefined;
  readonly remote: Address | undefined;
}

/** What one record of a handler is made of. */
export interface HandlerFacts {
  readonly session: SessionFacts;
  readonly target: Address | undefined;
  readonly reached: Reached | undefined;
  /** What only the protocol knows, under GOST's keys; an object without keys where there is nothing. */
  readonly details: Readonly<Record<string, unknown>>;
  readonly traffic: Readonly<Traffic>;
  readonly error: ProxyError | undefined;
  readonly ms: number;
  /** When it began, in milliseconds since 1970. */
  readonly startedMs: number;
  readonly decisions: readonly Decided[];
  /** The service's labels as JSON; empty: it has none. */
  readonly labels: string;
  readonly recordCredentials: boolean;
}

/** Sections of a record that only one protocol has, in GOST's order. */
const sections = ['http', 'websocket', 'tls', 'dns', 'redis'] as const;

/** Keys of `details` that stand for themselves in a record. */
const known: ReadonlySet<string> = new Set<string>([
  ...sections,
  'node',
  'proto',
  'clientIP',
  'clientID',
  'host',
  'redirect',
]);

/**
 * The record of a handler as JSON: GOST's keys in GOST's order, and behind them ours: `decisions`, and whatever else a
 * protocol gave. Bytes are counted since the record before, so that of one connection's records they add up. Throws what
 * `writeJson` throws where `details` is no JSON.
 */
export function formatHandlerRecord(facts: HandlerFacts): string {
  const { session, reached, traffic, error, ms, labels } = facts;
  const details = (
    facts.recordCredentials ? facts.details : redactDetails(facts.details)
  ) as HandlerFacts['details'];
  const shown = (text: string) => (facts.recordCredentials ? text : redactUris(text));
  const said = (key: string): string => {
    const value = details[key];
    return typeof value === 'string' ? value : '';
  };
  const client = formatPeer(session.client);
  const target = facts.target === undefined ? (reached?.to ?? '') : formatAddress(facts.target);
  const host = said('host') === '' ? target : said('host');

  let text = '{';
  const raw = (key: string, json: string) => {
    text += `${text === '{' ? '' : ','}"${key}":${json}`;
  };
  const write = (key: string, value: unknown) => {
    raw(key, writeJson(value));
  };
  const optional = (key: string, value: string) => {
    if (value !== '') write(key, value);
  };

  optional('node', said('node') === '' ? (reached?.node ?? '') : said('node'));
  write('service', session.service);
  if (labels !== '') raw('labels', labels);
  write('network', session.network);
  write('remote', client);
  write('local', formatPeer(session.local));
  write('client', client);
  write('src', reached?.local === undefined ? '' : formatPeer(reached.local));
  write('dst', reached?.remote === undefined ? '' : formatPeer(reached.remote));
  write('host', facts.recordCredentials ? host : redactTarget(host));
  optional('proto', said('proto') === '' ? protoOf(details) : said('proto'));
  write('clientIP', said('clientIP'));
  optional('clientID', said('clientID') === '' ? session.user : said('clientID'));
  for (const key of sections) if (details[key] !== undefined) write(key, details[key]);
  if (reached !== undefined)
    optional('route', [...reached.path, reached.to].filter((one) => one !== '').join(' > '));
  write('inputBytes', traffic.received);
  write('outputBytes', traffic.sent);
  optional('redirect', said('redirect'));
  if (error !== undefined) write('err', shown(error.message));
  write('sid', session.id);
  write('duration', Math.round(ms * 1e6));
  write('time', new Date(facts.startedMs).toISOString());
  if (facts.decisions.length > 0)
    write(
      'decisions',
      facts.decisions.map((one) => decisionOf(one, shown)),
    );
  for (const [key, value] of Object.entries(details)) {
    if (!known.has(key) && value !== undefined) write(key, value);
  }
  return `${text}}`;
}

/** What was spoken: of what lies in each other the innermost. */
function protoOf(details: HandlerFacts['details']): string {
  if (details['tls'] !== undefined) return 'tls';
  return sections.find((key) => details[key] !== undefined) ?? '';
}

/** A unix socket has a path, or nothing at all on the client's side. */
function formatPeer(address: Address): string {
  return address.port === 0 ? address.host : formatAddress(address);
}

/** Who decided what: of several the one that decided, or the one that could not be asked. */
function decisionOf({ module, outcome, about, calls, ms, error }: Decided, shown: (text: string) => string) {
  const failed = outcome === 'couldNotAsk' ? calls.findLast((call) => call.outcome !== 'ok') : undefined;
  const call = failed ?? calls.at(-1);
  const reason = call?.reason ?? (outcome === 'couldNotAsk' ? (call?.error ?? error?.message) : undefined);
  return {
    module,
    outcome,
    about: shown(about),
    by: call?.name,
    endpoint: call?.endpoint,
    source: call?.source,
    ms: Math.round(ms * 10) / 10,
    reason: reason === undefined ? undefined : shown(reason),
  };
}
