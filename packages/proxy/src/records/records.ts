import type { JsonObject } from '@sallyport/plugin';
import { writeJson } from '@sallyport/plugin/wire';
import { formatAddress } from '../core/address.ts';
import type { Address } from '../core/conn.ts';
import type { ProxyError } from '../core/errors.ts';
import type { Decided, Dialed, EventSink, SessionEvent, SessionFacts } from '../core/events.ts';
import { formatHandlerRecord } from './handler-record.ts';
import type { Reached } from './handler-record.ts';
import type { Note, RecordSink } from './sink.ts';

/** GOST's names of the records that are made here. */
export type RecordName =
  | 'recorder.service.client.address'
  | 'recorder.service.router.dial.address'
  | 'recorder.service.router.dial.address.error'
  | 'recorder.service.handler';

/** One entry of a service's `recorders`. */
export interface RecordUse {
  readonly record: RecordName;
  readonly sink: RecordSink;
  /** Given to the recorder with every record, as JSON; null: GOST's word for none. */
  readonly metadata: JsonObject | null;
}

/** What the records of one service are made with. */
export interface RecordsOptions {
  readonly service: string;
  /** As in GOST only the first with each record name counts. */
  readonly uses: readonly RecordUse[];
  /** The service's labels. */
  readonly labels?: Readonly<Record<string, string>>;
  /** The service forwards to nodes of its own: the last part of a way is the name of the node. */
  readonly forwards?: boolean;
  /** `Authorization`, `Proxy-Authorization` and what URIs hold are recorded as they are. Default false. */
  readonly recordCredentials?: boolean;
  /** A request whose client says `Gost-Record: off` is not recorded. Default false. */
  readonly clientsDecide?: boolean;
  readonly note: Note;
}

/** Decisions and targets that are kept of one session until they are recorded: a connection may live for days. */
const maxKept = 100;

const untouched = { received: 0, sent: 0 };

/** What is kept of a session from one record to the next. */
interface Kept {
  decisions: Decided[];
  /** By target. */
  readonly reached: Map<string, Reached>;
  /** A host that was not reached; another attempt may still reach it. */
  unreached: string;
  /** Bytes that a record has told of. */
  told: { readonly received: number; readonly sent: number };
  /** Something was served that only the end of the connection will tell of. */
  untold: boolean;
  /** What it was told that went wrong, where the connection itself ends well: the client has had its answer. */
  failed: ProxyError | undefined;
}

/**
 * The reader of a service's facts that makes GOST's records of them: the client's IP address as soon as it has connected, the
 * host before it is dialled and again when it was not reached, and what a handler did: once for each request that the
 * protocol has told the details of, and otherwise once, at the end of the connection. Credentials are not recorded. Records
 * are handed to their sinks, and nothing ever waits for them. The sinks are closed by whoever made them.
 */
