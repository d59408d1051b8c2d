import type { CallEvent } from '@sallyport/plugin';
import type { Logger } from 'pino';
import { formatAddress } from '../core/address.ts';
import type { ProxyError } from '../core/errors.ts';
import type { Decided, EventSink, SessionEvent, SessionFacts } from '../core/events.ts';

/**
 * The reader of a service's facts that writes them to the log: who is let in, every no and every "could not ask" as one
 * line, what went wrong as one line, one line when the connection ends, and the rest at `debug`. Clients that hang up are
 * `debug`, too.
 */
export function logSessions(log: Logger): EventSink {
  // The closing line has no field that is named like a credential, so that none need be looked for; its text is masked.
  const closing = log.child({}, { redact: [] });
  return (session, event) => {
    // What nobody reads is not put into words.
    if (isDetail(event) && !log.isLevelEnabled('debug')) return;
    const facts = { session: session.id, client: formatAddress(session.client) };
    switch (event.kind) {
      case 'opened':
        log.debug(facts, 'connected');
        return;
      case 'decided':
        logDecision(log, facts, event);
        return;
      case 'dialing':
        return;
      case 'dialed':
        logDialed(log, facts, event);
        return;
      case 'served':
        logServed(log, facts, event);
        return;
      case 'closed':
        logClosed(event.error?.code === 'internal' ? log : closing, facts, event);
    }
  };
}

/** True for what is told at `debug`. Of what this does not know, each line decides for itself. */
function isDetail(event: SessionEvent): boolean {
  switch (event.kind) {
    case 'opened':
    case 'dialing':
    case 'dialed':
      return true;
    case 'decided':
      return event.outcome === 'yes' && event.module !== 'auth';
    case 'served':
      return event.error === undefined;
    case 'closed':
      return event.error === undefined && event.target === undefined;
  }
}

interface Facts {
  readonly session: SessionFacts['id'];
  readonly client: string;
}

/**
 * One line that says who decided, where it was asked, live or from memory, in how many milliseconds, and why. Of several
 * the last decided; the others stand in `before`.
 */
function logDecision(log: Logger, facts: Facts, event: Decided): void {
  const { module, outcome, about, answer, calls, ms, error } = event;
  // Of a question that could not be asked the one that failed is the one that matters.
  const decisive =
    (outcome === 'couldNotAsk' ? calls.findLast((call) => call.outcome !== 'ok') : undefined) ?? calls.at(-1);
  // Limits that nobody had to be asked for are no decision.
  if (decisive === undefined && outcome === 'yes') return;
  const before = calls.filter((call) => call !== decisive).map((call) => tell(call, module));
  const fields = {
    ...facts,
    module,
    decision: outcome,
    ...(decisive !== undefined && {
      by: decisive.name,
      endpoint: decisive.endpoint,
      source: decisive.source,
      ...(decisive.reason !== undefined && { reason: decisive.reason }),
    }),
    ms: rounded(ms),
    ...(module === 'auth' ? { username: about } : { about }),
    ...(answer !== '' && { [module === 'auth' ? 'user' : 'answer']: answer }),
    ...(before.length > 0 && { before }),
    ...(outcome === 'couldNotAsk' && code(error)),
  };
  // Users may stand at the service itself, which is then what decides.
  const name = decisive?.name ?? (outcome === 'couldNotAsk' ? `the ${module}` : 'the service');
  const what = subject(module, about);
  const where = decisive === undefined ? `${String(rounded(ms))} ms` : place(decisive);
  const why = decisive?.reason === undefined ? '' : `: ${decisive.reason}`;
  if (outcome === 'couldNotAsk') {
    log.warn(
      fields,
      `could not ask ${name} about ${what} (${where}): ${decisive?.error ?? error?.message ?? ''}`,
    );
    return;
  }
  const said = module === 'auth' || answer === '' ? '' : ` (${answer})`;
  const line = `${name} says ${outcome} to ${what}${said} (${where})${why}`;
  // Who came in is worth a line; that a target was not refused is not.
  if (outcome === 'no' || module === 'auth') log.info(fields, line);
  else log.debug(fields, line);
}

