import type { CallEvent } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { ProxyError } from '../core/errors.ts';
import type { Decided, SessionClosed, SessionEvent, SessionFacts } from '../core/events.ts';
import { createLog } from './log.ts';
import { logSessions } from './session-log.ts';

const session: SessionFacts = {
  ...{ id: 's1', service: 'front', client: { host: '::1', port: 7 }, network: 'tcp' },
  ...{ local: { host: '::1', port: 8080 }, user: '', traffic: { received: 0, sent: 0 } },
};

function logged(...events: SessionEvent[]): Record<string, unknown>[] {
  const lines: Record<string, unknown>[] = [];
  const log = createLog('debug', false, {
    write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
  });
  for (const event of events) logSessions(log)(session, event);
  return lines;
}

const call = (more: Partial<CallEvent>): CallEvent => ({
  ...{
    module: 'auth',
    method: 'authenticate',
    name: 'a',
    endpoint: 'grpc://h:1',
    transport: 'grpc',
    session: 's1',
  },
  ...{
    outcome: 'ok',
    source: 'live',
    ms: 1.26,
    bytesSent: 1,
    bytesReceived: 1,
    reason: undefined,
    error: undefined,
  },
  ...more,
});
const decided = (more: Partial<Decided>): Decided => ({
  ...{ kind: 'decided', module: 'auth', outcome: 'yes', about: 'u', answer: 'id' },
  ...{ calls: [call({})], ms: 2, error: undefined },
  ...more,
});

describe('a decision is one line', () => {
  test('yes and no, from where and why', () => {
    expect(logged(decided({}))).toMatchObject([
      {
        ...{ level: 'info', session: 's1', client: '[::1]:7', module: 'auth', decision: 'yes', by: 'a' },
        ...{ endpoint: 'grpc://h:1', source: 'live', ms: 2, username: 'u', user: 'id' },
        msg: 'a says yes to "u" (grpc://h:1, live, 1.3 ms)',
      },
    ]);
    // The users that stand at a service have no name of their own.
    const own = decided({ calls: [call({ name: undefined, endpoint: 'local' })], about: 'a', answer: 'a' });
    expect(logged(own)).toMatchObject([
      { msg: 'the service says yes to "a" (local, live, 1.3 ms)', level: 'info' },
    ]);
    const no = decided({
      outcome: 'no',
      about: '',
      answer: '',
      calls: [call({ source: 'cached', reason: 'why' })],
    });
    expect(logged(no)).toMatchObject([
      { msg: 'a says no to a client without credentials (grpc://h:1, cached, 1.3 ms): why', reason: 'why' },
    ]);
    expect(logged(no)[0]).not.toHaveProperty('user');
  });

  test('could not ask warns and shows the call that failed; the others stand before', () => {
    const failed = call({ name: 'b', outcome: 'timeout', error: 'too slow' });
    const [line] = logged(
      decided({
        outcome: 'couldNotAsk',
        calls: [failed, call({})],
        error: new ProxyError('couldNotAsk', 'plugin', 'too slow'),
      }),
    );
    expect(line).toMatchObject({
      ...{ level: 'warn', by: 'b', code: 'couldNotAsk', at: 'plugin' },
      msg: 'could not ask b about "u" (grpc://h:1, live, 1.3 ms, timeout): too slow',
      before: ['a (grpc://h:1, live, 1.3 ms) answered'],
    });
    const [bypass] = logged(decided({ module: 'bypass', outcome: 'no', about: 'a.test:80', answer: '' }));
    expect(bypass).toMatchObject({
      level: 'info',
      about: 'a.test:80',
      msg: 'a says no to a.test:80 (grpc://h:1, live, 1.3 ms)',
    });
    const [hop] = logged(decided({ module: 'hop', about: 'a.test:80', answer: '192.0.2.1:8080' }));
    expect(hop).toMatchObject({
      ...{ level: 'debug', answer: '192.0.2.1:8080' },
      msg: 'a says yes to a.test:80 (192.0.2.1:8080) (grpc://h:1, live, 1.3 ms)',
    });
    const [unobserved] = logged(
      decided({ outcome: 'couldNotAsk', calls: [], error: new ProxyError('couldNotAsk', 'plugin', 'why') }),
    );
    expect(unobserved).toMatchObject({ msg: 'could not ask the auth about "u" (2 ms): why' });
  });
});

test('a code of SOCKS stands in the fields; the words say what it means', () => {
  const served = (status: number, error?: ProxyError): SessionEvent => ({
    ...{ kind: 'served', what: 'CONNECT a:80', target: undefined, user: '', status, ms: 1, error },
  });
  expect(
    logged(served(0), served(90), served(2, new ProxyError('forbidden', 'client', 'a rule says no'))),
  ).toMatchObject([
    { msg: 'CONNECT a:80', status: 0 },
    { msg: 'CONNECT a:80', status: 90 },
    { msg: 'CONNECT a:80: a rule says no', status: 2 },
  ]);
});

test('what went wrong is told, hang-ups are for debugging, mistakes of ours have a stack', () => {
  const served = (error?: ProxyError): SessionEvent => ({
    ...{ kind: 'served', what: 'GET a:80', target: undefined, user: '', status: 502, ms: 1, error },
  });
  const closed = (error?: ProxyError, more: Partial<SessionClosed> = {}): SessionEvent => ({
    ...{ kind: 'closed', network: 'tcp', local: session.local, ms: 1, traffic: { received: 1, sent: 2 } },
    ...{ user: '', target: undefined, path: [], decisions: [], error },
    ...more,
  });
  const dialed = (error?: ProxyError): SessionEvent => ({
    ...{ kind: 'dialed', network: 'tcp', target: { host: 'a', port: 80 }, path: [], ms: 1, error },
  });
  const lines = logged(
    { kind: 'opened' },
    dialed(),
    dialed(new ProxyError('dialFailed', 'upstream', 'no')),
    served(),
    served(new ProxyError('dialFailed', 'upstream', 'refused')),
    served(new ProxyError('wrongCredentials', 'client', 'no')),
    served(new ProxyError('clientClosed', 'client', 'gone')),
    served(ProxyError.from(new TypeError('oops'))),
    closed(),
    closed(ProxyError.from(new TypeError('oops'))),
  );
  expect(lines.map(({ level }) => level)).toEqual([
    ...['debug', 'debug', 'debug', 'debug', 'info', 'debug', 'debug', 'error', 'debug', 'error'],
  ]);
  expect(lines[4]).toMatchObject({
    msg: 'GET a:80 502: refused',
    code: 'dialFailed',
    at: 'upstream',
    status: 502,
  });
  expect(lines[7]).toMatchObject({
    err: { type: 'TypeError', message: 'oops', stack: expect.any(String) as string },
  });
  expect(lines[8]).toMatchObject({ msg: 'closed: [::1]:7: 1 B in, 2 B out, 1 ms', received: 1, sent: 2 });
  const target = { host: 'a.test', port: 80 };
  const [whole] = logged(
    closed(undefined, { user: 'ada', target, path: ['n@n.test:1'], decisions: [decided({})] }),
  );
  expect(whole).toMatchObject({
    ...{ level: 'info', user: 'ada', target: 'a.test:80', path: ['n@n.test:1'] },
    msg: 'closed: ada ([::1]:7) → n@n.test:1 → a.test:80: 1 B in, 2 B out, 1 ms',
    decisions: ['auth yes u = id (a, 2 ms)'],
  });
});
