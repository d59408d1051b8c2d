import type { CallEvent } from '@sallyport/plugin';
import { describe, expect, test } from 'vitest';
import { ProxyError } from '../core/errors.ts';
import type { AuthDecided, SessionEvent } from '../core/events.ts';
import { createLog } from './log.ts';
import { logSessions } from './session-log.ts';

const session = { id: 's1', service: 'front', client: { host: '::1', port: 7 } };

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
const decided = (more: Partial<AuthDecided>): AuthDecided => ({
  ...{
    kind: 'authDecided',
    outcome: 'yes',
    username: 'u',
    user: 'id',
    calls: [call({})],
    ms: 2,
    error: undefined,
  },
  ...more,
});

describe('a decision is one line', () => {
  test('yes and no, from where and why', () => {
    expect(logged(decided({}))).toMatchObject([
      {
        ...{ level: 'info', session: 's1', client: '[::1]:7', module: 'auth', decision: 'yes', auther: 'a' },
        ...{ endpoint: 'grpc://h:1', source: 'live', ms: 2, username: 'u', user: 'id' },
        msg: 'a says yes to "u" (grpc://h:1, live, 1.3 ms)',
      },
    ]);
    const no = decided({ outcome: 'no', username: '', calls: [call({ source: 'cached', reason: 'why' })] });
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
      ...{ level: 'warn', auther: 'b', code: 'couldNotAsk', at: 'plugin' },
      msg: 'could not ask b about "u" (grpc://h:1, live, 1.3 ms, timeout): too slow',
      before: ['a (grpc://h:1, live, 1.3 ms) answered'],
    });
    const [unobserved] = logged(
      decided({ outcome: 'couldNotAsk', calls: [], error: new ProxyError('couldNotAsk', 'plugin', 'why') }),
    );
    expect(unobserved).toMatchObject({ msg: 'could not ask the auther about "u" (2 ms): why' });
  });
});

test('what went wrong is told, hang-ups are for debugging, mistakes of ours have a stack', () => {
  const served = (error?: ProxyError): SessionEvent => ({
    ...{ kind: 'served', what: 'GET a:80', target: undefined, user: '', status: 502, ms: 1, error },
  });
  const closed = (error?: ProxyError): SessionEvent => ({
    ...{ kind: 'closed', ms: 1, traffic: { received: 1, sent: 2 }, error },
  });
  const lines = logged(
    { kind: 'opened' },
    { kind: 'dialed', target: { host: 'a', port: 80 }, ms: 1, error: undefined },
    {
      kind: 'dialed',
      target: { host: 'a', port: 80 },
      ms: 1,
      error: new ProxyError('dialFailed', 'upstream', 'no'),
    },
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
  expect(lines[8]).toMatchObject({ msg: 'closed', received: 1, sent: 2 });
});