export function createRecords(options: RecordsOptions): EventSink {
  const { uses, labels = {}, forwards = false, recordCredentials = false } = options;
  const { clientsDecide = false, note } = options;
  const useOf = (name: RecordName) => uses.find(({ record }) => record === name);
  const client = useOf('recorder.service.client.address');
  const dial = useOf('recorder.service.router.dial.address');
  const dialError = useOf('recorder.service.router.dial.address.error');
  const handler = useOf('recorder.service.handler');
  const labelsJson = Object.keys(labels).length === 0 ? '' : writeJson(labels, { sortKeys: true });
  const live = new WeakMap<SessionFacts, Kept>();

  const put = (use: RecordUse | undefined, text: string) => {
    // GOST makes no record of nothing either.
    if (use !== undefined && text !== '') use.sink.put(Buffer.from(text), use.metadata);
  };
  const keptOf = (session: SessionFacts): Kept => {
    let kept = live.get(session);
    if (kept === undefined) {
      kept = {
        decisions: [],
        reached: new Map(),
        unreached: '',
        told: untouched,
        untold: false,
        failed: undefined,
      };
      live.set(session, kept);
    }
    return kept;
  };
  /** It was the last attempt. */
  const tellUnreached = (kept: Kept) => {
    put(dialError, kept.unreached);
    kept.unreached = '';
  };

  const dialed = (kept: Kept, event: Dialed) => {
    const { host } = event.target;
    if (event.error === undefined) {
      if (kept.unreached === host) kept.unreached = '';
    } else {
      if (kept.unreached !== host) tellUnreached(kept);
      kept.unreached = host;
    }
    if (handler === undefined) return;
    if (kept.reached.size >= maxKept) kept.reached.delete(kept.reached.keys().next().value!);
    // Of what a forwarder's client wanted the handler may know another name than the node's.
    kept.reached.set(forwards ? '' : keyOf(event.target), reachedBy(event, forwards));
  };

  /** What has come until now belongs to no later record. */
  const begin = (session: SessionFacts, kept: Kept) => {
    const { received, sent } = session.traffic;
    kept.decisions = [];
    kept.told = { received, sent };
    kept.untold = false;
  };

  const tell = (
    session: SessionFacts,
    kept: Kept,
    event: {
      readonly target: Address | undefined;
      readonly ms: number;
      readonly error: ProxyError | undefined;
      readonly details?: Readonly<Record<string, unknown>>;
    },
  ) => {
    const { decisions, told } = kept;
    const { received, sent } = session.traffic;
    begin(session, kept);
    const { target, ms, error, details = {} } = event;
    const traffic = { received: received - told.received, sent: sent - told.sent };
    try {
      const record = formatHandlerRecord({
        ...{ session, target, details, traffic, error, ms, decisions, recordCredentials },
        startedMs: Math.round(Date.now() - ms),
        reached: kept.reached.get(forwards ? '' : keyOf(target)),
        labels: labelsJson,
      });
      put(handler, record);
    } catch (cause) {
      // A fault of ours in what a protocol tells; it must not reach the connection.
      note(`a record of session ${session.id} could not be made: ${String(cause)}`, 'warn');
    }
  };

  const closed = (session: SessionFacts, event: Extract<SessionEvent, { kind: 'closed' }>) => {
    const kept = keptOf(session);
    tellUnreached(kept);
    if (handler !== undefined && (kept.untold || kept.told === untouched))
      tell(session, kept, { ...event, error: event.error ?? kept.failed });
    live.delete(session);
  };

  return (session, event) => {
    switch (event.kind) {
      case 'opened':
        put(client, session.client.host);
        return;
      case 'decided': {
        if (handler === undefined) return;
        const { decisions } = keptOf(session);
        if (decisions.length >= maxKept) decisions.shift();
        decisions.push(event);
        return;
      }
      case 'dialing': {
        const kept = keptOf(session);
        tellUnreached(kept);
        put(dial, event.target.host);
        return;
      }
      case 'dialed':
        dialed(keptOf(session), event);
        return;
      case 'served': {
        const kept = keptOf(session);
        tellUnreached(kept);
        if (handler === undefined) return;
        // `headers` leaves out bodies, which are in none of ours.
        if (clientsDecide && event.recordMode === 'off') begin(session, kept);
        else if (event.details === undefined || Object.keys(event.details).length === 0) {
          kept.untold = true;
          kept.failed = event.error;
        } else tell(session, kept, event);
        return;
      }
      case 'closed':
        closed(session, event);
    }
  };
}

function reachedBy({ target, path, local, remote }: Dialed, forwards: boolean): Reached {
  const to = keyOf(target);
  if (!forwards) return { node: '', path, to, local, remote };
  // The last of them is the name of the forwarder's node.
  return { node: path.at(-1) ?? '', path: path.slice(0, -1), to, local, remote };
}

/** Empty: datagrams to any peer. */
function keyOf(target: Address | undefined): string {
  return target === undefined || target.host === '' ? '' : formatAddress(target);
}
