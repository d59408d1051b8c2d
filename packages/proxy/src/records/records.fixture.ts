import type { JsonObject } from '@sallyport/plugin';
import type { Address } from '../core/conn.ts';
import type { Decided, SessionEvent, SessionFacts } from '../core/events.ts';
import type { RecordSink } from './sink.ts';

export const at = (host: string, port: number): Address => ({ host, port });

/** A session as readers see it, whose traffic a test changes. */
export type FakeSession = SessionFacts & { user: string; traffic: { received: number; sent: number } };

export function fakeSession(more: Partial<SessionFacts> = {}): FakeSession {
  return {
    ...{ id: 's1', service: 'front', client: at('192.0.2.7', 4711), network: 'tcp', user: '' },
    ...{ local: at('192.0.2.1', 8080), traffic: { received: 0, sent: 0 } },
    ...more,
  } as FakeSession;
}

/** What a service publishes when a session has ended. */
export function closedOf(session: SessionFacts, more: Partial<SessionEvent> = {}): SessionEvent {
  const { network, local, traffic, user } = session;
  return {
    ...{ kind: 'closed', network, local, ms: 250, traffic, user, target: undefined, path: [] },
    ...{ decisions: [], error: undefined },
    ...more,
  } as SessionEvent;
}

export function decidedOf(more: Partial<Decided> = {}): Decided {
  return {
    ...{ kind: 'decided', module: 'auth', outcome: 'yes', about: 'gost', answer: 'id-of-gost' },
    ...{ calls: [], ms: 1.26, error: undefined },
    ...more,
  } as Decided;
}

/** A sink that keeps what it is given. */
export function memorySink() {
  const records: { readonly text: string; readonly metadata: JsonObject | null }[] = [];
  const sink: RecordSink = {
    put(data, metadata) {
      records.push({ text: Buffer.from(data).toString(), metadata });
    },
    close: () => Promise.resolve(),
    dropped: 0,
  };
  return { sink, records, texts: () => records.map(({ text }) => text) };
}
