import type { ObserverEvent } from '@sallyport/plugin';
import type { Address } from '../core/conn.ts';
import { ProxyError } from '../core/errors.ts';
import type { SessionEvent, SessionFacts } from '../core/events.ts';
import { manualWheel, settled } from '../core/manual-clock.fixture.ts';
import type { PolicyOf } from '../core/policies.ts';
import { createObservation } from './observation.ts';
import type { ObservationOptions } from './observation.ts';

export type Answer = () => boolean | Promise<boolean>;
export type Calls = (readonly ObserverEvent[])[];

/** An observation on a clock of its own, whose observer answers as `answer` says. */
export function scene(more: Partial<ObservationOptions> = {}, answer: Answer = () => true) {
  const { clock, wheel } = manualWheel();
  const calls: Calls = [];
  const notes: string[] = [];
  const observer: PolicyOf<'observer'> = {
    observe({ events }) {
      calls.push(events);
      return answer();
    },
  };
  const observation = createObservation({
    ...{ service: 'front', of: 'service', observer, enableStats: true, wheel },
    note: (text) => notes.push(text),
    ...more,
  });
  /** Lets time pass, and everybody act. */
  const pass = async (ms: number) => {
    await settled();
    clock.advance(ms);
    await settled();
  };
  const closed = async () => {
    let done = false;
    void observation.close().then(() => (done = true));
    await clock.runUntil(() => done);
  };
  return { clock, calls, notes, observation, pass, closed };
}

export type FakeSession = SessionFacts & { user: string; traffic: { received: number; sent: number } };
const anywhere: Address = { host: '192.0.2.7', port: 1 };
export const sessionOf = (user = ''): FakeSession => ({
  ...{ id: 's', service: 'front', client: anywhere, local: anywhere, network: 'tcp', user },
  traffic: { received: 0, sent: 0 },
});
export const closedOf = (session: FakeSession, error?: ProxyError): SessionEvent => ({
  ...{ kind: 'closed', network: 'tcp', local: anywhere, ms: 1, traffic: session.traffic, user: session.user },
  ...{ target: undefined, path: [], decisions: [], error },
});
export const opened: SessionEvent = { kind: 'opened' };
export const dialing: SessionEvent = { kind: 'dialing', network: 'tcp', target: anywhere };
export const failure = new ProxyError('dialFailed', 'upstream', 'refused');
export const status = (state: string) => ({
  ...{ type: 'status', kind: 'service', service: 'front', user: '', state },
  message: `service front is ${state}`,
});
export const stats = (totalConns: number, currentConns: number, bytes: number, totalErrs = 0, user = '') => ({
  ...{ type: 'stats', kind: 'service', service: 'front', user },
  stats: { totalConns, currentConns, inputBytes: bytes, outputBytes: bytes * 2, totalErrs },
});
export const carry = (session: FakeSession, bytes: number) => {
  session.traffic.received += bytes;
  session.traffic.sent += bytes * 2;
};
