import type { EventSink, SessionEvent, SessionFacts } from '../core/events.ts';
import type { Ledger } from './ledger.ts';

/** Counts the sessions of a service. */
export interface Tracker {
  readonly read: EventSink;
  /** Counts what the connections that are open now have carried. */
  sample(): void;
}

/** Whom a session's counters belong to; undefined: not known yet. `was` is whom they belonged to so far. */
type SubjectOf = (
  session: SessionFacts,
  event: SessionEvent | undefined,
  was: string | undefined,
) => string | undefined;

/** The service as a whole is the only subject. */
export const wholeService: SubjectOf = () => '';

/**
 * The user is the subject, as in GOST: from the moment that is known who it is, and where nobody is asked the empty name from
 * the moment that a target is dialled. A client that was never let in is nobody's. Who proves to be somebody else on a
 * connection that is kept is counted as the new one from then on.
 */
export const eachUser: SubjectOf = (session, event, was) => {
  // While it is asked who a client is that has been somebody, nobody else is it.
  if (session.user !== '') return session.user;
  return was ?? (event?.kind === 'dialing' || event?.kind === 'dialed' ? '' : undefined);
};

interface Tracked {
  subject: string | undefined;
  /** Bytes that have been counted. */
  received: number;
  sent: number;
  erred: 'no' | 'yes' | 'counted';
}

/** Makes a tracker that counts into a ledger. It keeps no session longer than it lives. */
export function createTracker(ledger: Ledger, subjectOf: SubjectOf): Tracker {
  const live = new Map<SessionFacts, Tracked>();
  /** Sessions of which something may still be told although they are over. */
  const over = new WeakSet<SessionFacts>();

  const count = (session: SessionFacts, tracked: Tracked) => {
    const { subject } = tracked;
    if (subject === undefined) return;
    const { received, sent } = session.traffic;
    if (received === tracked.received && sent === tracked.sent && tracked.erred !== 'yes') return;
    const tally = ledger.of(subject);
    const [came, went] = [received - tracked.received, sent - tracked.sent];
    // Of the service as a whole the client is the one who is counted.
    const isFarEnd = subject !== '' && session.isUserFarEnd === true;
    tally.inputBytes += isFarEnd ? went : came;
    tally.outputBytes += isFarEnd ? came : went;
    tracked.received = received;
    tracked.sent = sent;
    if (tracked.erred !== 'yes') return;
    tally.totalErrs++;
    tracked.erred = 'counted';
  };
  const leave = ({ subject }: Tracked) => {
    if (subject === undefined) return;
    ledger.of(subject).currentConns--;
    ledger.connsChanged(subject);
  };
  const belongs = (session: SessionFacts, tracked: Tracked, subject: string | undefined) => {
    if (subject === undefined || subject === tracked.subject) return;
    // What came before anybody was known belongs to the first who is.
    count(session, tracked);
    leave(tracked);
    tracked.subject = subject;
    const tally = ledger.of(subject);
    tally.totalConns++;
    tally.currentConns++;
    ledger.connsChanged(subject);
  };

  return {
    read(session, event) {
      if (over.has(session)) return;
      let tracked = live.get(session);
      if (tracked === undefined) {
        tracked = { subject: undefined, received: 0, sent: 0, erred: 'no' };
        live.set(session, tracked);
      }
      belongs(session, tracked, subjectOf(session, event, tracked.subject));
      // A connection counts as one error, whatever else goes wrong on it; that a client hangs up is none. What goes wrong
      // before anybody is known is nobody's.
      if (tracked.subject !== undefined && tracked.erred === 'no' && isError(event)) tracked.erred = 'yes';
      if (event.kind !== 'closed') return;
      count(session, tracked);
      leave(tracked);
      live.delete(session);
      over.add(session);
    },
    sample() {
      for (const [session, tracked] of live) {
        belongs(session, tracked, subjectOf(session, undefined, tracked.subject));
        count(session, tracked);
      }
    },
  };
}

function isError(event: SessionEvent): boolean {
  if (event.kind !== 'served' && event.kind !== 'closed') return false;
  return event.error !== undefined && event.error.code !== 'clientClosed';
}
