import type { CallEvent } from '@sallyport/plugin';
import type { Logger } from 'pino';
import { formatAddress } from '../core/address.ts';
import type { ProxyError } from '../core/errors.ts';
import type { AuthDecided, EventSink, SessionEvent, SessionFacts } from '../core/events.ts';

/**
 * The reader of a service's facts that writes them to the log: each decision as one line, what went wrong as one line,
 * the rest at `debug`. Clients that hang up are `debug`, too.
 */
export function logSessions(log: Logger): EventSink {
  return (session, event) => {
    const facts = { session: session.id, client: formatAddress(session.client) };
    switch (event.kind) {
      case 'opened':
        log.debug(facts, 'connected');
        return;
      case 'authDecided':
        logAuth(log, facts, event);
        return;
      case 'dialed':
        log.debug(
          { ...facts, target: formatAddress(event.target), ms: rounded(event.ms), ...code(event.error) },
          event.error === undefined
            ? `connected to ${formatAddress(event.target)}`
            : `no connection to ${formatAddress(event.target)}: ${event.error.message}`,
        );
        return;
      case 'served':
        logServed(log, facts, event);
        return;
      case 'closed':
        logClosed(log, facts, event);
    }
  };
}

interface Facts {
  readonly session: SessionFacts['id'];
  readonly client: string;
}

/**
 * One line that says who decided, where it was asked, live or from memory, in how many milliseconds, and why. Of several
 * the last decided; the others stand in `before`.
 */
function logAuth(
  log: Logger,
  facts: Facts,
  { outcome, username, user, calls, ms, error }: AuthDecided,
): void {
  // Of a question that could not be asked the one that failed is the one that matters.
  const decisive =
    (outcome === 'couldNotAsk' ? calls.findLast((call) => call.outcome !== 'ok') : undefined) ?? calls.at(-1);
  const before = calls.filter((call) => call !== decisive).map(tell);
  const fields = {
    ...facts,
    module: 'auth',
    decision: outcome,
    ...(decisive !== undefined && {
      auther: decisive.name,
      endpoint: decisive.endpoint,
      source: decisive.source,
      ...(decisive.reason !== undefined && { reason: decisive.reason }),
    }),
    ms: rounded(ms),
    username,
    ...(outcome === 'yes' && { user }),
    ...(before.length > 0 && { before }),
    ...(outcome === 'couldNotAsk' && code(error)),
  };
  const name = decisive?.name ?? 'the auther';
  const who = username === '' ? 'a client without credentials' : JSON.stringify(username);
  const where = decisive === undefined ? `${rounded(ms)} ms` : place(decisive);
  const why = decisive?.reason === undefined ? '' : `: ${decisive.reason}`;
  if (outcome === 'yes') log.info(fields, `${name} says yes to ${who} (${where})${why}`);
  else if (outcome === 'no') log.info(fields, `${name} says no to ${who} (${where})${why}`);
  else
    log.warn(
      fields,
      `could not ask ${name} about ${who} (${where}): ${decisive?.error ?? error?.message ?? ''}`,
    );
}

function place({ endpoint, source, ms, outcome }: CallEvent): string {
  const what = outcome === 'ok' ? '' : `, ${outcome}`;
  return `${endpoint === '' ? 'not reached' : endpoint}, ${source}, ${rounded(ms)} ms${what}`;
}

function tell(call: CallEvent): string {
  const said = call.outcome === 'ok' ? 'answered' : `could not be asked: ${call.error ?? call.outcome}`;
  return `${call.name ?? 'auther'} (${place(call)}) ${said}`;
}

function logServed(log: Logger, facts: Facts, event: Extract<SessionEvent, { kind: 'served' }>): void {
  const { what, user, status, ms, error } = event;
  const fields = { ...facts, ...(user !== '' && { user }), status, ms: rounded(ms), ...code(error) };
  const message = `${what}${status === undefined ? '' : ` ${String(status)}`}`;
  if (error === undefined) log.debug(fields, message);
  // The decision has a line of its own.
  else if (error.code === 'wrongCredentials' || error.code === 'couldNotAsk') log.debug(fields, message);
  else logError(log, fields, `${message}: ${error.message}`, error);
}

function logClosed(log: Logger, facts: Facts, event: Extract<SessionEvent, { kind: 'closed' }>): void {
  const { ms, traffic, error } = event;
  const fields = { ...facts, ms: rounded(ms), ...traffic, ...code(error) };
  if (error?.code === 'internal') logError(log, fields, 'closed: internal error', error);
  else log.debug(fields, error === undefined ? 'closed' : `closed: ${error.message}`);
}

function logError(log: Logger, fields: object, message: string, error: ProxyError): void {
  if (error.code === 'internal') log.error({ ...fields, err: error.cause ?? error }, message);
  else if (error.code === 'clientClosed') log.debug(fields, message);
  else log.info(fields, message);
}

function code(error: ProxyError | undefined): { code?: string; at?: string } {
  return error === undefined ? {} : { code: error.code, at: error.at };
}

/** Tenths are as exact as anybody reads. */
function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