/** What a question was about, for people. */
function subject(module: Decided['module'], about: string): string {
  if (module !== 'auth') return about === '' ? 'a connection' : about;
  return about === '' ? 'a client without credentials' : JSON.stringify(about);
}

function place({ endpoint, source, ms, outcome }: CallEvent): string {
  const what = outcome === 'ok' ? '' : `, ${outcome}`;
  return `${endpoint === '' ? 'not reached' : endpoint}, ${source}, ${rounded(ms)} ms${what}`;
}

function tell(call: CallEvent, module: Decided['module']): string {
  const said = call.outcome === 'ok' ? 'answered' : `could not be asked: ${call.error ?? call.outcome}`;
  return `${call.name ?? module} (${place(call)}) ${said}`;
}

function logDialed(log: Logger, facts: Facts, event: Extract<SessionEvent, { kind: 'dialed' }>): void {
  const { target, path, network, ms, error } = event;
  const what = target.host === '' ? 'a place for datagrams' : formatAddress(target);
  const through = path.length === 0 ? '' : ` through ${path.join(' → ')}`;
  const fields = {
    ...facts,
    target: what,
    network,
    ...(path.length > 0 && { path }),
    ms: rounded(ms),
    ...code(error),
  };
  log.debug(
    fields,
    error === undefined
      ? `connected to ${what}${through}`
      : `no connection to ${what}${through}: ${error.message}`,
  );
}

function logServed(log: Logger, facts: Facts, event: Extract<SessionEvent, { kind: 'served' }>): void {
  const { what, user, status, ms, error } = event;
  const fields = { ...facts, ...(user !== '' && { user }), status, ms: rounded(ms), ...code(error) };
  // Below 100 it is a code of SOCKS, whose success is 0 or 90: it stands in the fields, and the words say more.
  const message = status === undefined || status < 100 ? what : `${what} ${String(status)}`;
  if (error === undefined) log.debug(fields, message);
  // The decision has a line of its own.
  else if (error.code === 'wrongCredentials' || error.code === 'couldNotAsk') log.debug(fields, message);
  else logError(log, fields, `${message}: ${error.message}`, error);
}

/** One line that tells the whole connection: who, where, through what, how much, how long, and what was decided. */
function logClosed(log: Logger, facts: Facts, event: Extract<SessionEvent, { kind: 'closed' }>): void {
  const { ms, traffic, error, user, target, path, network, decisions } = event;
  const fields = {
    ...facts,
    network,
    ...(user !== '' && { user }),
    ...(target !== undefined && { target: formatAddress(target) }),
    ...(path.length > 0 && { path }),
    ms: rounded(ms),
    ...traffic,
    ...(decisions.length > 0 && { decisions: decisions.map(brief) }),
    ...code(error),
  };
  if (error?.code === 'internal') {
    logError(log, fields, 'closed: internal error', error);
    return;
  }
  const who = user === '' ? facts.client : `${user} (${facts.client})`;
  const where = target === undefined ? '' : ` → ${[...path, formatAddress(target)].join(' → ')}`;
  const how = `${String(traffic.received)} B in, ${String(traffic.sent)} B out, ${String(rounded(ms))} ms`;
  const message = `closed: ${who}${where}: ${how}${error === undefined ? '' : `: ${error.message}`}`;
  // A connection that never asked for anything is a probe, or a browser's spare one.
  if (target === undefined && error === undefined) log.debug(fields, message);
  else log.info(fields, message);
}

/** `auth yes gost (users, 1.2 ms)`. */
function brief({ module, outcome, about, answer, calls, ms }: Decided): string {
  const by = calls.at(-1)?.name ?? 'the service';
  const said = answer === '' || answer === about ? about : `${about} = ${answer}`;
  return `${module} ${outcome}${said === '' ? '' : ` ${said}`} (${by}, ${String(rounded(ms))} ms)`;
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
